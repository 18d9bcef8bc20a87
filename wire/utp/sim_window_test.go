package utp

import (
	"testing"
	"time"
)

// stalled makes a transfer at 100 ms whose reader stops after a second, and lets half a minute pass.
func stalled(t *testing.T) (*pair, *bulk) {
	n := newNetwork(1)
	forth, back := line{rate: 20e6, rtt: 100 * time.Millisecond, queue: 200 * time.Millisecond}.links()
	p, _, to := transfer(t, n, forth, back)
	n.run(time.Second)
	to.deaf = true
	n.run(30 * time.Second)
	if held := p.b.core.readable(); held < 1<<20-fullPayload || held > 1<<20 {
		t.Fatalf("nobody reads and %d bytes wait", held)
	}
	if err := p.a.core.err(); err != nil {
		t.Fatalf("the writer gave up: %v", err)
	}
	return p, to
}

// The reader empties its buffer and says so at once: new bytes come one round trip later, and a little for their own
// transmission. The sender kept its window, so the line is full again.
func TestReaderThatComesBackHasNewBytesAfterOneRoundTrip(t *testing.T) {
	p, to := stalled(t)
	to.deaf = false
	p.b.poke()
	p.n.run(0)
	drained, at := to.got, p.n.now
	if !p.n.runUntil(110*time.Millisecond, func() bool { return to.got > drained }) {
		t.Fatalf("nothing came for %v", p.n.now-at)
	}
	p.n.run(5 * time.Second)
	if rate := goodput(p.n, to, 5*time.Second); rate < 0.95*20e6/8*lineShare {
		t.Errorf("then it came to %.0f kB/s", rate/1e3)
	}
}

// The word that the window is open again may get lost: it is an acknowledgement, which nobody acknowledges. The sender
// therefore asks from time to time.
func TestLostWindowUpdateIsMadeUpFor(t *testing.T) {
	p, to := stalled(t)
	to.deaf = false
	p.back.lose = func([]byte) bool { return true }
	p.b.poke()
	p.n.run(200 * time.Millisecond)
	p.back.lose = nil
	drained, at := to.got, p.n.now
	if !p.n.runUntil(zeroWindowBound, func() bool { return to.got > drained }) {
		t.Fatalf("nothing came for %v; %+v", p.n.now-at, p.a.core.stats())
	}
	t.Logf("new bytes came after %v", p.n.now-at)
	p.n.run(5 * time.Second)
	if rate := goodput(p.n, to, 5*time.Second); rate < 0.95*20e6/8*lineShare {
		t.Errorf("then it came to %.0f kB/s", rate/1e3)
	}
}

// zeroWindowBound is how long a sender may believe in a closed window without asking: its timeouts double up to 6 s, and
// the answer takes a round trip. libutp waits for 15 s.
const zeroWindowBound = backoffCap + 200*time.Millisecond

// A reader that takes 100 bytes at a time from a full buffer must not be fed in crumbs (the silly window of RFC 1122
// §4.2.3.3): the 200 kB that it reads here are 138 full packets, and twice as many, and as many acknowledgements, are allowed.
func TestSlowReaderIsNotFedInCrumbs(t *testing.T) {
	p, to := stalled(t)
	p.n.every(10*time.Millisecond, func() {
		to.read(p.b, 100)
		p.b.poke()
	})
	p.n.run(5 * time.Second)
	got, forth, back := to.got, p.a.datagrams, p.b.datagrams
	p.n.run(20 * time.Second)
	forth, back = p.a.datagrams-forth, p.b.datagrams-back
	t.Logf("%d bytes in %d packets and %d acknowledgements", to.got-got, forth, back)
	if to.got-got < 190_000 {
		t.Errorf("the reader got %d bytes where it wanted 200000", to.got-got)
	}
	if limit := 2 * 200_000 / fullPayload; forth > limit || back > limit {
		t.Errorf("%d packets and %d acknowledgements are more than %d", forth, back, limit)
	}
}

// A meter is a budget's side of coreConfig.grow.
type meter struct{ held, most, limit int }

func (m *meter) grow(n int) bool {
	if m.limit > 0 && n > 0 && m.held+n > m.limit {
		return false
	}
	m.held += n
	m.most = max(m.most, m.held)
	return true
}

// A connection that carried 20 MB/s and then says nothing for a minute holds at most the least ring each way, and one that
// is done holds nothing.
func TestIdleConnectionHoldsAlmostNoMemory(t *testing.T) {
	n := newNetwork(1)
	forth, back := line{rate: 160e6, rtt: 100 * time.Millisecond, queue: 200 * time.Millisecond}.links()
	var am, bm meter
	p := newPair(t, n, []*link{forth}, []*link{back}, coreConfig{grow: am.grow}, coreConfig{grow: bm.grow})
	from, to := &bulk{send: 30 << 20}, &bulk{}
	p.a.app, p.b.app = from, to
	p.dial()
	n.run(20 * time.Second)
	if to.got != from.send {
		t.Fatalf("only %d bytes came", to.got)
	}
	t.Logf("at most %d and %d bytes", am.most, bm.most)
	if am.most < 1<<20 || am.most > 5<<18 {
		t.Errorf("the writer held %d bytes for a buffer of a mebibyte", am.most)
	}
	n.run(time.Minute)
	if am.held > 2*minRing || bm.held > 2*minRing {
		t.Errorf("idle, they hold %d and %d bytes", am.held, bm.held)
	}
	from.close, to.close = true, true
	p.a.poke()
	p.b.poke()
	n.run(10 * time.Second)
	if am.held != 0 || bm.held != 0 || !p.a.core.done() || !p.b.core.done() {
		t.Errorf("closed, they hold %d and %d bytes; done: %v, %v", am.held, bm.held, p.a.core.done(), p.b.core.done())
	}
}

// The budget may have nothing to give. Then the window is what there is, and the stream goes on.
func TestPoorBudgetSlowsAStreamButDoesNotStopIt(t *testing.T) {
	n := newNetwork(1)
	forth, back := line{rate: 20e6, rtt: 20 * time.Millisecond, queue: 200 * time.Millisecond}.links()
	forth.loss = 0.01
	am, bm := meter{limit: 16 << 10}, meter{limit: 16 << 10}
	p := newPair(t, n, []*link{forth}, []*link{back}, coreConfig{grow: am.grow}, coreConfig{grow: bm.grow})
	from, to := &bulk{send: 2 << 20, close: true}, &bulk{close: true}
	p.a.app, p.b.app = from, to
	p.dial()
	// 8 KiB at least are in flight each 20 ms: 400 kB/s, so 5 s; losses and their timeouts may take four times as long again.
	if !n.runUntil(25*time.Second, func() bool { return to.eof }) {
		t.Fatalf("%d of %d bytes came", to.got, from.send)
	}
	t.Logf("it took %v", n.now)
	if am.most > am.limit || bm.most > bm.limit {
		t.Errorf("they took %d and %d bytes of %d", am.most, bm.most, am.limit)
	}
}
