package session

import "time"

// What a device may send: one report a second for each torrent would be more
// than any has to say. Beyond that it is not read, and has to wait.
const (
	frameInterval = 2 * time.Millisecond // between two frames in the long run
	frameBurst    = 2000                 // frames at once
)

// allowance is when the frames received so far would have come, one every
// frameInterval. It has no I/O.
type allowance struct{ used time.Time }

// take counts one frame and returns how long to wait before the next is read.
func (a *allowance) take(now time.Time) time.Duration {
	if a.used.Before(now) {
		a.used = now
	}
	a.used = a.used.Add(frameInterval)
	return max(0, a.used.Sub(now)-frameBurst*frameInterval)
}
