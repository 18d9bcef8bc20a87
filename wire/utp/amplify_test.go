package utp

import (
	"math/rand/v2"
	"testing"
)

// Somebody who knows everything but what is in the packets, and forges a source: over its life a connection sends him no
// more than came, and one full selective acknowledgement.
func TestRepliesAreNeverMoreThanWhatAskedForThem(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		c := newCouple(t)
		asked, answered := 0, 0
		for range 1000 {
			p := packet{
				typ: packetType(rng.IntN(5)), connID: c.a.recvID, timestamp: rng.Uint32(), timestampDiff: rng.Uint32(),
				window: rng.Uint32(), seq: c.a.recv.next + uint16(rng.IntN(3000)) - 500, ack: c.a.send.next - 1 - uint16(rng.IntN(ackHistory)),
			}
			switch rng.IntN(4) {
			case 0:
				p.payload = make([]byte, rng.IntN(100))
			case 1:
				p.payload = make([]byte, 1)
			case 2:
				p.seq = c.a.recv.next - 1 // a duplicate
			}
			asked += headerLen + len(p.payload)
			answered += c.replies(c.a, p)
			if answered > asked+maxHeader {
				t.Fatalf("%d bytes were answered with %d", asked, answered)
			}
			if c.a.err() != nil {
				break // a RESET that could have been real
			}
		}
	}
}

// 20 bytes that say nothing new get 20 bytes, however much there is to be told.
func TestDuplicatesGetBareAcknowledgements(t *testing.T) {
	c := newCouple(t)
	far := c.forged(stData)
	for ahead := uint16(2); ahead < 500; ahead += 2 {
		far.seq, far.payload = c.a.recv.next+ahead, make([]byte, 21)
		c.a.receive(c.now, &far)
	}
	if n := c.replies(c.a, far); n != headerLen+extHeaderLen+(498+31)/32*4 {
		t.Fatalf("after much data the answer has %d bytes", n)
	}
	old := c.forged(stData)
	old.seq--
	total := 0
	for range 1000 {
		total += c.replies(c.a, old)
	}
	t.Logf("20000 bytes were answered with %d", total)
	if total > 1000*headerLen+maxHeader {
		t.Errorf("20000 bytes were answered with %d", total)
	}
	full := c.forged(stData)
	full.seq, full.payload = full.seq+2, make([]byte, 528) // held already
	if n := c.replies(c.a, full); n != headerLen+extHeaderLen+(498+31)/32*4 {
		t.Errorf("an ordinary packet that came again is answered with %d bytes: the sender does not learn what is missing", n)
	}
}
