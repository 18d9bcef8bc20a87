package utp

import (
	"fmt"
	"testing"
	"time"
)

// TestRandomStreamsArriveIntactOverBadNetworks has both ends write and read random amounts at random times, over
// networks that lose up to 30 %, duplicate, reorder, delay and fill up, with buffers of all sizes.
func TestRandomStreamsArriveIntactOverBadNetworks(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		n := newNetwork(seed)
		rng := n.rng
		forth, back := badLink(n), badLink(n)
		config := func() coreConfig {
			return coreConfig{
				RecvBuffer: 4<<10 + rng.IntN(100<<10),
				SendBuffer: 4<<10 + rng.IntN(100<<10),
				Seq:        uint16(-rng.IntN(60)), // so that sequence numbers wrap
				RecvID:     uint16(-rng.IntN(2)),  // and the connection id
			}
		}
		p := newPair(t, n, []*link{forth}, []*link{back}, config(), config())
		p.a.batch, p.b.batch = time.Duration(rng.IntN(3))*time.Millisecond, time.Duration(rng.IntN(3))*time.Millisecond
		a, b := someTalker(n), someTalker(n)
		p.a.app, p.b.app = a, b
		a.talk(p.a)
		b.talk(p.b)
		p.dial()
		ended := n.runUntil(time.Hour, func() bool {
			return a.eof && b.eof || p.a.core.err() != nil || p.b.core != nil && p.b.core.err() != nil
		})
		what := fmt.Sprintf("seed %d: forth %+v, back %+v, %d of %d bytes came there and %d of %d back by %v",
			seed, *forth, *back, b.got, a.send, a.got, b.send, n.now)
		switch {
		case p.a.core.err() != nil:
			t.Errorf("the initiator gave up: %v; %s", p.a.core.err(), what)
		case p.b.core != nil && p.b.core.err() != nil:
			t.Errorf("the responder gave up: %v; %s", p.b.core.err(), what)
		case !ended:
			t.Errorf("it never ended; %s", what)
		case b.got != a.send || a.got != b.send:
			t.Errorf("the end came early; %s", what)
		case !forth.takes(p.a.core.stats().mtu) || !back.takes(p.b.core.stats().mtu):
			t.Errorf("datagrams of %d and %d bytes are too large; %s", p.a.core.stats().mtu, p.b.core.stats().mtu, what)
		}
	}
}

// badLink is a random link: each fault is absent from about half of them.
func badLink(n *network) *link {
	rng := n.rng
	l := &link{
		delay: time.Duration(rng.IntN(100)) * time.Millisecond,
		late:  time.Duration(1+rng.IntN(50)) * time.Millisecond,
	}
	if rng.IntN(2) == 0 {
		l.loss = 0.3 * rng.Float64()
	}
	if rng.IntN(2) == 0 {
		l.twice = 0.2 * rng.Float64()
	}
	if rng.IntN(2) == 0 {
		l.reorder = 0.3 * rng.Float64()
	}
	if rng.IntN(2) == 0 {
		l.jitter = time.Duration(1+rng.IntN(30)) * time.Millisecond
	}
	if rng.IntN(2) == 0 {
		l.rate = 20e3 + 1e6*rng.Float64()
		l.queue = 3000 + rng.IntN(50e3)
	}
	if rng.IntN(4) == 0 {
		l.mtu = 600 + rng.IntN(900)
	}
	return l
}

// takes reports whether datagrams of this size can pass.
func (l *link) takes(size int) bool { return l.mtu == 0 || size+headers <= l.mtu }

func someTalker(n *network) *talker {
	return &talker{
		bulk:  bulk{send: int64(n.rng.IntN(100 << 10)), close: true},
		chunk: 1 + n.rng.IntN(10<<10),
		gap:   time.Duration(1+n.rng.IntN(30)) * time.Millisecond,
	}
}

// What a seed does is the same each time, so that a failure can be looked into.
func TestEqualSeedsMakeEqualWorlds(t *testing.T) {
	run := func() string {
		n := newNetwork(42)
		p, _, to := transfer(t, n, badLink(n), badLink(n))
		n.run(20 * time.Second)
		return fmt.Sprint(to.got, n.order, p.a.core.stats())
	}
	if a, b := run(), run(); a != b {
		t.Fatalf("first %s, then %s", a, b)
	}
}
