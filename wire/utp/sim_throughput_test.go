package utp

import (
	"fmt"
	"math"
	"testing"
	"time"
)

const (
	fullPayload = 1452 // stream bytes in the largest datagram of 1472
	gain        = 3000 // bytes by which the window grows in a round trip without queue
	lineShare   = float64(fullPayload) / (fullPayload + 20 + headers)
)

// TestThroughputIsWhatLineWindowAndLossAllow holds a long transfer against what can be derived.
//
// Without loss: the line's rate less headers, or the receive window of 1 MiB once a round trip, whichever is less.
// After slow start neither the queue (200 ms, twice the target) nor LEDBAT takes anything away.
//
// With loss p: between halvings the window grows by G = 3000 bytes a round trip (the queue being empty), from W/2 to W,
// so W/2 = G·t/RTT for halvings t apart and the rate is R = 3/4·W/RTT = 3/2·G·t/RTT². A halving comes with the first
// loss after h = 100 ms without one, so t = h + S/(p·R), losses being S/(p·R) apart. Hence
// R² - 3/2·G·h/RTT²·R - 3/2·G·S/(p·RTT²) = 0; for h = 0 that is Mathis' formula √(3/2·G·S/p)/RTT.
// It assumes evenly spaced losses that are mended in no time; chance and the odd timeout move it by less than the bounds,
// which are 0.75 and 1.25 of R.
func TestThroughputIsWhatLineWindowAndLossAllow(t *testing.T) {
	t.Parallel()
	for _, l := range []line{
		{rate: 20e6, rtt: 10 * time.Millisecond},
		{rate: 20e6, rtt: 100 * time.Millisecond},
		{rate: 100e6, rtt: 10 * time.Millisecond},
		{rate: 100e6, rtt: 100 * time.Millisecond},
		{rate: 20e6, rtt: 10 * time.Millisecond, loss: 0.01},
		{rate: 20e6, rtt: 100 * time.Millisecond, loss: 0.01},
		{rate: 100e6, rtt: 10 * time.Millisecond, loss: 0.01},
		{rate: 100e6, rtt: 100 * time.Millisecond, loss: 0.01},
		{rate: 100e6, rtt: 100 * time.Millisecond, loss: 0.05},
	} {
		t.Run(fmt.Sprintf("%v Mbit, %v, loss %v", l.rate/1e6, l.rtt, l.loss), func(t *testing.T) {
			t.Parallel()
			l.queue = 200 * time.Millisecond
			n := newNetwork(1)
			forth, back := l.links()
			p, _, to := transfer(t, n, forth, back)
			most := min(l.rate/8*lineShare, float64(1<<20)/l.rtt.Seconds())
			low, high := 0.95*most, 1.001*most
			window := 2 * time.Second
			if l.loss > 0 {
				r := lossRate(l.rtt, l.loss)
				low, high = 0.75*min(r, most), min(1.25*r, most)
				window = 20 * time.Second
			}
			n.run(3 * time.Second)
			rate := goodput(n, to, window)
			t.Logf("%.0f kB/s, expected %.0f to %.0f; %+v", rate/1e3, low/1e3, high/1e3, p.a.core.stats())
			if rate < low || rate > high {
				t.Errorf("%.0f kB/s are not between %.0f and %.0f", rate/1e3, low/1e3, high/1e3)
			}
		})
	}
}

// lossRate is the positive solution of the equation above.
func lossRate(rtt time.Duration, loss float64) float64 {
	const hold = 0.1 // seconds without a second halving
	growth := 1.5 * gain / (rtt.Seconds() * rtt.Seconds())
	return (growth*hold + math.Sqrt(growth*hold*growth*hold+4*growth*fullPayload/loss)) / 2
}

// A window of a few packets that doubles each round trip has sent 1 MiB, 722 packets, after nine of them; the handshake
// takes one and the last bytes' way half of one. Growing by 3000 bytes a round trip would take 27.
func TestSlowStartSendsTheFirstMebibyteInTwelveRoundTrips(t *testing.T) {
	n := newNetwork(1)
	l := line{rate: 100e6, rtt: 100 * time.Millisecond, queue: 200 * time.Millisecond}
	forth, back := l.links()
	_, _, to := transfer(t, n, forth, back)
	if !n.runUntil(12*l.rtt, func() bool { return to.got >= 1<<20 }) {
		t.Fatalf("after %v only %d bytes came", n.now, to.got)
	}
	t.Logf("it took %v", n.now)
}

// Fifty flows share a queue of 200 ms. However small the share that the others leave to one, it has a packet in flight: 1452 bytes
// in at most 250 ms are 5.8 kB/s, or 0.12 of an even share. A lost packet costs that one a timeout of 0.5 s, now and then
// two; allowing for both, nobody may have less than 0.06 or pause for more than 2 s, and together they fill the line.
func TestFiftyFlowsThroughOneBottleneckAllProgress(t *testing.T) {
	t.Parallel()
	n := newNetwork(1)
	l := line{rate: 20e6, rtt: 50 * time.Millisecond, queue: 200 * time.Millisecond}
	forth, back := l.links()
	var all []*bulk
	for range 50 {
		n.after(n.upTo(time.Second), func() {
			_, _, to := transfer(t, n, forth, back)
			all = append(all, to)
		})
	}
	n.run(10 * time.Second)
	before := make([]int64, len(all))
	for i, to := range all {
		before[i] = to.got
		to.pause = 0
	}
	const window = 30
	n.run(window * time.Second)
	share := l.rate / 8 * lineShare * window / 50
	least, most, sum := math.Inf(1), 0.0, 0.0
	var pause time.Duration
	for i, to := range all {
		part := float64(to.got-before[i]) / share
		least, most, sum = min(least, part), max(most, part), sum+part
		pause = max(pause, to.pause, n.now-to.last)
	}
	t.Logf("of an even share the least got %.2f and the most %.2f; together %.3f of the line; the longest pause was %v", least, most, sum/50, pause)
	if least < 0.06 || pause > 2*time.Second {
		t.Errorf("a flow got %.3f of its share; the longest pause was %v", least, pause)
	}
	if sum/50 < 0.95 {
		t.Errorf("together they used %.3f of the line", sum/50)
	}
}
