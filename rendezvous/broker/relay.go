package broker

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"simplebit/nat"
)

const (
	relayedPath = "relayed" // control.Peer.Path of a connection that the surrogate relays

	relayAfter   = 1500 * time.Millisecond // of an attempt without a path, or for a connection over TCP to come
	relayLatest  = 1900 * time.Millisecond // after both could make one, whether an attempt has begun or not
	relayRest    = 5 * time.Second         // after a relay that ended while it was needed, twice as long each time
	maxRelayRest = 5 * time.Minute
	relayStay    = 20 * time.Second // that none is ended for the sake of another one
	relayIdle    = time.Minute      // in which one that is of use carries relayLeast; and the rest of one that was not
	relayLeast   = 16 << 10         // bytes: a block
)

// want is two devices that one torrent is to be relayed between.
type want struct {
	key
	torrent torrent
}

func (w want) compare(v want) int {
	return cmp.Or(cmp.Compare(w.a, v.a), cmp.Compare(w.b, v.b), bytes.Compare(w.torrent[:], v.torrent[:]))
}

// relays is what is relayed, and what may be soon.
type relays struct {
	known      map[want]*relay // those that are on, and those that are wanted
	most, each int             // at once, and of them of a device
	carried    func(want) int64
	all        tally
	pairs      map[key]int // that are on, of the devices that have any
}

// limit takes what Config says.
func (r *relays) limit(c Config) {
	r.most, r.each = c.Relays, c.DeviceRelays
	if r.carried = nil; c.Carried != nil {
		r.carried = func(w want) int64 { return c.Carried(w.a, w.b, w.torrent) }
	}
}

// relay is a connection of two devices that have no path, or the wait for it.
type relay struct {
	want
	since    time.Time // when it was wanted first
	wanted   bool      // by the last look
	adds     int64     // bytes that a device gets to, which it had not without, as far as is known
	have     int64     // what is there for who lacks some
	on       bool      // it was ordered, and has not ended
	ending   bool      // and is to end
	further  bool      // the two have another one, which adds more
	idle     bool      // it carried next to nothing of late, or before it ended
	carried  int64     // when it was looked at
	looked   time.Time
	began    time.Time
	brief    int       // that ended while they were needed, and did not last, in a row
	next     time.Time // none is ordered before
	anew     time.Time // when a change of network let it be ordered before
	networks [2]trait  // when the last one was ordered
	why      error     // the last one ended; nil: a device ended it, or there was none
}

// compare orders those that add most first.
func (r *relay) compare(s *relay) int {
	return cmp.Or(-cmp.Compare(r.adds, s.adds), -cmp.Compare(r.have, s.have), r.want.compare(s.want))
}

// less reports whether another one is ended rather than this.
func (r *relay) less(s *relay) bool {
	switch {
	case r.idle != s.idle:
		return s.idle
	case r.further != s.further:
		return s.further
	}
	return r.compare(s) < 0
}

// bid is for a place.
type bid struct {
	key
	adds    int64
	further bool // the two are relayed for another torrent
}

// outweighs reports whether it may have the place of a relay. Where it adds twice as much: no two can take turns. What is idle rests
// for as long as it was, and the further ones of two devices come after the first of others.
func (b bid) outweighs(r *relay) bool {
	switch {
	case b.adds <= 0:
		return false
	case r.idle || r.further && !b.further:
		return true
	case b.further && !r.further && b.key != r.key:
		return false
	}
	return b.adds/2 >= r.adds
}

// bid is what those two offer.
func (c *core) bid(k key, adds int64) bid { return bid{k, adds, c.relays.pairs[k] > 0} }

// look notes whether a relay is of use, by what it carries.
func (r *relay) look(now time.Time, carried func(want) int64) {
	if carried == nil || now.Sub(r.looked) < relayIdle {
		return
	}
	n := carried(r.want)
	r.idle, r.carried, r.looked = n-r.carried < relayLeast, n, now
}

// tally is the relays of a device, or all.
type tally struct {
	on     int
	ending bool   // one of them is to end
	least  *relay // which adds the least, of those that may be ended; nil: none
	seeks  int    // that are wanted for what the device lacks
	sought int    // that are wanted for what it has
}

// takes reports whether there is a place for one that adds so much, or can be.
func (t *tally) takes(most int, b bid) bool {
	return t.on < most || t.ending || t.least != nil && b.outweighs(t.least)
}

// relay returns what is to be relayed from now on, and what no longer. It comes after poll, so that attempts that can begin have
// begun.
func (c *core) relay(now time.Time) (orders, ends []want) {
	if c.relays.most == 0 {
		return nil, nil
	}
	c.supply()
	c.tally(now)
	c.seek(now)
	rests := map[id]int{}
	var due []*relay
	for w, r := range c.relays.known {
		switch {
		case r.on:
		case r.wanted:
			if c.renew(now, w, r); !now.Before(c.relayAt(w, r)) {
				due = append(due, r)
			}
		case (now.Before(r.next) || r.idle) && rests[w.a] < maxPairs && rests[w.b] < maxPairs && c.needs(now, w):
			rests[w.a]++
			rests[w.b]++
		default:
			delete(c.relays.known, w)
		}
	}
	slices.SortFunc(due, (*relay).compare)
	// Everybody has one before anybody has two, and all pairs have one before any has two.
	for n := 1; n <= 2*c.relays.each; n++ {
		most, further := (n-1)%c.relays.each+1, n > c.relays.each
		for _, r := range due {
			a, b := c.devices[r.a], c.devices[r.b]
			if r.on || !further && c.relays.pairs[r.key] > 0 || a.relays.on >= most || b.relays.on >= most || c.relays.all.on >= c.relays.most {
				continue
			}
			r.on, r.began, r.networks = true, now, [2]trait{a.trait(), b.trait()}
			r.idle, r.carried, r.looked = false, 0, now
			c.relays.pairs[r.key]++
			for _, t := range c.tallies(r.want) {
				t.on++
			}
			orders = append(orders, r.want)
		}
	}
	for _, r := range due {
		if !r.on && c.place(c.bid(r.key, r.adds)) {
			ends = append(ends, c.makePlace(r)...)
		}
	}
	return orders, ends
}

