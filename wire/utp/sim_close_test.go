package utp

import (
	"errors"
	"testing"
	"time"
)

// connect makes a connection at 100 ms over which both have sent a little.
func connect(t *testing.T, seed uint64) (*pair, *bulk, *bulk) {
	n := newNetwork(seed)
	forth, back := line{rate: 20e6, rtt: 100 * time.Millisecond, queue: 200 * time.Millisecond}.links()
	p := newPair(t, n, []*link{forth}, []*link{back}, coreConfig{Seq: 9, RecvID: 0xffff}, coreConfig{Seq: 0xfffe})
	a, b := &bulk{send: 5000}, &bulk{send: 7000}
	p.a.app, p.b.app = a, b
	p.dial()
	n.run(2 * time.Second)
	if !p.a.core.connected() || !p.b.core.connected() || a.got != 7000 || b.got != 5000 {
		t.Fatalf("connected: %v, %v; %d and %d bytes", p.a.core.connected(), p.b.core.connected(), b.got, a.got)
	}
	return p, a, b
}

// clean says whether both ended without an error.
func (p *pair) clean(t *testing.T) {
	t.Helper()
	if p.a.core.err() != nil || p.b.core.err() != nil {
		t.Errorf("errors: %v, %v", p.a.core.err(), p.b.core.err())
	}
}

// Both write what fits in one flight and close at the same moment: the other's end is known half a round trip later, the
// acknowledgement of the own one a round trip later. An end may linger for the other's sake.
func TestBothMayCloseAtOnce(t *testing.T) {
	p, a, b := connect(t, 1)
	for _, x := range []*bulk{a, b} {
		x.send += 2000
		x.close = true
	}
	p.a.poke()
	p.b.poke()
	p.n.run(110 * time.Millisecond)
	if !a.eof || !b.eof || a.got != 9000 || b.got != 7000 {
		t.Errorf("ends: %v, %v, after %d and %d bytes", a.eof, b.eof, b.got, a.got)
	}
	p.n.run(lingerBound)
	if !p.a.core.done() || !p.b.core.done() {
		t.Errorf("done: %v, %v", p.a.core.done(), p.b.core.done())
	}
	p.clean(t)
}

// lingerBound is how long a connection that is closed and acknowledged on both sides may be remembered.
const lingerBound = 10 * time.Second

// libtorrent may forget the connection when both FINs cross, and then says nothing to ours. It is sent six times in all within three
// RTOs of 0.5 s, since the other end may also just not have got it, and after half of one more forgotten.
func TestPeerThatForgetsAfterItsFINIsSoonForgotten(t *testing.T) {
	p, a, b := connect(t, 1)
	a.close, b.close = true, true
	p.a.poke()
	p.b.poke()
	p.n.run(time.Millisecond)
	p.b.gone = true // with its FIN under way
	sent, from := p.a.datagrams, p.n.now
	p.n.runUntil(lingerBound, p.a.core.done)
	t.Logf("forgotten after %v and %d packets", p.n.now-from, p.a.datagrams-sent)
	if took := p.n.now - from; !a.eof || took < 1500*time.Millisecond || took > 2*time.Second {
		t.Errorf("end %v, done %v after %v", a.eof, p.a.core.done(), took)
	}
	if n := p.a.datagrams - sent; n > finRepeats+2 {
		t.Errorf("it sent %d packets: %d times the FIN and the acknowledgement, of which there are two forms, are enough", n, finRepeats)
	}
	if err := p.a.core.err(); err != nil {
		t.Error(err)
	}
}

func TestOneDirectionStaysOpenWhenTheOtherCloses(t *testing.T) {
	p, a, b := connect(t, 1)
	a.close = true
	p.a.poke()
	p.n.run(time.Minute)
	if !b.eof || a.eof || p.a.core.done() || p.b.core.done() {
		t.Fatalf("ends: %v, %v; done: %v, %v", b.eof, a.eof, p.a.core.done(), p.b.core.done())
	}
	if n := p.a.core.write([]byte("x")); n != 0 {
		t.Errorf("%d bytes were taken after closing", n)
	}
	b.send += 300_000
	b.close = true
	p.b.poke()
	p.n.run(5 * time.Second)
	if !a.eof || a.got != 307_000 {
		t.Errorf("the end is %v after %d bytes", a.eof, a.got)
	}
	p.n.run(lingerBound)
	if !p.a.core.done() || !p.b.core.done() {
		t.Errorf("done: %v, %v", p.a.core.done(), p.b.core.done())
	}
	p.clean(t)
}

// Closing works under loss too: with 20 % each way every stream ends, without an error on either side. A FIN is lost six
// times, and not sent again, in one of 15,000.
func TestClosingSurvivesLoss(t *testing.T) {
	for seed := range uint64(100) {
		p, a, b := connect(t, seed)
		p.forth.loss, p.back.loss = 0.2, 0.2
		a.close, b.close = true, true
		p.a.poke()
		p.n.run(p.n.upTo(time.Second))
		p.b.poke()
		done := p.n.runUntil(2*time.Minute, func() bool { return p.a.core.done() && p.b.core.done() })
		if !done || !a.eof || !b.eof || p.a.core.err() != nil || p.b.core.err() != nil {
			t.Errorf("seed %d: done %v, %v; ends %v, %v; errors %v, %v", seed,
				p.a.core.done(), p.b.core.done(), a.eof, b.eof, p.a.core.err(), p.b.core.err())
		}
	}
}

