package utp

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// A couple is two cores whose datagrams arrive 10 ms later, and a stranger who knows where to send.
type couple struct {
	t    *testing.T
	now  time.Time
	a, b *core
	door door
}

func newCouple(t *testing.T) *couple {
	c := &couple{t: t, now: time.Unix(1000, 0)}
	am, bm := new(int), new(int)
	count := func(m *int) func(int) bool {
		return func(n int) bool { *m += n; return true }
	}
	c.a = newInitiator(c.now, coreConfig{Seq: 100, RecvID: 7, RecvBuffer: 64 << 10, grow: count(am)})
	c.run(func(d []byte) {
		p, err := parsePacket(d)
		if err != nil {
			t.Fatal(err)
		}
		if c.b == nil {
			var answer []byte
			if c.b, answer = c.door.knock(c.now, &p, coreConfig{Seq: 500, RecvBuffer: 64 << 10, grow: count(bm)}); answer != nil {
				c.give(c.a, answer)
			}
		} else {
			c.b.receive(c.now, &p)
		}
	})
	return c
}

// run lets both send until neither has anything left; each datagram of a goes to toB.
func (c *couple) run(toB func(d []byte)) {
	c.t.Helper()
	for range 10_000 {
		n := c.pass(c.a, toB)
		if c.b != nil {
			n += c.pass(c.b, func(d []byte) { c.give(c.a, d) })
		}
		if n == 0 {
			return
		}
	}
	c.t.Fatal("they go on for ever")
}

func (c *couple) pass(from *core, to func(d []byte)) int {
	out, segment, _ := from.poll(c.now, make([]byte, 0, 16<<10))
	c.now = c.now.Add(10 * time.Millisecond)
	n := len(out)
	for len(out) > 0 {
		d := out[:min(segment, len(out))]
		out = out[len(d):]
		to(d)
	}
	return n
}

func (c *couple) settle() {
	c.t.Helper()
	c.run(func(d []byte) { c.give(c.b, d) })
}

func (c *couple) give(to *core, d []byte) {
	c.t.Helper()
	p, err := parsePacket(d)
	if err != nil {
		c.t.Fatal(err)
	}
	to.receive(c.now, &p)
}

// works checks that the stream still goes both ways, byte for byte.
func (c *couple) works() {
	c.t.Helper()
	for _, way := range [][2]*core{{c.a, c.b}, {c.b, c.a}} {
		sent := bytes.Repeat([]byte("0123456789abcdef"), 1000)
		if n := way[0].write(sent); n != len(sent) {
			c.t.Fatalf("%d bytes were taken: %v", n, way[0].err())
		}
		for range 5 {
			c.settle()
			c.now = c.now.Add(time.Second)
		}
		got := make([]byte, len(sent)+1)
		got = got[:way[1].read(got)]
		if !bytes.Equal(got, sent) {
			c.t.Fatalf("%d bytes of %d came, or not the same", len(got), len(sent))
		}
	}
}

// replies is how many bytes the core sends after this.
func (c *couple) replies(to *core, p packet) int {
	to.receive(c.now, &p)
	total := 0
	for {
		out, _, _ := to.poll(c.now, make([]byte, 0, 16<<10))
		if len(out) == 0 {
			return total
		}
		total += len(out)
	}
}

// forged is a packet that b could have sent to a but for what is forged in it.
func (c *couple) forged(typ packetType) packet {
	return packet{
		typ: typ, connID: c.a.recvID, timestamp: 1, timestampDiff: 1, window: 64 << 10,
		seq: c.a.recv.next, ack: c.a.send.next - 1,
	}
}

