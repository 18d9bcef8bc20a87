package broker

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"time"

	"simplebit/nat/punch"
)

const (
	relayedPath = "relayed" // control.Peer.Path of a connection that the surrogate relays

	relayAfter   = 1500 * time.Millisecond // of an attempt without a path
	relayLatest  = 1900 * time.Millisecond // after both could make one, whether an attempt has begun or not
	relayRest    = 5 * time.Second         // after a relay that ended while it was needed, twice as long each time
	maxRelayRest = 5 * time.Minute
	enough       = 4 // paths of a device: then it needs a relay to who has all, if none of them leads to such a one
)

// want is two devices that one torrent is to be relayed between.
type want struct {
	key
	torrent torrent
}

// relays is what is relayed, and what may be soon.
type relays struct {
	known      map[want]*relay // those that are on, and those that are needed
	most, each int             // at once, and of them of a device
}

// relay is a connection of two devices that have no path, or the wait for it.
type relay struct {
	since    time.Time // when it was needed first
	on       bool      // it was ordered, and has not ended
	began    time.Time
	brief    int       // that ended while they were needed, and did not last, in a row
	next     time.Time // none is ordered before
	anew     time.Time // when a change of network let it be ordered before
	networks [2]trait  // when the last one was ordered
	why      error     // the last one ended; nil: a device ended it, or there was none
}

// limit takes what Config says.
func (r *relays) limit(c Config) {
	r.most, r.each = cmp.Or(c.Relays, r.most), cmp.Or(c.DeviceRelays, r.each)
	if c.NoRelays {
		r.most = 0
	}
}

// relay returns what is to be relayed from now on. It comes after poll, so that attempts that can begin have begun.
func (c *core) relay(now time.Time) (orders []want) {
	if c.relays.most == 0 {
		return nil
	}
	needed := c.needed(now)
	waits, on, all := map[id]int{}, map[id]int{}, 0
	for w, r := range c.relays.known {
		if _, still := needed[w]; !still && !r.on {
			delete(c.relays.known, w)
			continue
		}
		waits[w.a]++
		waits[w.b]++
		if r.on {
			on[w.a]++
			on[w.b]++
			all++
		}
	}
	var due []want
	for _, w := range inOrder(needed) {
		r := c.relays.known[w]
		if r == nil && waits[w.a] < maxPairs && waits[w.b] < maxPairs {
			r = &relay{since: now}
			c.relays.known[w] = r
			waits[w.a]++
			waits[w.b]++
		}
		if r == nil || r.on {
			continue
		}
		if c.renew(now, w, r); !now.Before(c.relayAt(w, r)) {
			due = append(due, w)
		}
	}
	// Everybody has one before anybody has two.
	for n := 1; n <= c.relays.each; n++ {
		for _, w := range due {
			if r := c.relays.known[w]; !r.on && on[w.a] < n && on[w.b] < n && all < c.relays.most {
				r.on, r.began, r.networks = true, now, [2]trait{c.devices[w.a].trait(), c.devices[w.b].trait()}
				on[w.a]++
				on[w.b]++
				all++
				orders = append(orders, w)
			}
		}
	}
	return orders
}

// inOrder returns those with most to give first.
func inOrder(needed map[want]int64) []want {
	return slices.SortedFunc(maps.Keys(needed), func(v, w want) int {
		return cmp.Or(-cmp.Compare(needed[v], needed[w]), cmp.Compare(v.a, w.a), cmp.Compare(v.b, w.b), bytes.Compare(v.torrent[:], w.torrent[:]))
	})
}

// renew lets a relay be ordered at once where a network has changed.
func (c *core) renew(now time.Time, w want, r *relay) {
	current := [2]trait{c.devices[w.a].trait(), c.devices[w.b].trait()}
	if now.Before(r.next) && r.networks != current && !now.Before(r.anew.Add(anewEvery)) {
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
	r.brief++
}

// hopeless reports whether there is no way between the two.
func hopeless(a, b *device) bool {
	m := methods(a, b)
	return m[0] == punch.Hopeless || m[1] == punch.Hopeless
}

// needed returns what a relay would serve, by how much is there for who lacks some.
func (c *core) needed(now time.Time) map[want]int64 {
	all := map[want]int64{}
	supplied := c.supplied()
	for t, holders := range c.holders {
		for _, x := range holders {
			if !x.shares[t].lacks {
				continue
			}
			for _, y := range holders {
				w := want{keyOf(x.id, y.id), t}
				if _, seen := all[w]; seen || x == y || x.paths >= enough && (y.shares[t].lacks || supplied[supply{x.id, t}]) {
					continue
				}
				if c.apart(now, x, y) && !c.covered(x, y, t) {
					all[w] = max(x.shares[t].have, y.shares[t].have)
				}
			}
		}
	}
	return all
}

// supply is a device that has a path to one that has all of a torrent.
type supply struct {
	who     id
	torrent torrent
}

func (c *core) supplied() map[supply]bool {
	all := map[supply]bool{}
	for _, p := range c.pairs {
		if p.attempt == nil || !p.attempt.path {
			continue
		}
		a, b := c.devices[p.a], c.devices[p.b]
		for t, s := range a.shares {
			if o := b.shares[t]; o != nil && s.lacks != o.lacks {
				all[supply{p.a, t}], all[supply{p.b, t}] = true, true
			}
		}
	}
	return all
}

// apart reports whether the two are known to have no way to each other, or could have made one by now. It is so at once where
// there is none: no attempt of before the core began matters then.
func (c *core) apart(now time.Time, a, b *device) bool {
	for _, d := range []*device{a, b} {
		if !d.online || !d.line.Observed.IsValid() {
			return false
		}
	}
	switch {
	case !a.line.UDP || !b.line.UDP:
		return true
	case !a.informed(now) || !b.informed(now):
		return false
	}
	return hopeless(a, b) || !now.Before(a.from) && !now.Before(b.from)
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