func TestResetEndsBothSidesAtOnce(t *testing.T) {
	p, _, _ := connect(t, 1)
	p.a.core.abort()
	p.a.poke()
	p.n.run(51 * time.Millisecond)
	if !p.a.core.done() || !p.b.core.done() {
		t.Errorf("done: %v, %v", p.a.core.done(), p.b.core.done())
	}
	if !errors.Is(p.b.core.err(), errReset) {
		t.Errorf("the other side's error is %v", p.b.core.err())
	}
	if p.b.core.write([]byte("x")) != 0 || !p.b.core.wake().IsZero() {
		t.Error("it still takes bytes or wants to be woken")
	}
}

// The peer vanishes in the middle of a transfer: the timeouts, 0.5 s to 0.6 s at first, double each time.
func TestPeerThatVanishesIsGivenUp(t *testing.T) {
	p, a, _ := connect(t, 1)
	a.send = forever
	p.a.poke()
	p.n.run(5 * time.Second)
	p.b.gone = true
	since := p.n.now
	if !p.n.runUntil(vanishBound, func() bool { return p.a.core.err() != nil }) {
		t.Fatalf("it still hopes after %v; %+v", vanishBound, p.a.core.stats())
	}
	t.Logf("given up after %v: %v", p.n.now-since, p.a.core.err())
	if !errors.Is(p.a.core.err(), errTimeout) || !p.a.core.done() {
		t.Errorf("error %v, done %v", p.a.core.err(), p.a.core.done())
	}
	if p.n.now-since < 5*time.Second {
		t.Error("a break of a few seconds must be survived")
	}
}

const vanishBound = 2 * time.Minute

// The path may break for some seconds and come back.
func TestBreakOfFiveSecondsIsSurvived(t *testing.T) {
	p, a, b := connect(t, 1)
	a.send = forever
	p.a.poke()
	p.n.run(5 * time.Second)
	cut := func([]byte) bool { return true }
	p.forth.lose, p.back.lose = cut, cut
	p.n.run(5 * time.Second)
	p.forth.lose, p.back.lose = nil, nil
	before, at := b.got, p.n.now
	// Timeouts double, so the next attempt comes at the latest after as long again as the break took.
	if !p.n.runUntil(6*time.Second, func() bool { return b.got > before }) {
		t.Fatalf("nothing came; %v", p.a.core.err())
	}
	t.Logf("it went on %v after the break", p.n.now-at)
	p.n.run(5 * time.Second)
	if rate := goodput(p.n, b, 5*time.Second); rate < 0.9*20e6/8*lineShare {
		t.Errorf("then it came to %.0f kB/s", rate/1e3)
	}
}

// Nobody answers the SYN: it is sent again after 3 s, 6 s, …
func TestDialToNobodyEndsInATimeout(t *testing.T) {
	n := newNetwork(1)
	p := newPair(t, n, []*link{{}}, []*link{{}}, coreConfig{}, coreConfig{})
	p.b.gone = true
	p.dial()
	if !n.runUntil(2*time.Minute, func() bool { return p.a.core.err() != nil }) {
		t.Fatal("it still hopes after two minutes")
	}
	t.Logf("given up after %v and %d packets: %v", n.now, p.a.datagrams, p.a.core.err())
	if !errors.Is(p.a.core.err(), errTimeout) || !p.a.core.done() {
		t.Errorf("error %v, done %v", p.a.core.err(), p.a.core.done())
	}
	if p.a.datagrams < 2 || p.a.datagrams > 6 || n.now < 6*time.Second {
		t.Errorf("%d packets in %v", p.a.datagrams, n.now)
	}
}

// A connection over which nothing is said stays, through NATs that forget after 30 s: each end speaks every 29 s, and is
// woken for nothing else.
func TestIdleConnectionIsKeptAlive(t *testing.T) {
	p, a, b := connect(t, 1)
	last := p.n.now
	var silence time.Duration
	p.forth.lose = func([]byte) bool {
		silence, last = max(silence, p.n.now-last), p.n.now
		return false
	}
	p.n.run(10 * time.Second) // memory is given back
	sent, woken := p.a.datagrams+p.b.datagrams, p.a.woken+p.b.woken
	p.n.run(10 * time.Minute)
	silence = max(silence, p.n.now-last)
	sent, woken = p.a.datagrams+p.b.datagrams-sent, p.a.woken+p.b.woken-woken
	t.Logf("%d packets in ten minutes, at most %v apart; woken %d times", sent, silence, woken)
	if silence > 30*time.Second {
		t.Errorf("it said nothing for %v", silence)
	}
	if limit := 2*600/29 + 2; sent > limit || woken > limit {
		t.Errorf("%d packets, and %d times awake, in ten minutes of silence", sent, woken)
	}
	a.send += 1000
	p.a.poke()
	p.n.run(time.Second)
	if b.got != 6000 {
		t.Errorf("then %d bytes came", b.got)
	}
	p.clean(t)
}
