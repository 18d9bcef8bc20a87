package relay

import "time"

// burst is how long a device, or a user, that was quiet may go unheld: what it moves in any time is no more than its rate over that
// time and this.
const burst = 250 * time.Millisecond

// bucket holds one device, or one user, to its rate: bytes that would come too soon wait, and those who ask take turns. It has no I/O.
type bucket struct {
	rate int64     // bytes a second, more than 0
	used time.Time // when what was taken so far would have come at an even pace
}

// take counts n bytes and returns how long they have to wait.
func (b *bucket) take(now time.Time, n int) time.Duration {
	if full := now.Add(-burst); b.used.Before(full) {
		b.used = full
	}
	b.used = b.used.Add(time.Duration(float64(n) / float64(b.rate) * float64(time.Second)))
	return max(0, b.used.Sub(now))
}

// full reports whether the bucket is as a new one.
func (b *bucket) full(now time.Time) bool { return !b.used.After(now.Add(-burst)) }