// tally counts what is on.
func (c *core) tally(now time.Time) {
	c.relays.all, c.relays.pairs = tally{}, map[key]int{}
	first := map[key]*relay{}
	for _, d := range c.devices {
		d.relays = tally{}
	}
	for w, r := range c.relays.known {
		if r.wanted = false; !r.on {
			continue
		}
		r.adds, r.further = c.adds(w), true
		r.look(now, c.relays.carried)
		c.relays.pairs[w.key]++
		if f := first[w.key]; f == nil || r.compare(f) < 0 {
			first[w.key] = r
		}
		for _, t := range c.tallies(w) {
			t.on++
			t.ending = t.ending || r.ending
		}
	}
	for _, r := range first {
		r.further = false
	}
	for w, r := range c.relays.known {
		if !r.on || now.Sub(r.began) < relayStay || !c.calm(w) {
			continue
		}
		for _, t := range c.tallies(w) {
			if t.least == nil || t.least.less(r) {
				t.least = r
			}
		}
	}
}

// tallies are those that a relay counts for: the devices' that are known, and that of all.
func (c *core) tallies(w want) []*tally {
	list := make([]*tally, 0, 3)
	for _, who := range []id{w.a, w.b} {
		if d := c.devices[who]; d != nil {
			list = append(list, &d.relays)
		}
	}
	return append(list, &c.relays.all)
}

// calm reports whether neither device is losing a relay: what the others add is not known before.
func (c *core) calm(w want) bool {
	a, b := c.devices[w.a], c.devices[w.b]
	return (a == nil || !a.relays.ending) && (b == nil || !b.relays.ending)
}

// place reports whether there is a place for a relay, or can be.
func (c *core) place(b bid) bool {
	r := &c.relays
	return c.devices[b.a].relays.takes(r.each, b) && c.devices[b.b].relays.takes(r.each, b) && r.all.takes(r.most, b)
}

// makePlace has those end that are in the way of one, which adds more. Another look follows when they have.
func (c *core) makePlace(r *relay) (ends []want) {
	full := func(t *tally, most int) {
		if t.on < most || t.ending || t.least == nil || !c.calm(t.least.want) {
			return
		}
		t.least.ending = true
		ends = append(ends, t.least.want)
		for _, o := range c.tallies(t.least.want) {
			o.ending = true
		}
	}
	full(&c.devices[r.a].relays, c.relays.each)
	full(&c.devices[r.b].relays, c.relays.each)
	full(&c.relays.all, c.relays.most)
	return ends
}

// renew lets a relay be ordered at once where a network has changed.
func (c *core) renew(now time.Time, w want, r *relay) {
	if !now.Before(r.next) || now.Before(r.anew.Add(anewEvery)) {
		return
	}
	if current := [2]trait{c.devices[w.a].trait(), c.devices[w.b].trait()}; r.networks != current {
		r.brief, r.next, r.anew, r.networks = 0, now, now, current
	}
}

// relayAt is when it may be ordered.
func (c *core) relayAt(w want, r *relay) time.Time {
	at := r.since
	switch a, b := c.devices[w.a], c.devices[w.b]; {
	case !hopeless(a, b):
		at = r.since.Add(relayLatest)
		if p := c.pairs[w.key]; p != nil && !p.begun.Before(r.since) && p.begun.Add(relayAfter).Before(at) {
			at = p.begun.Add(relayAfter)
		}
	case related(a, b) && (a.takesTCP() || b.takesTCP()):
		at = r.since.Add(relayAfter)
	}
	if at.Before(r.next) {
		return r.next
	}
	return at
}

// takesTCP reports whether the device has the public address that it is seen at for itself, and takes peers there over TCP, by its
// word. If front reaches it there, others are told of it as of any peer.
func (d *device) takesTCP() bool {
	return d.public && slices.ContainsFunc(d.network.Candidates, func(c nat.Candidate) bool {
		return c.Kind == nat.HostCandidate && c.TCP && c.Addr.Addr() == d.line.Observed.Addr()
	})
}

// relayed takes that a relay has ended.
func (c *core) relayed(now time.Time, w want, why error) {
	r := c.relays.known[w]
	if r == nil || !r.on {
		return
	}
	if now.Sub(r.began) >= lasting && !r.idle {
		r.brief = 0
	}
	r.on, r.why = false, why
	r.next = now.Add(min(relayRest<<min(r.brief, 10), maxRelayRest))
	switch {
	case r.ending && r.idle:
		r.next = now.Add(min(relayIdle<<min(r.brief, 10), maxRelayRest))
		r.brief++
	case r.ending:
		r.brief, r.next = 0, now.Add(relayRest)
	default:
		r.brief++
	}
	r.ending = false
}