func TestForgedPacketsChangeNothing(t *testing.T) {
	for _, f := range []struct {
		name  string
		forge func(c *couple) packet
	}{
		{"a reset that acknowledges what was not sent", func(c *couple) packet {
			p := c.forged(stReset)
			p.ack = c.a.send.next + 1
			return p
		}},
		{"a reset from long ago", func(c *couple) packet {
			p := c.forged(stReset)
			p.ack -= 2
			return p
		}},
		{"an acknowledgement of what was not sent", func(c *couple) packet {
			p := c.forged(stState)
			p.ack++
			return p
		}},
		{"data with an acknowledgement from long ago", func(c *couple) packet {
			p := c.forged(stData)
			p.ack, p.payload = p.ack-ackHistory-1, []byte("forged")
			return p
		}},
		{"data with such an acknowledgement", func(c *couple) packet {
			p := c.forged(stData)
			p.ack, p.payload = p.ack+1, []byte("forged")
			return p
		}},
		{"a selective acknowledgement of what was not sent", func(c *couple) packet {
			p := c.forged(stState)
			p.sack = bytes.Repeat([]byte{0xff}, maxExtension)
			return p
		}},
		{"a SYN", func(c *couple) packet { return packet{typ: stSyn, connID: c.a.recvID, seq: 9} }},
		{"data far ahead", func(c *couple) packet {
			p := c.forged(stData)
			p.seq, p.payload = p.seq+maxEarly, []byte("forged")
			return p
		}},
		{"data half the sequence numbers ahead", func(c *couple) packet {
			p := c.forged(stData)
			p.seq, p.payload = p.seq+1<<15, []byte("forged")
			return p
		}},
		{"data of long ago", func(c *couple) packet {
			p := c.forged(stData)
			p.seq, p.payload = p.seq-100, []byte("forged")
			return p
		}},
		{"more data than the window", func(c *couple) packet {
			p := c.forged(stData)
			p.payload = make([]byte, 65_500)
			c.b.write(make([]byte, 1000)) // so that the window is not all of the buffer
			c.settle()
			return p
		}},
	} {
		t.Run(f.name, func(t *testing.T) {
			c := newCouple(t)
			p := f.forge(c)
			held := c.a.memory()
			if n := c.replies(c.a, p); n > headerLen {
				t.Errorf("it was answered with %d bytes", n)
			}
			if c.a.err() != nil {
				t.Fatalf("it ended the connection: %v", c.a.err())
			}
			if c.a.memory() > held+minRing {
				t.Errorf("it cost %d bytes", c.a.memory()-held)
			}
			var rest [2000]byte
			c.a.read(rest[:])
			c.works()
		})
	}
}

// An honest reset is believed, whichever of our packets it answers.
func TestResetOfAnyPacketUnderWayIsBelieved(t *testing.T) {
	for ack := uint16(0); ack < 5; ack++ {
		c := newCouple(t)
		c.a.write(make([]byte, 3*528))
		c.a.poll(c.now, make([]byte, 0, 16<<10))
		p := c.forged(stReset)
		p.ack = c.a.send.una - 1 + ack
		c.a.receive(c.now, &p)
		if !errors.Is(c.a.err(), errReset) || !c.a.done() {
			t.Errorf("a reset for packet %d of 1 to 3: %v", ack, c.a.err())
		}
	}
}

// Windows of nothing and of 4 GiB: neither makes the sender lose its head.
func TestAbsurdWindowsAreHarmless(t *testing.T) {
	c := newCouple(t)
	p := c.forged(stState)
	p.window = math.MaxUint32
	c.a.receive(c.now, &p)
	c.a.write(make([]byte, 1<<20))
	sent := 0
	for {
		out, segment, _ := c.a.poll(c.now, make([]byte, 0, 64<<10))
		if len(out) == 0 {
			break
		}
		sent += len(out) - headerLen*((len(out)+segment-1)/segment)
	}
	if sent > initialWindow+1500 {
		t.Errorf("it sent %d bytes at once into a window of 4 GiB", sent)
	}

	c = newCouple(t)
	p = c.forged(stState)
	p.window = 0
	c.a.receive(c.now, &p)
	c.a.write(make([]byte, 1000))
	if out, _, _ := c.a.poll(c.now, make([]byte, 0, 16<<10)); len(out) > 0 {
		t.Errorf("it sent %d bytes into a window of none", len(out))
	}
	if wake := c.a.wake(); wake.IsZero() || wake.After(c.now.Add(time.Minute)) {
		t.Errorf("it will look again at %v", wake)
	}
}

