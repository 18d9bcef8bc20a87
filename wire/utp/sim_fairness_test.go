package utp

import (
	"testing"
	"time"
)

// shareLine runs two transfers over one bottleneck, the second one late by as much, and says what each got of the line while
// the last part of the time passed, and over what range the queue moved then.
func shareLine(t *testing.T, seed uint64, l line, late, settle, window time.Duration) (first, second float64, w *watch) {
	n := newNetwork(seed)
	forth, back := l.links()
	_, _, one := transfer(t, n, forth, back)
	n.run(late)
	_, _, two := transfer(t, n, forth, back)
	n.run(settle)
	w = watchQueue(n, forth)
	before := [2]int64{one.got, two.got}
	n.run(window)
	all := l.rate / 8 * lineShare * window.Seconds()
	return float64(one.got-before[0]) / all, float64(two.got-before[1]) / all, w
}

// Two flows that start within a round trip of one another see the same queue and the same base delay, so LEDBAT changes
// both windows by the same bytes and keeps the difference that slow start left. Slow start doubles each round trip and
// ends for both when the queue reaches the target, so one is at most one doubling ahead: at worst a third to two thirds.
func TestTwoFlowsThatStartTogetherShareTheLine(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		l := line{rate: 10e6, rtt: 40 * time.Millisecond, queue: 200 * time.Millisecond}
		late := time.Duration(seed) * l.rtt / 4
		one, two, w := shareLine(t, seed, l, late, 20*time.Second, 30*time.Second)
		t.Logf("%v apart: %.3f and %.3f of the line, queue %v", late, one, two, w)
		if one+two < 0.98 {
			t.Errorf("%v apart they used %.3f of the line", late, one+two)
		}
		if min(one, two) < 0.32 {
			t.Errorf("%v apart they got %.3f and %.3f", late, one, two)
		}
	}
}

// A queue of 50 ms is shorter than the target, so it is loss that bounds both windows. An overflow hits both, they halve at
// the same time, and the line's round trip falls from 90 ms to 45 ms: 5 ms of queue are left, so even a latecomer
// soon knows the path's own delay to within 5 ms. Its gain is then (100-q+5)/(100-q) of the other's, 1.06 at the mean
// queue of 25 ms, and halving brings windows together that only grow apart by 6 % in between. What remains is whose packets
// an overflow happens to hit: 0.4 to 0.6.
func TestLatecomerSharesAShortQueueFairly(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		l := line{rate: 10e6, rtt: 40 * time.Millisecond, queue: 50 * time.Millisecond}
		one, two, w := shareLine(t, seed, l, 20*time.Second+time.Duration(seed)*time.Millisecond, 30*time.Second, time.Minute)
		t.Logf("%.3f and %.3f of the line, queue %v", one, two, w)
		if min(one, two) < 0.4 {
			t.Errorf("they got %.3f and %.3f", one, two)
		}
		if one+two < 0.9 {
			t.Errorf("they used %.3f of the line", one+two)
		}
	}
}

// In a long queue LEDBAT favours the latecomer (RFC 6817 §4.4): it takes the 100 ms that the first flow keeps waiting for
// the path's own, aims at 200 ms, and the first flow, which knows better, gives way as it would to TCP. It keeps one
// packet a round trip, 1452 bytes each 240 ms, half a percent of the line, less what it loses when the queue overflows: a
// quarter is asked for. The line stays full.
func TestLatecomerInALongQueueStarvesNobody(t *testing.T) {
	t.Parallel()
	l := line{rate: 10e6, rtt: 40 * time.Millisecond, queue: 200 * time.Millisecond}
	one, two, w := shareLine(t, 1, l, 20*time.Second, 30*time.Second, time.Minute)
	t.Logf("%.3f and %.3f of the line, queue %v", one, two, w)
	if min(one, two) < 0.0025 {
		t.Errorf("they got %.4f and %.4f", one, two)
	}
	if one+two < 0.98 {
		t.Errorf("they used %.3f of the line", one+two)
	}
}
