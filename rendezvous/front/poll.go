package front

import (
	"slices"
	"time"
)

// poll returns what is to be done now, how many handshakes are wanted, and when to poll again if nothing happens until then.
func (c *core) poll(now time.Time) (out steps, handshakes int, wake time.Time) {
	wake = now.Add(time.Hour)
	c.pollFetch(now)
	if c.fetch != nil && len(c.fetch.conns) > 0 {
		wake = now.Add(tick)
	}
	for _, k := range slices.Clone(c.links) {
		wake = sooner(wake, c.overstayed(now, k))
	}
	wake = sooner(wake, c.exchange(now))
	wake = sooner(wake, c.trickle(now))
	handshakes, next := c.book.survey(now, c.need(now))
	if !next.IsZero() {
		wake = sooner(wake, next)
	}
	out, c.out = c.out, steps{}
	return out, handshakes, wake
}

// overstayed drops a link that has been there for too long, or returns when to come back.
func (c *core) overstayed(now time.Time, k *link) time.Time {
	end, why := k.since.Add(helloPatience), errNoHello
	if k.told {
		if k.home == nil || !k.home.untried() || !k.guest || c.fetch != nil || k.serving.waiting > 0 {
			return now.Add(time.Hour)
		}
		end, why = k.since.Add(guestTurn), errInTurn
	}
	if end.After(now) {
		return end
	}
	c.drop(now, k, why, false)
	return now.Add(time.Hour)
}

// pollFetch lets the fetch go on, and ends it when it is done.
func (c *core) pollFetch(now time.Time) {
	if c.fetch == nil {
		return
	}
	did := c.fetch.poll(now, c.places() <= 0 && c.book.waiting(now))
	c.out.asks = append(c.out.asks, did.asks...)
	c.out.notes = append(c.out.notes, did.notes...)
	for _, d := range did.drops {
		if k := c.find(d.id); k != nil {
			c.drop(now, k, d.why, d.forEver)
		}
	}
	if c.fetch.info == nil {
		return
	}
	c.out.learned = c.fetch.info
	c.fetch = nil
	for _, k := range slices.Clone(c.links) {
		if !k.guest && k.told && k.entry.noPEX {
			c.drop(now, k, errNoUse, false)
		}
	}
}

// exchange tells peers of others (BEP 11), and returns when to come back.
func (c *core) exchange(now time.Time) (wake time.Time) {
	wake = now.Add(time.Hour)
	if c.private {
		return wake
	}
	var reachable []*entry
	for _, k := range c.links {
		switch {
		case k.ext.PexID == 0 || k.pex.seen == c.book.version:
			continue
		case k.pex.next.After(now):
			wake = sooner(wake, k.pex.next)
			continue
		case reachable == nil:
			reachable = c.book.reachable(now)
		}
		k.pex.seen = c.book.version
		if m, ok := k.pex.message(now, reachable, k.home); ok {
			c.out.pexes = append(c.out.pexes, pexStep{k.id, k.ext.PexID, m})
		}
		if k.pex.seen != c.book.version {
			wake = sooner(wake, k.pex.next)
		}
	}
	return wake
}

// trickle tells devices that are short of peers of an address that is not verified, and returns when to come back.
func (c *core) trickle(now time.Time) (wake time.Time) {
	if !c.hungry || c.book.len() == 0 {
		return now.Add(time.Hour)
	}
	if next := later(c.trickled.Add(trickleEvery), c.verified.Add(trickleQuiet)); next.After(now) {
		return next
	}
	if e := c.book.offer(now); e != nil {
		c.trickled = now
		c.out.unverified = e.addr
	}
	return now.Add(trickleEvery)
}
