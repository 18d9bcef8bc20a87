package utp

import (
	"testing"
	"time"
)

// mtuSlack is how close a search by halves that ends at 16 bytes comes.
const mtuSlack = 16

// The path takes IP packets of 1400 bytes: datagrams of 1372. A search between 576 and 1500 bytes by halves takes six
// probes, some of them lost; a lost one is noticed within two round trips. Three seconds are allowed at 50 ms.
func TestMTUSearchFindsWhatThePathTakes(t *testing.T) {
	t.Parallel()
	for _, l := range []struct {
		name string
		path int // IP bytes
	}{{"1500", 1500}, {"1400", 1400}, {"1280", 1280}, {"600", 600}} {
		t.Run(l.name, func(t *testing.T) {
			n := newNetwork(1)
			way := line{rate: 20e6, rtt: 50 * time.Millisecond, queue: 200 * time.Millisecond}
			forth, back := way.links()
			forth.mtu, back.mtu = l.path, l.path
			p, _, to := transfer(t, n, forth, back)
			n.run(3 * time.Second)
			got := p.a.core.stats()
			if fits := l.path - headers; got.mtu > fits || got.mtu < fits-mtuSlack {
				t.Errorf("it found %d where %d fit", got.mtu, fits)
			}
			tooLarge := forth.tooLarge
			rate := goodput(n, to, 10*time.Second)
			t.Logf("%d of %d; %d were too large, %d more later; %.0f kB/s; %+v", got.mtu, l.path-headers, tooLarge, forth.tooLarge-tooLarge, rate/1e3, got)
			if share := rate / (way.rate / 8 * float64(got.mtu-20) / float64(got.mtu+headers)); share < 0.98 {
				t.Errorf("then it used %.3f of the line: a lost probe is no sign of congestion", share)
			}
		})
	}
}

// The path's MTU falls from 1500 to 1200 in the middle of a transfer, as when a route changes: whatever is larger
// vanishes without a word. The first packet times out twice, after at most 0.6 s and 1.2 s with a round trip of 140 ms, then
// it comes in fragments, so that the stream must move again within 2 s and, with smaller packets, fill the line 10 s later.
func TestTransferSurvivesAPathThatBecomesNarrow(t *testing.T) {
	n := newNetwork(1)
	way := line{rate: 20e6, rtt: 50 * time.Millisecond, queue: 200 * time.Millisecond}
	forth, back := way.links()
	p, _, to := transfer(t, n, forth, back)
	n.run(10 * time.Second)
	before := p.a.core.stats().mtu
	forth.mtu, back.mtu = 1200, 1200
	from := n.now
	n.run(way.rtt + way.queue) // what was on its way arrives
	to.pause = 0
	n.run(10 * time.Second)
	t.Logf("from datagrams of %d; the longest pause was %v; %+v", before, to.pause, p.a.core.stats())
	if to.pause > 2*time.Second || to.last < n.now-time.Second {
		t.Fatalf("the stream stood still for %v, and its last byte came %v after the path changed", to.pause, to.last-from)
	}
	got := p.a.core.stats().mtu
	if fits := 1200 - headers; got > fits || got < fits-mtuSlack {
		t.Errorf("it sends datagrams of %d where %d fit", got, fits)
	}
	rate := goodput(n, to, 10*time.Second)
	if share := rate / (way.rate / 8 * float64(got-20) / float64(got+headers)); share < 0.95 {
		t.Errorf("afterwards it used %.3f of the line", share)
	}
}

// With a window of a few packets it takes as long: timeouts of at most 0.6 s and 1.2 s.
func TestSmallTransferSurvivesAPathThatBecomesNarrow(t *testing.T) {
	n := newNetwork(1)
	forth, back := line{rate: 20e6, rtt: 50 * time.Millisecond, queue: 200 * time.Millisecond}.links()
	p := newPair(t, n, []*link{forth}, []*link{back}, coreConfig{}, coreConfig{RecvBuffer: 8 << 10})
	to := &bulk{}
	p.a.app, p.b.app = &bulk{send: forever}, to
	p.dial()
	n.run(10 * time.Second)
	if !forth.takes(p.a.core.stats().mtu) || p.a.core.stats().mtu < 1400 {
		t.Fatalf("datagrams of %d", p.a.core.stats().mtu)
	}
	forth.mtu = 1200
	n.run(100 * time.Millisecond)
	before := to.got
	if !n.runUntil(2*time.Second, func() bool { return to.got > before }) {
		t.Fatalf("nothing came; %+v", p.a.core.stats())
	}
	n.run(5 * time.Second)
	if got := p.a.core.stats().mtu; !forth.takes(got) {
		t.Errorf("datagrams of %d are too large", got)
	}
}

