package broker

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"time"
)

const (
	enough   = 4 // paths of a device for a torrent: then it needs a relay to who has all, if none of them leads to such a one
	maxWants = 8 // relays of a torrent that a device waits for at once: those to who has most
)

// supply is where a device may get a torrent from.
type supply struct {
	paths int   // that serve it
	whole bool  // one of them leads to who has all
	most  int64 // bytes that one has to whom the device has a path or a relay
	from  id    // that one
	next  int64 // the most that any other such one has
}

func (s *supply) add(who id, have int64) {
	switch {
	case have > s.most:
		s.next, s.most, s.from = s.most, have, who
	case have > s.next:
		s.next = have
	}
}

// without is the most that any but that one has.
func (s *supply) without(who id) int64 {
	if s.from == who {
		return s.next
	}
	return s.most
}

// supply finds out where all devices may get their torrents from.
func (c *core) supply() {
	for _, d := range c.devices {
		for _, s := range d.shares {
			s.supply = supply{}
		}
	}
	for _, p := range c.pairs {
		if p.attempt == nil || !p.attempt.path {
			continue
		}
		a, b := c.devices[p.a], c.devices[p.b]
		for t, s := range a.shares {
			if o := b.shares[t]; o != nil && p.attempt.serves(t) {
				s.path(p.b, o)
				o.path(p.a, s)
			}
		}
	}
	for w, r := range c.relays.known {
		if s, o := c.shares(w); r.on && s != nil && o != nil {
			s.supply.add(w.b, o.have)
			o.supply.add(w.a, s.have)
		}
	}
}

func (s *share) path(to id, o *share) {
	s.supply.paths++
	s.supply.whole = s.supply.whole || !o.lacks
	s.supply.add(to, o.have)
}

// shares are what the two hold of the torrent; nil: nothing.
func (c *core) shares(w want) (s, o *share) {
	if a, b := c.devices[w.a], c.devices[w.b]; a != nil && b != nil {
		s, o = a.shares[w.torrent], b.shares[w.torrent]
	}
	return s, o
}

// wants reports whether a device should have a relay to one with that share.
func (s *share) wants(o *share) bool {
	return s.lacks && o.have > 0 && (s.supply.paths < enough || !o.lacks && !s.supply.whole)
}

// gains is how much more that one has than the device and any other to whom that has a path or a relay. It may gain more, of which
// nobody knows: once two that are relayed have given each other all, this is zero.
func (s *share) gains(from id, o *share) int64 {
	if !s.lacks {
		return 0
	}
	return max(0, o.have-max(s.have, s.supply.without(from)))
}

// adds is what a relay adds for the device for which it adds more.
func (c *core) adds(w want) int64 {
	s, o := c.shares(w)
	if s == nil || o == nil {
		return 0
	}
	return max(s.gains(w.b, o), o.gains(w.a, s))
}

// needs reports whether a relay would serve.
func (c *core) needs(now time.Time, w want) bool {
	s, o := c.shares(w)
	if s == nil || o == nil || !s.wants(o) && !o.wants(s) {
		return false
	}
	a, b := c.devices[w.a], c.devices[w.b]
	return c.apart(now, a, b) && !c.covered(a, b, w.torrent)
}

// holder is a device with its share of a torrent.
type holder struct {
	*device
	*share
}

// contested returns the torrents that several hold, of whom one lacks some, in the order of their names.
func (c *core) contested() []torrent {
	var list []torrent
	for t, holders := range c.holders {
		if len(holders) < 2 {
			continue
		}
		for _, d := range holders {
			if d.shares[t].lacks {
				list = append(list, t)
				break
			}
		}
	}
	slices.SortFunc(list, func(t, u torrent) int { return bytes.Compare(t[:], u[:]) })
	return list
}

// ranked returns who holds a torrent, those with most first.
func (c *core) ranked(t torrent) []holder {
	list := make([]holder, 0, len(c.holders[t]))
	for d := range maps.Values(c.holders[t]) {
		list = append(list, holder{d, d.shares[t]})
	}
	slices.SortFunc(list, func(x, y holder) int { return cmp.Or(-cmp.Compare(x.have, y.have), cmp.Compare(x.id, y.id)) })
	return list
}

// seek marks what is wanted: of each device the relays to those who have most, where there is a place or can be.
func (c *core) seek(now time.Time) {
	for _, t := range c.contested() {
		holders := c.ranked(t)
		for _, x := range holders {
			if x.lacks && x.reached() {
				c.seekFor(now, x, holders, t)
			}
		}
	}
}

func (c *core) seekFor(now time.Time, x holder, holders []holder, t torrent) {
	sought := 0
	for _, y := range holders {
		if y.have <= 0 || sought == maxWants || x.relays.seeks >= maxPairs {
			return
		}
		if y.device == x.device || !x.wants(y.share) {
			continue
		}
		w := want{keyOf(x.id, y.id), t}
		r := c.relays.known[w]
		adds := max(x.gains(y.id, y.share), y.gains(x.id, x.share))
		if r != nil && !r.on && r.idle {
			adds = 0 // it carried nothing when it could
		}
		if y.relays.sought >= maxPairs || !c.place(c.bid(w.key, adds)) {
			continue
		}
		if r != nil && (r.on || r.wanted) || !c.apart(now, x.device, y.device) || c.covered(x.device, y.device, t) {
			continue
		}
		if r == nil {
			r = &relay{want: w, since: now}
			c.relays.known[w] = r
		}
		r.wanted, r.adds, r.have = true, adds, max(x.have, y.have)
		if now.Before(r.next) {
			continue // it keeps nobody else from being sought
		}
		sought++
		x.relays.seeks++
		y.relays.sought++
	}
}

// reached reports whether the device can be, as far as is known.
func (d *device) reached() bool { return d.online && d.line.Observed.IsValid() }

// apart reports whether the two are known to have no way to each other, or could have made one by now. It is so at once where
// there is none: no attempt of before the core began matters then.
func (c *core) apart(now time.Time, a, b *device) bool {
	switch {
	case !a.reached() || !b.reached():
		return false
	case !a.line.UDP || !b.line.UDP:
		return true
	case !a.informed(now) || !b.informed(now):
		return false
	}
	return !now.Before(a.from) && !now.Before(b.from) || hopeless(a, b)
}

// covered reports whether the two are connected for the torrent, or have a path that they may use for it.
func (c *core) covered(a, b *device, t torrent) bool {
	if p := c.pairs[keyOf(a.id, b.id)]; p != nil && p.attempt != nil && p.attempt.serves(t) {
		return true
	}
	return c.linked(a, b, t)
}

// serves reports whether there is a path that may be used for the torrent. What one of before the core began is for is not known.
func (a *attempt) serves(t torrent) bool {
	return a.path && (len(a.torrents) == 0 || slices.Contains(a.torrents, t))
}
