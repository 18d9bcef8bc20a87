package utp

import (
	"math"
	"time"
)

const dupThreshold = 3 // packets that must have overtaken one before it counts as lost

// progress is what one acknowledgement brought.
type progress struct {
	bytes  int           // newly acknowledged
	rtt    time.Duration // of a packet that was sent once; 0: none
	newest time.Duration // when the last sent of these packets was sent
}

// acknowledge takes the acknowledgement of a packet, which is plausible.
func (c *core) acknowledge(now time.Duration, p *packet) {
	s := &c.send
	count := int(int16(p.ack - (s.una - 1)))
	if count < 0 {
		return // overtaken by a later one
	}

	var got progress
	flight := s.flight
	for range count {
		c.settle(now, s.una, &got)
		s.advance()
	}
	opened := int(min(p.window, largestWindow))
	duplicate := count == 0 && p.typ == stState && opened == s.window && s.outstanding() > 0
	c.takeWindow(opened)
	fresh := c.takeSACK(now, p, &got)
	if got.rtt > 0 {
		c.rtt.sample(got.rtt)
	}
	if got.bytes > 0 || count > 0 || fresh {
		s.newest = max(s.newest, got.newest)
		s.dupAcks = 0
		c.rtt.backoff = 0
		c.timers.rto = now + c.rtt.rto()
		c.timers.progress = now
		c.measure(now, p.timestampDiff, got.rtt)
		if c.congestion.acked(got.bytes, flight, c.longest(), c.rtt.least) {
			s.cutAt = s.next
		}
		if int16(s.una-s.roundAt) >= 0 {
			s.roundAt = s.next
			c.congestion.round(flight, c.longest(), c.rtt.least)
		}
	} else if duplicate && s.sacks == 0 {
		if s.dupAcks++; s.dupAcks == dupThreshold && s.rec(s.una).tries == 1 {
			c.lose(now, s.una)
		}
	}
	if s.sacks > 0 && (fresh || count > 0) {
		c.findLost(now)
	}
}

// settle notes that a packet arrived.
func (c *core) settle(now time.Duration, q uint16, got *progress) {
	r := c.send.rec(q)
	if r.flags&recSacked != 0 {
		return
	}
	got.bytes += c.send.arrived(q)
	c.mtu.arrived(now, q)
	if r.tries == 1 && r.sent >= got.newest {
		got.rtt = now - r.sent
	}
	if r.tries == 1 && int(r.size) >= c.mtu.payload() {
		c.mtu.carried = max(c.mtu.carried, r.sent)
	}
	if r.tries == 1 || now-r.sent >= c.rtt.least {
		got.newest = max(got.newest, r.sent)
	}
}

// takeSACK notes what the selective acknowledgement says, and reports whether it said anything new.
func (c *core) takeSACK(now time.Duration, p *packet, got *progress) bool {
	s := &c.send
	fresh := false
	eachSACKed(p.sack, p.ack, func(q uint16) bool {
		if int(q-s.una) >= s.outstanding() {
			return int16(q-s.una) < 0
		}
		r := s.rec(q)
		if r.flags&recSacked != 0 {
			return true
		}
		c.settle(now, q, got)
		r.flags |= recSacked
		if s.sacks == 0 || int16(q-s.highest) > 0 {
			s.highest = q
		}
		s.sacks++
		fresh = true
		return true
	})
	return fresh
}

// findLost looks for packets that at least three later ones have overtaken. One that was sent again is lost again when a
// packet sent a good while after it has arrived (RFC 8985).
func (c *core) findLost(now time.Duration) {
	s := &c.send
	overtakers, enough := 0, dupThreshold
	if n := s.outstanding(); n <= dupThreshold && s.pending() == 0 {
		enough = n - 1 // RFC 5827: no more can come
	}
	patience := max(c.rtt.smoothed/4, time.Millisecond)
	for q := s.highest; int16(q-s.una) >= 0; q-- {
		r := s.rec(q)
		switch {
		case r.flags&recSacked != 0:
			overtakers++
		case r.flags&recLost != 0:
		case r.tries == 1 && overtakers >= enough, r.tries > 1 && r.sent+patience < s.newest:
			c.lose(now, q)
		}
	}
}

// lose takes a packet for lost and makes the window smaller, but for a lost probe and not twice for what was under way
// at the same time.
func (c *core) lose(now time.Duration, q uint16) {
	s := &c.send
	first := s.rec(q).tries == 1
	s.markLost(q)
	if c.mtu.lost(now, q) {
		return
	}
	if c.tooNarrow(q) {
		c.narrowed(now)
	}
	if !first || int16(q-s.cutAt) >= 0 {
		if c.congestion.lost(now, c.longest()) {
			s.cutAt = s.next
		}
	}
}

// timedOut takes everything under way for lost.
func (c *core) timedOut(now time.Duration) {
	s := &c.send
	first := s.una
	if c.mtu.probing != 0 && c.mtu.seq == first {
		s.markLost(first) // it says nothing about the others
		c.mtu.lost(now, first)
		c.timers.rto = now + c.rtt.rto()
		return
	}
	if c.onlyFIN() {
		c.repeatFIN(now)
		return
	}
	for q := s.una; q != s.next; q++ {
		c.mtu.lost(now, q)
		s.markLost(q)
	}
	if c.tooNarrow(first) {
		c.narrowed(now)
	}
	quiet := c.timers.progress
	if s.noRoom(first) {
		quiet = c.timers.heard // it need not acknowledge anything
	}
	c.timeout++
	if c.rtt.backoff >= deadTries && now-quiet >= deadAfter {
		c.fail(errTimeout)
		return
	}
	if !s.noRoom(first) {
		c.congestion.timedOut(now, c.longest(), c.rtt.backoff == 0)
	}

	s.cutAt = s.next
	s.dupAcks = 0
	c.rtt.backoff++
	c.timers.rto = now + c.rtt.rto()
}

// measure takes the delay of what we sent, as the peer measured it, and the round trip that it was part of; 0: unknown.
func (c *core) measure(now time.Duration, delay uint32, rtt time.Duration) {
	if delay == 0 || delay == math.MaxInt32 {
		return // µTorrent says the latter before it has measured anything
	}
	ours := &c.congestion.ours
	ours.add(now, delay)
	// Queueing cannot take longer than the whole round trip: where it seems to, the clocks have drifted apart.
	if over := ours.delay() - int(rtt/time.Microsecond); rtt > 0 && over > 0 {
		ours.shift(int32(over))
	}
}