// The first hop says so when a datagram is too long for it (EMSGSIZE): the search must not need to wait for losses.
func TestOwnInterfaceOfSmallMTUCostsNoLosses(t *testing.T) {
	n := newNetwork(1)
	way := line{rate: 20e6, rtt: 50 * time.Millisecond, queue: 200 * time.Millisecond}
	forth, back := way.links()
	p, _, to := transfer(t, n, forth, back)
	p.a.device = 1420
	n.run(5 * time.Second)
	got := p.a.core.stats()
	t.Logf("%d bytes came, %+v", to.got, got)
	if fits := 1420 - headers; got.mtu > fits || got.mtu < fits-mtuSlack {
		t.Errorf("it found %d where %d fit", got.mtu, fits)
	}
	if rate := goodput(n, to, 5*time.Second); rate < 0.97*way.rate/8*float64(got.mtu-20)/float64(got.mtu+headers) {
		t.Errorf("it came to %.0f kB/s", rate/1e3)
	}
}

// The own interface takes less from one moment on, as when another tunnel carries it: what was cut before is fragmented
// at once, without waiting for a timeout, and the search stays below.
func TestOwnInterfaceThatBecomesNarrowCostsNoTimeout(t *testing.T) {
	n := newNetwork(1)
	forth, back := line{rate: 20e6, rtt: 50 * time.Millisecond, queue: 200 * time.Millisecond}.links()
	p, _, to := transfer(t, n, forth, back)
	n.run(5 * time.Second)
	p.a.device, forth.mtu = 1300, 1300
	to.pause = 0
	n.run(5 * time.Second)
	got := p.a.core.stats()
	t.Logf("the longest pause was %v; %d might be fragmented; %+v", to.pause, p.a.fragmented, got)
	if to.pause > 400*time.Millisecond || got.timeouts > 0 {
		t.Errorf("the stream stood still for %v; %d timeouts", to.pause, got.timeouts)
	}
	if fits := 1300 - headers; got.mtu > fits || got.mtu < fits-mtuSlack {
		t.Errorf("it sends datagrams of %d where %d fit", got.mtu, fits)
	}
}

// Small packets that still arrive must not hide that long ones do not: here every third is short.
func TestShortPacketsDoNotHideANarrowPath(t *testing.T) {
	n := newNetwork(1)
	forth, back := line{rate: 20e6, rtt: 50 * time.Millisecond, queue: 200 * time.Millisecond}.links()
	p, from, to := transfer(t, n, forth, back)
	n.run(5 * time.Second)
	from.send = from.sent
	n.run(time.Second)
	forth.mtu = 1200
	n.every(100*time.Millisecond, func() {
		if from.sent == from.send {
			from.send += 3000
			p.a.poke()
		}
	})
	to.pause, to.last = 0, n.now
	n.run(10 * time.Second)
	got := p.a.core.stats()
	t.Logf("the longest pause was %v; %d might be fragmented; %+v", to.pause, p.a.fragmented, got)
	if to.pause > 2*time.Second || got.mtu > 1200-headers {
		t.Errorf("the stream stood still for %v; datagrams of %d", to.pause, got.mtu)
	}
}

// A path that was just broken for a while is used as before, but for a byte.
func TestBrokenPathLosesNoSize(t *testing.T) {
	n := newNetwork(1)
	forth, back := line{rate: 20e6, rtt: 50 * time.Millisecond, queue: 200 * time.Millisecond}.links()
	p, _, _ := transfer(t, n, forth, back)
	n.run(5 * time.Second)
	before := p.a.core.stats().mtu
	forth.lose = func([]byte) bool { return true }
	n.run(5 * time.Second)
	forth.lose = nil
	n.run(10 * time.Second)
	if after := p.a.core.stats().mtu; after < before-1 {
		t.Errorf("datagrams of %d became such of %d", before, after)
	}
}

// A probe may be sent again, in its ordinary size, for other reasons than that it was found lost: here because a reader that was slow
// makes room. That it arrives then must not be taken for the probe's arrival.
func TestProbeThatWasSentAgainProvesNothing(t *testing.T) {
	for seed := range uint64(100) {
		n := newNetwork(seed)
		forth := &link{delay: 15 * time.Millisecond, jitter: 27 * time.Millisecond, mtu: 1400}
		back := &link{delay: 70 * time.Millisecond, reorder: 0.3, late: 10 * time.Millisecond, loss: 0.05}
		p := newPair(t, n, []*link{forth}, []*link{back}, coreConfig{}, coreConfig{RecvBuffer: 8<<10 + n.rng.IntN(500)})
		a, b := &bulk{send: 20_000}, &talker{bulk: bulk{}, chunk: 3000, gap: 20 * time.Millisecond}
		p.a.app, p.b.app = a, b
		b.talk(p.b)
		p.dial()
		if !n.runUntil(time.Minute, func() bool { return b.got == a.send }) {
			t.Errorf("seed %d: after %d bytes the stream stands still: %v", seed, b.got, p.a.core.err())
		}
		if size := p.a.core.stats().mtu; !forth.takes(size) {
			t.Errorf("seed %d: datagrams of %d are too large", seed, size)
		}
	}
}
