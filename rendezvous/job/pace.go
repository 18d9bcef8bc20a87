package job

import "time"

// Bounds of what a device's reports may have stored: a device that takes its word
// back all the time must not wear out the disk.
const (
	paceBurst = 5           // changes at once
	pacePause = time.Second // and one in each after these
)

// pace lets a few things happen at once, and then one in each pacePause. The zero
// value is ready for use.
type pace struct {
	full time.Time // when all that may happen at once may do so again
}

// take tells whether one more may happen now, and counts it if so.
func (p *pace) take(now time.Time) bool {
	if p.wait(now) > 0 {
		return false
	}
	if p.full.Before(now) {
		p.full = now
	}
	p.full = p.full.Add(pacePause)
	return true
}

// wait is how long it is until one more may happen.
func (p *pace) wait(now time.Time) time.Duration {
	return max(0, p.full.Add(-(paceBurst-1)*pacePause).Sub(now))
}
