package utp

import "time"

// Bounds of the retransmission timeout.
const (
	firstRTO   = time.Second            // before a round trip was measured, RFC 6298 (2.1)
	leastRTO   = 500 * time.Millisecond // as libutp and libtorrent have it
	backoffCap = 6 * time.Second        // doubling ends here, so that a path which comes back is soon used again
)

// rttState measures round trips and derives the retransmission timeout (RFC 6298).
type rttState struct {
	smoothed time.Duration // zero: none measured
	variance time.Duration
	least    time.Duration
	latest   time.Duration
	backoff  uint // timeouts in a row
}

// sample takes the time between a packet that was sent once and its acknowledgement.
func (r *rttState) sample(d time.Duration) {
	d = max(d, time.Microsecond)
	r.latest = d
	if r.smoothed == 0 {
		r.smoothed, r.variance, r.least = d, d/2, d
		return
	}
	r.least = min(r.least, d)
	r.variance += ((r.smoothed - d).Abs() - r.variance) / 4
	r.smoothed += (d - r.smoothed) / 8
}

// rto is the time after which packets without an acknowledgement count as lost, with the back-off of timeouts so far.
func (r *rttState) rto() time.Duration {
	d := firstRTO
	if r.smoothed != 0 {
		d = max(leastRTO, r.smoothed+4*r.variance)
	}
	return min(d<<min(r.backoff, 16), max(d, backoffCap))
}
