package utp

import (
	"fmt"
	"testing"
	"time"
)

// A watch keeps what a link's queue was like, seen each 10 ms.
type watch struct {
	low, high, sum time.Duration
	count          int
}

// watchQueue begins to look at l's queue, for good.
func watchQueue(n *network, l *link) *watch {
	w := &watch{}
	n.every(10*time.Millisecond, func() {
		q := l.waiting(n.now)
		if w.count == 0 {
			w.low, w.high = q, q
		}
		w.low, w.high, w.sum = min(w.low, q), max(w.high, q), w.sum+q
		w.count++
	})
	return w
}

func (w *watch) String() string {
	return fmt.Sprintf("%v to %v, mean %v", w.low, w.high, w.mean())
}

func (w *watch) mean() time.Duration { return w.sum / time.Duration(max(1, w.count)) }

// TestAloneAFlowKeepsTheQueueAtItsTarget is the bar: with 200 ms of queue in the way, the delay that the transfer
// causes stays between 80 and 120 ms.
//
// The window's distance from its place decays by 3000/(target·rate·RTT) a second: at 20 Mbit/s and a round trip of
// 120 ms with a time constant of 10 s, at 8 Mbit/s of 4 s, or 7 s when the round trip takes 200 ms. Slow start ends within
// 100 ms of the target, so 40 s and 20 s bring it within 6 ms, and the steady state is what follows. Then the clocks:
// one that drifts by 50 ppm moves the measured delay by 3 ms a minute, 48 ms in the 16 minutes that are watched, in
// which, moreover, the queue is never empty: neither may be taken for the path. Jitter of 5 ms moves what is measured by as much.
func TestAloneAFlowKeepsTheQueueAtItsTarget(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name          string
		rate          float64
		rtt           time.Duration
		jitter        time.Duration
		offset        time.Duration
		drift         float64
		settle, watch time.Duration
	}{
		{"20 Mbit/s", 20e6, 20 * time.Millisecond, 0, 0, 0, 40 * time.Second, 10 * time.Second},
		{"8 Mbit/s", 8e6, 20 * time.Millisecond, 0, 0, 0, 20 * time.Second, 30 * time.Second},
		{"8 Mbit/s, far away", 8e6, 100 * time.Millisecond, 0, 0, 0, 20 * time.Second, 30 * time.Second},
		{"jitter of 5 ms", 8e6, 20 * time.Millisecond, 5 * time.Millisecond, 0, 0, 20 * time.Second, 30 * time.Second},
		{"clock hours ahead", 8e6, 20 * time.Millisecond, 0, 5*time.Hour + 1234567*time.Microsecond, 0, 20 * time.Second, 30 * time.Second},
		{"clock hours behind", 8e6, 20 * time.Millisecond, 0, -7 * time.Hour, 0, 20 * time.Second, 30 * time.Second},
		{"clock 50 ppm fast", 2e6, 20 * time.Millisecond, 0, time.Hour, 50e-6, 20 * time.Second, 16 * time.Minute},
		{"clock 50 ppm slow", 2e6, 20 * time.Millisecond, 0, time.Hour, -50e-6, 20 * time.Second, 16 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n := newNetwork(1)
			l := line{rate: c.rate, rtt: c.rtt, queue: 200 * time.Millisecond}
			forth, back := l.links()
			forth.jitter, back.jitter = c.jitter, c.jitter
			p, _, to := transfer(t, n, forth, back)
			p.b.offset, p.b.drift = c.offset, c.drift
			n.run(c.settle)
			w := watchQueue(n, forth)
			rate := goodput(n, to, c.watch)
			t.Logf("the queue was %v; %.3f of the line; %+v", w, rate/(c.rate/8*lineShare), p.a.core.stats())
			if w.low < 80*time.Millisecond || w.high > 120*time.Millisecond {
				t.Errorf("the queue was %v", w)
			}
			if rate < 0.99*c.rate/8*lineShare {
				t.Errorf("%.0f kB/s do not fill the line", rate/1e3)
			}
		})
	}
}

// Two streams of one connection, one each way: acknowledgements ride on data and wait with it, so they come in bursts and
// whole windows slosh from one queue to the other (ack compression, as two-way TCP knows it), which only pacing would
// prevent. Each end still sees its own way alone. What packets find is then anything from nothing to twice the target, the
// target on average; and when a window of 200 ms has passed, its acknowledgements take one empty round trip of 20 ms, in which the
// line may be idle. So of the line at least 200/220, less 48 bytes of acknowledgement for each packet of 1500, are used: 0.88.
// Over time the queue is 100·200/220 = 91 ms; as the two directions are not quite alike, 75 are allowed.
func TestBothDirectionsAtOnceKeepTheirQueuesAtTheTargetOnAverage(t *testing.T) {
	t.Parallel()
	n := newNetwork(1)
	l := line{rate: 8e6, rtt: 20 * time.Millisecond, queue: 200 * time.Millisecond}
	forth, _ := l.links()
	back, _ := l.links()
	p := newPair(t, n, []*link{forth}, []*link{back}, coreConfig{}, coreConfig{})
	a, b := &bulk{send: forever}, &bulk{send: forever}
	p.a.app, p.b.app = a, b
	p.b.drift = 20e-6
	p.dial()
	n.run(time.Minute)
	there, here := watchQueue(n, forth), watchQueue(n, back)
	before := [2]int64{a.got, b.got}
	n.run(time.Minute)
	full := 60 * l.rate / 8 * lineShare
	shares := [2]float64{float64(b.got-before[1]) / full, float64(a.got-before[0]) / full}
	t.Logf("forth %v and %.3f of the line, back %v and %.3f; %+v", there, shares[0], here, shares[1], p.a.core.stats())
	for _, w := range []*watch{there, here} {
		if w.mean() < 75*time.Millisecond || w.mean() > 120*time.Millisecond {
			t.Errorf("a queue was %v", w)
		}
	}
	if min(shares[0], shares[1]) < 0.88 {
		t.Errorf("of the line they used %.3f and %.3f", shares[0], shares[1])
	}
}
