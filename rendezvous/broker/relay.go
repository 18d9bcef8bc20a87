package broker

import (
	"bytes"
	"cmp"
	"slices"
	"time"
)

const (
	relayedPath = "relayed" // control.Peer.Path of a connection that the surrogate relays

	relayAfter   = 1500 * time.Millisecond // of an attempt without a path
	relayLatest  = 1900 * time.Millisecond // after both could make one, whether an attempt has begun or not
	relayRest    = 5 * time.Second         // after a relay that ended while it was needed, twice as long each time
	maxRelayRest = 5 * time.Minute
	relayStay    = 20 * time.Second // that none is ended for the sake of another one
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
	all        tally
}

// limit takes what Config says.
func (r *relays) limit(c Config) { r.most, r.each = c.Relays, c.DeviceRelays }

// relay is a connection of two devices that have no path, or the wait for it.
type relay struct {
	want
	since    time.Time // when it was wanted first
	wanted   bool      // by the last look
	adds     int64     // bytes that a device gets to, which it had not without, as far as is known
	have     int64     // what is there for who lacks some
	on       bool      // it was ordered, and has not ended
	ending   bool      // and is to end
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

// outweighs reports whether one that adds so much may have the place of another one. Twice as much: no two can take turns.
func outweighs(adds int64, r *relay) bool { return adds > 0 && adds/2 >= r.adds }

// tally is the relays of a device, or all.
type tally struct {
	on     int
	ending bool   // one of them is to end
	least  *relay // which adds the least, of those that may be ended; nil: none
	seeks  int    // that are wanted for what the device lacks
	sought int    // that are wanted for what it has
}

// takes reports whether there is a place for one that adds so much, or can be.
func (t *tally) takes(most int, adds int64) bool {
	return t.on < most || t.ending || t.least != nil && outweighs(adds, t.least)
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
		case now.Before(r.next) && rests[w.a] < maxPairs && rests[w.b] < maxPairs && c.needs(now, w):
			rests[w.a]++
			rests[w.b]++
		default:
			delete(c.relays.known, w)
		}
	}
	slices.SortFunc(due, (*relay).compare)
	// Everybody has one before anybody has two.
	for n := 1; n <= c.relays.each; n++ {
		for _, r := range due {
			if a, b := c.devices[r.a], c.devices[r.b]; !r.on && a.relays.on < n && b.relays.on < n && c.relays.all.on < c.relays.most {
				r.on, r.began, r.networks = true, now, [2]trait{a.trait(), b.trait()}
				for _, t := range c.tallies(r.want) {
					t.on++
				}
				orders = append(orders, r.want)
			}
		}
	}
	for _, r := range due {
		if !r.on && c.place(c.devices[r.a], c.devices[r.b], r.adds) {
			ends = append(ends, c.makePlace(r)...)
		}
	}
	return orders, ends
}

// tally counts what is on.
func (c *core) tally(now time.Time) {
	c.relays.all = tally{}
	for _, d := range c.devices {
		d.relays = tally{}
	}
	for w, r := range c.relays.known {
		if r.wanted = false; !r.on {
			continue
		}
		r.adds = c.adds(w)
		for _, t := range c.tallies(w) {
			t.on++
			t.ending = t.ending || r.ending
		}
	}
	for w, r := range c.relays.known {
		if !r.on || now.Sub(r.began) < relayStay || !c.calm(w) {
			continue
		}
		for _, t := range c.tallies(w) {
			if t.least == nil || r.compare(t.least) > 0 {
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

// place reports whether there is a place for a relay that adds so much, or can be.
func (c *core) place(a, b *device, adds int64) bool {
	r := &c.relays
	return a.relays.takes(r.each, adds) && b.relays.takes(r.each, adds) && r.all.takes(r.most, adds)
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
	if a, b := c.devices[w.a], c.devices[w.b]; !hopeless(a, b) {
		at = r.since.Add(relayLatest)
		if p := c.pairs[w.key]; p != nil && !p.begun.Before(r.since) && p.begun.Add(relayAfter).Before(at) {
			at = p.begun.Add(relayAfter)
		}
	}
	if at.Before(r.next) {
		return r.next
	}
	return at
}

// relayed takes that a relay has ended.
func (c *core) relayed(now time.Time, w want, why error) {
	r := c.relays.known[w]
	if r == nil || !r.on {
		return
	}
	if now.Sub(r.began) >= lasting {
		r.brief = 0
	}
	r.on, r.why = false, why
	r.next = now.Add(min(relayRest<<min(r.brief, 10), maxRelayRest))
	if r.brief++; r.ending {
		r.ending, r.brief, r.next = false, 0, now.Add(relayRest)
	}
}
