package utp

import "time"

const (
	baseMinutes  = 13 // libutp's
	recentDelays = 3
)

// delayHistory turns one-way delays between two clocks that do not agree into queueing delay: what exceeds the least
// seen in the last minutes. All differences wrap around.
type delayHistory struct {
	minima  [baseMinutes]uint32 // least of each minute, µs
	at      int                 // the minute under way
	since   time.Duration       // when it began
	base    uint32
	recent  [recentDelays]uint32 // queueing delays, µs
	samples uint                 // taken so far
}

// less compares delays that wrap around.
func less(a, b uint32) bool { return int32(a-b) < 0 }

// add takes a delay in µs.
func (h *delayHistory) add(now time.Duration, delay uint32) {
	if h.samples == 0 {
		for i := range h.minima {
			h.minima[i] = delay
		}
		h.base, h.since = delay, now
	}
	if less(delay, h.minima[h.at]) {
		h.minima[h.at] = delay
	}
	if less(delay, h.base) {
		h.base = delay
	}
	if now-h.since >= time.Minute {
		h.since = now
		h.at = (h.at + 1) % baseMinutes
		h.minima[h.at] = delay
		h.base = delay
		for _, m := range h.minima {
			if less(m, h.base) {
				h.base = m
			}
		}
	}
	h.recent[h.samples%recentDelays] = delay - h.base
	h.samples++
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

// shift moves the base by d µs, because one of the clocks drifts.
func (h *delayHistory) shift(d uint32) {
	for i := range h.minima {
		h.minima[i] += d
	}
	h.base += d
}
