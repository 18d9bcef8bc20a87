package broker

import (
	"slices"
	"time"

	"simplebit/nat/punch"
	"simplebit/wire/control"
)

// Outcome is what became of an attempt, by the word of both devices.
type Outcome uint8

// The outcomes.
const (
	Pending    Outcome = iota
	Connected          // there is a path
	Failed             // both have told, and there is none
	Impossible         // both know no way
	Busy               // a device does enough else
	Silent             // a device has told nothing
	Lost               // there was a path
	Unused             // there was one, and no connection over it for minutes
	Replaced           // there is a newer path, for other torrents
)

// String returns the outcome in one lower-case word, for logs and the API.
func (o Outcome) String() string {
	return [...]string{"pending", "connected", "failed", "impossible", "busy", "silent", "lost", "unused", "replaced"}[o]
}

// State is how two devices stand to each other.
type State uint8

// The states of a pair of devices.
const (
	Waiting  State = iota // for the next attempt, or for what it needs
	Trying                // an attempt is under way
	Path                  // there is a path, as far as is known
	Linked                // they are connected otherwise
	Hopeless              // there is no way between their networks
)

// String returns the state in one lower-case word, for the API.
func (s State) String() string {
	return [...]string{"waiting", "trying", "path", "connected", "hopeless"}[s]
}

// Route is how a device and another one stand to each other, for one torrent.
type Route struct {
	Peer     control.DeviceID
	State    State
	Next     time.Time // while waiting after a failure: no attempt comes before; else zero
	Attempts []Attempt // the latest of those between the two, the oldest first
}

// Attempt is one that was made, seen from one device.
type Attempt struct {
	Began       time.Time
	Outcome     Outcome
	Controlling bool             // the device decided on the path
	Try         int              // that failed before, in a row
	Told        *control.Punched // its own account; nil: it has told nothing. It is not to be changed.
}

// routes returns how a device stands to those with which it has a torrent in common, one of them lacking something, or
// something was tried.
func (c *core) routes(now time.Time, who id, t torrent) (all []Route) {
	d := c.devices[who]
	if d == nil || d.shares[t] == nil {
		return nil
	}
	for other, e := range c.holders[t] {
		p := c.pairs[keyOf(who, other)]
		if other == who || p == nil && !d.shares[t].lacks && !e.shares[t].lacks {
			continue
		}
		all = append(all, c.route(now, d, e, p, t))
	}
	slices.SortFunc(all, func(a, b Route) int {
		if a.Peer < b.Peer {
			return -1
		}
		return 1
	})
	return all
}

func (c *core) route(now time.Time, d, e *device, p *pair, t torrent) Route {
	r := Route{Peer: e.id}
	if p != nil {
		side := p.side(d.id)
		for _, a := range p.past {
			r.Attempts = append(r.Attempts, a.report(side))
		}
		if p.attempt != nil {
			r.Attempts = append(r.Attempts, p.attempt.report(side))
		}
	}
	switch m := methods(d, e); {
	case p != nil && p.attempt != nil && p.attempt.path:
		r.State = Path
	case p != nil && p.attempt != nil:
		r.State = Trying
	case c.linked(d, e, t):
		r.State = Linked
	case !d.line.observed.IsValid() || !e.line.observed.IsValid():
		// They have just come.
	case m[0] == punch.Hopeless || m[1] == punch.Hopeless:
		r.State = Hopeless
	case p != nil && now.Before(p.next):
		r.Next = p.next
	}
	return r
}

func (a *attempt) report(side int) Attempt {
	r := Attempt{Began: a.began, Outcome: a.outcome, Controlling: a.controlling == side, Try: a.try, Told: a.told[side]}
	if a.outcome == Pending && a.path {
		r.Outcome = Connected
	}
	return r
}
