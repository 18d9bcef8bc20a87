package utp

import "time"

const (
	baseMinutes  = 13 // libutp's
	recentDelays = 3
	mostDrift    = 6000 // µs a minute by which clocks may drift apart: 100 ppm
)

// delayHistory turns one-way delays between two clocks that do not agree into queueing delay: what exceeds the least
// seen in the last minutes. All differences wrap around.
type delayHistory struct {
	minima   [baseMinutes]uint32 // least of each minute, µs
	at       int                 // the minute under way
	since    time.Duration       // when it began
	minutes  int                 // that are over
	before   uint32              // least of the minute before
	base     uint32
	recent   [recentDelays]uint32 // queueing delays, µs
	samples  uint                 // taken so far
	standing bool                 // in this minute the queue may always have been our own
}

// less compares delays that wrap around.
func less(a, b uint32) bool { return int32(a-b) < 0 }

// add takes a delay in µs. When a minute ends, it returns by how much its least delay differs from that of the minute
// before.
func (h *delayHistory) add(now time.Duration, delay uint32) (moved int32) {
	if h.samples == 0 {
		for i := range h.minima {
			h.minima[i] = delay
		}
		h.base, h.since = delay, now
	}
	if now-h.since >= time.Minute {
		moved = h.turn(now, delay)
	}
	if less(delay, h.minima[h.at]) {
		h.minima[h.at] = delay
	}
	if less(delay, h.base) {
		h.base = delay
	}
	h.recent[h.samples%recentDelays] = delay - h.base
	h.samples++
	return moved
}

// turn begins a minute. The least delay of one in which the queue was our own all the time is not that of the path:
// history must not forget the path for it.
func (h *delayHistory) turn(now time.Duration, delay uint32) (moved int32) {
	least := h.minima[h.at]
	if h.minutes > 0 {
		moved = int32(least - h.before)
	}
	if h.standing {
		h.minima[h.at] = h.base
	}
	h.before, h.since, h.standing = least, now, false
	h.minutes++
	h.at = (h.at + 1) % baseMinutes
	h.minima[h.at] = delay
	h.base = delay
	for _, m := range h.minima {
		if less(m, h.base) {
			h.base = m
		}
	}
	return moved
}

// delay is the least of the last three queueing delays in µs; 0 while there are none.
func (h *delayHistory) delay() int {
	n := min(h.samples, recentDelays)
	if n == 0 {
		return 0
	}
	least := h.recent[0]
	for _, d := range h.recent[1:n] {
		least = min(least, d)
	}
	return int(min(least, 1<<30))
}

// shift moves what is known of the past by d µs, because one of the clocks drifts.
func (h *delayHistory) shift(d int32) {
	for i := range h.minima {
		h.minima[i] += uint32(d)
	}
	h.base += uint32(d)
}
