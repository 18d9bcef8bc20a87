package utp

import "time"

// LEDBAT (RFC 6817) with the numbers of libutp and libtorrent.
const (
	targetDelay    = 100_000 // µs of queueing that a connection aims to cause
	wellAbove      = targetDelay * 5 / 4
	gainPerRTT     = 3000  // bytes by which the window grows in a round trip without any queueing
	initialWindow  = 14600 // bytes, RFC 6928
	endOfSlowStart = targetDelay * 6 / 10
	aimRounds      = 3
	standingFlight = 8 // packets: a flow with fewer in flight causes no queue to speak of
	cutInterval    = 100 * time.Millisecond
	largestWindow  = 64 << 20 // bytes; far above what sequence numbers allow in flight
)

// congestion decides how many bytes may be in flight. The window has 16 binary places, since an acknowledgement of one
// packet moves it by less than a byte when the window is large.
type congestion struct {
	window    int64 // bytes << 16
	threshold int   // bytes, at which slow start ends; 0: not known
	slowStart bool
	lastCut   time.Duration // when the window was halved last
	wasCut    bool
	ours      delayHistory // of what we send, as the peer measures it
	theirs    delayHistory // of what the peer sends, as we measure it
	rounds    int          // round trips until the window is set once more after slow start; 0: it was
	queued    int          // µs of queueing at the last acknowledgement
}

func newCongestion() congestion {
	return congestion{window: initialWindow << 16, slowStart: true}
}

// bytes is the window.
func (c *congestion) bytes() int { return int(c.window >> 16) }

// acked takes an acknowledgement of n bytes out of flight bytes that were under way before it, over a path whose least
// round trip is given. It reports whether that made the window smaller for good, as a loss does.
func (c *congestion) acked(n, flight, mss int, least time.Duration) (cut bool) {
	if n <= 0 {
		return false
	}
	c.queued = c.ours.delay()
	c.ours.standing = c.ours.standing || flight > standingFlight*mss
	if c.slowStart && c.queued >= endOfSlowStart {
		c.endSlowStart(mss, least)
		return true
	}
	saturated := flight+mss > c.bytes()
	gain := c.gain(n, flight)
	switch {
	case gain > 0 && !saturated:
		return false // what is not used proves nothing about the path
	case c.slowStart:
		n = min(n, flight) // more was held to be lost: a break of the path, say, and no measure of this window
		if c.threshold != 0 && c.bytes()+n > c.threshold {
			c.slowStart = false
		} else {
			gain = max(gain, int64(n)<<16)
		}
	}
	c.window = min(max(c.window+gain, int64(mss)<<16), largestWindow<<16)
	return false
}

// endSlowStart is called when a queue has formed. Its delay is that of packets sent a round trip ago, and since then the
// window has doubled, unless it is still the first. What it was then goes with that delay. Without this it would be twice
// what it should be, and the linear gain would take minutes to take that back on a fast line.
func (c *congestion) endSlowStart(mss int, least time.Duration) {
	c.slowStart = false
	before := c.window
	if c.bytes() > initialWindow {
		c.window /= 2
	}
	c.aim(least)
	c.window = max(min(c.window, before), int64(mss)<<16)
	c.threshold, c.rounds = c.bytes(), aimRounds
}

// aim sets the window to what makes the queue almost as long as it should be: window by round trip is the rate of the path.
func (c *congestion) aim(least time.Duration) {
	base := int64(least / time.Microsecond)
	c.window = c.window / (base + int64(c.queued)) * (base + targetDelay*95/100)
}

// round is called once in a round trip. When slow start has ended and the queue has settled since, it aims once more.
func (c *congestion) round(flight, mss int, least time.Duration) {
	if c.rounds == 0 {
		return
	}
	if c.rounds--; c.rounds == 0 && c.queued > 0 && c.queued < targetDelay && flight+mss > c.bytes() {
		before := c.window
		c.aim(least)
		c.window = max(min(c.window, before*5/4), before)
	}
}

// gain is that of RFC 6817: gainPerRTT in a round trip at no queueing, nothing at the target, negative above it. That
// gives way slowly where lines are fast, so well above the target the window also shrinks by a part of itself: at twice
// the target by a tenth in a round trip.
func (c *congestion) gain(n, flight int) int64 {
	share := int64(n) << 16 / int64(max(flight, n, 1))
	off := max(int64(targetDelay-c.queued), -4*targetDelay)
	gain := share * off / targetDelay * gainPerRTT
	if over := int64(c.queued - wellAbove); over > 0 {
		gain = min(gain, -int64(n)<<16*min(over, targetDelay)/(8*targetDelay))
	}
	return gain
}

// lost halves the window, at most once in 100 ms, and reports whether it did.
func (c *congestion) lost(now time.Duration, mss int) bool {
	if c.wasCut && now-c.lastCut < cutInterval {
		return false
	}
	c.lastCut, c.wasCut, c.slowStart, c.rounds = now, true, false, 0
	c.window = max(c.window/2, int64(mss)<<16)
	c.threshold = c.bytes()
	return true
}

// timedOut starts again from one packet; first says that this was the first timeout in a row.
func (c *congestion) timedOut(now time.Duration, mss int, first bool) {
	if first {
		c.threshold = max(c.bytes()/2, 2*mss)
	}
	c.window, c.slowStart = int64(mss)<<16, true
	c.lastCut, c.wasCut = now, true
}

// rested is to be called before sending again after a pause: what the path carried then is known no more, but half of it
// is tried.
func (c *congestion) rested() {
	if half := max(c.window/2, initialWindow<<16); half < c.window {
		c.threshold, c.window, c.slowStart = c.bytes(), half, true
	}
}

// hear takes the delay of what the peer sends. Where its least value differs a little from that of the minute before,
// the peer's clock drifts from ours, and what it measures of our packets moves the other way.
func (c *congestion) hear(now time.Duration, delay uint32) {
	if moved := c.theirs.add(now, delay); -mostDrift <= moved && moved <= mostDrift {
		c.ours.shift(-moved)
	}
}
