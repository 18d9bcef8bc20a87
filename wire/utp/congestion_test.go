package utp

import (
	"math"
	"testing"
	"time"
)

const testMSS = 1452

// queue makes the next delays measure d of queueing.
func queue(c *congestion, d time.Duration) {
	if c.ours.samples == 0 {
		c.ours.add(0, 1_000_000)
	}
	for range recentDelays {
		c.ours.add(0, 1_000_000+uint32(d/time.Microsecond))
	}
}

// steady is a window of n bytes after slow start.
func steady(n int) *congestion { return &congestion{window: int64(n) << 16} }

// roundTrip acknowledges a whole window in packets, as a flow that is held up by nothing else gets it.
func roundTrip(c *congestion) {
	for left := c.bytes(); left > 0; left -= testMSS {
		c.acked(min(testMSS, left), c.bytes(), testMSS, 20*time.Millisecond)
	}
}

// RFC 6817 (2.4.2): the window changes in proportion to how far the queue is from the target.
func TestWindowGrowsByTheGainInARoundTripAndLessTowardsTheTarget(t *testing.T) {
	for _, c := range []struct {
		queue time.Duration
		want  float64
	}{
		{0, gainPerRTT},
		{50 * time.Millisecond, gainPerRTT / 2},
		{100 * time.Millisecond, 0},
		{120 * time.Millisecond, -gainPerRTT / 5},
		{200 * time.Millisecond, -200_000 * 0.75 / 8}, // more than the -3000 of the linear gain
	} {
		w := steady(200_000)
		queue(w, c.queue)
		roundTrip(w)
		if got := float64(w.bytes() - 200_000); math.Abs(got-c.want) > math.Abs(c.want)/10+2 {
			t.Errorf("with %v of queue it changed by %.0f, not by %.0f", c.queue, got, c.want)
		}
	}
}

func TestWindowThatIsNotUsedDoesNotGrow(t *testing.T) {
	w := newCongestion()
	queue(&w, 0)
	for range 100 {
		w.acked(testMSS, 5*testMSS, testMSS, time.Millisecond)
	}
	if w.bytes() != initialWindow {
		t.Errorf("it became %d", w.bytes())
	}
	queue(&w, 150*time.Millisecond)
	w.slowStart = false
	w.acked(testMSS, 5*testMSS, testMSS, time.Millisecond)
	if w.bytes() >= initialWindow {
		t.Error("it did not shrink either")
	}
}

func TestWindowIsNeverLessThanAPacketNorWithoutLimit(t *testing.T) {
	w := steady(3 * testMSS)
	queue(w, 10*time.Second)
	for i := range 100 {
		roundTrip(w)
		w.lost(time.Duration(i)*time.Second, testMSS)
	}
	if w.bytes() != testMSS {
		t.Errorf("the least is %d", w.bytes())
	}
	w = &congestion{window: initialWindow << 16, slowStart: true}
	queue(w, 0)
	for range 40 {
		w.acked(w.bytes(), w.bytes(), testMSS, time.Millisecond)
	}
	if w.bytes() != largestWindow {
		t.Errorf("the most is %d", w.bytes())
	}
}

func TestSlowStartDoublesUntilTheThresholdThatALossLeft(t *testing.T) {
	w := newCongestion()
	queue(&w, 0)
	roundTrip(&w)
	if got := w.bytes(); got < 2*initialWindow*9/10 || got > 2*initialWindow {
		t.Errorf("after a round trip it is %d", got)
	}
	w.window = 200_000 << 16
	w.timedOut(time.Second, testMSS, true)
	w.timedOut(2*time.Second, testMSS, false) // the second in a row says nothing about what the path carries
	if w.bytes() != testMSS || !w.slowStart {
		t.Fatalf("after a timeout it is %d", w.bytes())
	}
	for range 20 {
		roundTrip(&w)
	}
	if w.slowStart || w.bytes() < 100_000 || w.bytes() > 100_000+20*gainPerRTT {
		t.Errorf("slow start went on to %d", w.bytes())
	}
}

// 20 ms away and with 60 ms of queue when this was sent, a window of half the present one: 80 ms of line. The queue aimed
// at is 95 ms, so 115 ms of line are right.
func TestSlowStartEndsAtTheWindowThatMakesTheQueue(t *testing.T) {
	w := newCongestion()
	w.window = 320_000 << 16
	queue(&w, 60*time.Millisecond)
	if !w.acked(testMSS, 320_000, testMSS, 20*time.Millisecond) {
		t.Fatal("slow start goes on")
	}
	if want := 160_000 * 115 / 80; w.slowStart || w.bytes() < want-100 || w.bytes() > want+100 {
		t.Errorf("it is %d, not %d", w.bytes(), want)
	}
	// Three round trips later the queue is seen to be 80 ms: 20+95 of 20+80.
	before := w.bytes()
	queue(&w, 80*time.Millisecond)
	w.queued = w.ours.delay()
	for range aimRounds + 3 {
		w.round(w.bytes(), testMSS, 20*time.Millisecond)
	}
	if want := before * 115 / 100; w.bytes() < want-100 || w.bytes() > want+100 {
		t.Errorf("then it is %d, not %d", w.bytes(), want)
	}
}

func TestWindowIsHalvedOnceIn100Milliseconds(t *testing.T) {
	w := steady(800_000)
	for at := range 200 {
		w.lost(time.Duration(at)*time.Millisecond, testMSS)
	}
	if w.bytes() != 200_000 {
		t.Errorf("after 200 losses in 200 ms it is %d", w.bytes())
	}
}

func TestPauseHalvesALargeWindowAndKeepsASmallOne(t *testing.T) {
	w := steady(800_000)
	w.rested()
	if w.bytes() != 400_000 || !w.slowStart || w.threshold != 800_000 {
		t.Errorf("it is %d up to %d", w.bytes(), w.threshold)
	}
	w = steady(5000)
	w.rested()
	if w.bytes() != 5000 {
		t.Errorf("the small one is %d", w.bytes())
	}
}
