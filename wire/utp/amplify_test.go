package utp

import (
	"math/rand/v2"
	"testing"
)

// Somebody who knows everything but what is in the packets, and forges a source, makes us send no more there than he sends.
func TestRepliesAreNeverMoreThanWhatAskedForThem(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	sacks := 0
	for range 50 {
		c := newCouple(t)
		for range 1000 {
			p := packet{
				typ: packetType(rng.IntN(5)), connID: c.a.recvID, timestamp: rng.Uint32(), timestampDiff: rng.Uint32(),
				window: rng.Uint32(), seq: c.a.recv.next + uint16(rng.IntN(3000)) - 500, ack: c.a.send.next - 1 - uint16(rng.IntN(ackHistory)),
			}
			switch rng.IntN(4) {
			case 0:
				p.payload = make([]byte, rng.IntN(200))
			case 1:
				p.payload = make([]byte, 1)
			case 2:
				p.seq = c.a.recv.next - 1 // a duplicate
			}
			asked, answered := headerLen+len(p.payload), c.replies(c.a, p)
			if answered > asked {
				t.Fatalf("%d bytes were answered with %d", asked, answered)
			}
			if answered > headerLen {
				sacks++
			}
			if c.a.err() != nil {
				break // a RESET that could have been real
			}
		}
	}
	if sacks == 0 {
		t.Error("no selective acknowledgement was asked for")
	}
}

// 20 bytes get 20 bytes, however much there is to be told; an ordinary packet gets all of it.
func TestShortPacketsGetBareAcknowledgements(t *testing.T) {
	c := newCouple(t)
	const all = headerLen + extHeaderLen + (498+31)/32*4
	far := c.forged(stData)
	for ahead := uint16(2); ahead < 500; ahead += 2 {
		far.seq, far.payload = c.a.recv.next+ahead, []byte{1}
		c.a.receive(c.now, &far)
	}
	if n := c.replies(c.a, far); n != all {
		t.Fatalf("a batch of many packets is answered with %d bytes, want %d", n, all)
	}
	for _, s := range []struct{ payload, want int }{
		{0, headerLen}, {5, headerLen}, {6, headerLen + extHeaderLen + 4}, {17, headerLen + extHeaderLen + 12}, {528, all},
	} {
		for _, seq := range []uint16{c.a.recv.next - 1, c.a.recv.next + 2} { // both came before
			p := c.forged(stData)
			p.seq, p.payload = seq, make([]byte, s.payload)
			if n := c.replies(c.a, p); n != s.want {
				t.Errorf("%d bytes of payload are answered with %d bytes, want %d", s.payload, n, s.want)
			}
		}
	}
}