// The end cannot move, come before data that was sent, or be followed by any.
func TestFINsThatContradictAreIgnored(t *testing.T) {
	c := newCouple(t)
	give := func(typ packetType, ahead uint16, payload string) {
		p := c.forged(typ)
		p.seq, p.payload = p.seq+ahead, []byte(payload)
		c.a.receive(c.now, &p)
	}
	first := c.a.recv.next
	give(stData, 2, "c")
	give(stFin, 1, "") // before data that is there
	give(stFin, 3, "")
	give(stFin, 5, "") // another end
	give(stData, 4, "after the end")
	give(stData, 0, "a")
	give(stData, 1-(c.a.recv.next-first), "b")
	got := make([]byte, 100)
	got = got[:c.a.read(got)]
	if string(got) != "abc" || !c.a.eof() {
		t.Fatalf("the stream was %q, at its end: %v", got, c.a.eof())
	}
	for range 10 {
		give(stFin, 0, "x")
		give(stData, 0, "x")
	}
	if c.a.readable() != 0 || c.a.err() != nil {
		t.Errorf("%d bytes came after the end: %v", c.a.readable(), c.a.err())
	}
}

// A peer that sends every second packet, in every size, makes us hold no more than twice the buffer and what describes it.
func TestGapsCostNoMoreThanTheBuffer(t *testing.T) {
	for _, size := range []int{0, 1, 100, 528, 1452, 9000} {
		c := newCouple(t)
		for ahead := uint16(1); ahead < 30_000; ahead += 2 {
			p := c.forged(stData)
			p.seq, p.payload = p.seq+ahead, make([]byte, size)
			c.a.receive(c.now, &p)
		}
		if got, limit := c.a.memory(), 2*c.a.recv.limit+mostPages*(pageBytes+entryBytes)+2*minRing; got > limit {
			t.Errorf("packets of %d bytes: %d bytes are held, more than %d", size, got, limit)
		}
		if c.a.recv.early.bytes > c.a.recv.limit {
			t.Errorf("packets of %d bytes: %d bytes are beyond the window", size, c.a.recv.early.bytes)
		}
		c.a.release()
		if c.a.memory() != 0 {
			t.Errorf("packets of %d bytes: %d bytes are left", size, c.a.memory())
		}
	}
}

// Whatever comes, the answer is no more than an acknowledgement each, and forged packets in any number leave no trace but
// that one of them may be taken for the peer's own when it guesses everything right.
func TestNoiseIsAnsweredWithLessThanItSends(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	c := newCouple(t)
	for range 20_000 {
		p := packet{
			typ: packetType(rng.IntN(5)), connID: c.a.recvID, timestamp: rng.Uint32(), timestampDiff: rng.Uint32(),
			window: rng.Uint32(), seq: uint16(rng.Uint32()), ack: c.a.send.next + 1 + uint16(rng.IntN(1<<15)),
		}
		if rng.IntN(2) == 0 {
			p.payload = make([]byte, rng.IntN(1452))
		}
		if n := c.replies(c.a, p); n > 0 {
			t.Fatalf("%+v was answered with %d bytes", p, n)
		}
	}
	c.works()
}

// Whoever guesses gets few guesses, all together; the peer's own RESET, which comes first, is believed.
func TestResetsThatAreGuessedAreNotBelieved(t *testing.T) {
	c := newCouple(t)
	c.a.write(make([]byte, 3*528))
	c.a.poll(c.now, make([]byte, 0, 16<<10))
	for ack := range 1 << 16 {
		p := c.forged(stReset)
		p.ack = c.a.send.next + 1 + uint16(ack)
		c.a.receive(c.now, &p)
	}
	if c.a.err() != nil {
		t.Errorf("all RESETs that there are: %v", c.a.err())
	}
}
