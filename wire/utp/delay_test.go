package utp

import (
	"math"
	"testing"
	"time"
)

func TestQueueingIsTheLeastOfThreeDelaysAboveTheLeastEver(t *testing.T) {
	// The clocks differ by almost 2^32 µs, so that delays wrap around.
	const clocks = math.MaxUint32 - 20_000
	var h delayHistory
	for i, c := range []struct{ delay, want int }{
		{10_000, 0}, {40_000, 0}, {50_000, 0}, {60_000, 30_000}, {45_000, 35_000}, {5_000, 0}, {90_000, 0}, {80_000, 0}, {85_000, 75_000},
	} {
		var delay uint32 = clocks
		delay += uint32(c.delay)
		h.add(time.Duration(i)*time.Millisecond, delay)
		if got := h.delay(); got != c.want {
			t.Errorf("sample %d: %d µs, not %d", i, got, c.want)
		}
	}
}

func TestNothingIsQueuedBeforeAnythingWasMeasured(t *testing.T) {
	var h delayHistory
	if h.delay() != 0 {
		t.Errorf("%d µs", h.delay())
	}
}

// A path that became longer is known as such after 13 minutes, unless the queue may have been our own all the time.
func TestBaseDelayIsForgottenAfterItsMinutes(t *testing.T) {
	for _, standing := range []bool{false, true} {
		var h delayHistory
		h.add(0, 10_000)
		forgotten := 0
		for minute := 1; minute <= 30 && forgotten == 0; minute++ {
			for s := range 60 {
				h.standing = standing
				h.add(time.Duration(minute)*time.Minute+time.Duration(s)*time.Second, 60_000)
			}
			if h.base == 60_000 {
				forgotten = minute
			}
		}
		if want := map[bool]int{false: baseMinutes, true: 0}[standing]; forgotten != want {
			t.Errorf("own queue %v: forgotten after %d minutes, not %d", standing, forgotten, want)
		}
	}
}

// The peer's clock runs 50 ppm slower than ours: what it sends seems to take 3 ms longer each minute, and what we send 3 ms
// less. The other way round too.
func TestDriftOfClocksIsTakenOut(t *testing.T) {
	for _, ppm := range []int{50, -50} {
		c := newCongestion()
		const queue = 80_000
		worst := 0
		for s := range 3600 {
			now := time.Duration(s) * time.Second
			drift := uint32(s * ppm)
			c.hear(now, 1_000_000+drift)
			d := uint32(2_000_000 + queue)
			if s < 3 {
				d -= queue
			}
			c.ours.standing = true
			c.ours.add(now, d-drift)
			if s > 120 {
				worst = max(worst, c.ours.delay()-queue, queue-c.ours.delay())
			}
		}
		if worst > 10_000 {
			t.Errorf("%d ppm: the queue seems to be up to %d µs off", ppm, worst)
		}
	}
}

// A queue on the way to us comes and goes faster than clocks drift.
func TestQueueOfThePeerIsNoDrift(t *testing.T) {
	c := newCongestion()
	c.ours.add(0, 1_000_000)
	for s := range 600 {
		d := uint32(2_000_000)
		if s/60%2 == 1 {
			d += 100_000
		}
		c.hear(time.Duration(s)*time.Second, d)
	}
	if c.ours.base != 1_000_000 {
		t.Errorf("our base delay moved to %d", c.ours.base)
	}
}
