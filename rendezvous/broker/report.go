package broker

import (
	"fmt"
	"slices"
	"time"

	"simplebit/nat"
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
	Relayed               // they have no path, and a connection that the surrogate relays
)

// String returns the state in one lower-case word, for the API.
func (s State) String() string {
	return [...]string{"waiting", "trying", "path", "connected", "hopeless", "relayed"}[s]
}

// Route is how a device and another one stand to each other, for one torrent.
type Route struct {
	Peer     control.DeviceID
	State    State
	Why      string    // it is so, in a few words for people, lower case; empty where the attempts say it
	Next     time.Time // while waiting or relayed after a failure: no attempt comes before; else zero
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
	linked, relayed := c.linked(d, e, t), c.relays.known[want{keyOf(d.id, e.id), t}]
	switch {
	case p != nil && p.attempt != nil && p.attempt.serves(t):
		r.State = Path
	case relayed != nil && relayed.on && !linked:
		if r.State = Relayed; p != nil && p.attempt == nil && now.Before(p.next) && !hopeless(d, e) {
			r.Next = p.next
		}
	case p != nil && p.attempt != nil && p.attempt.path:
		r.State = Path // for another torrent
	case p != nil && p.attempt != nil:
		r.State = Trying
	case linked:
		r.State = Linked
	case !d.line.Observed.IsValid() || !e.line.Observed.IsValid():
		// They have just come.
	case hopeless(d, e):
		r.State = Hopeless
	case p != nil && now.Before(p.next):
		r.Next = p.next
	}
	r.Why = c.why(now, d, e, t, r.State, relayed)
	return r
}

// relayedFor says why two are relayed.
func (c *core) relayedFor(now time.Time, w want) string {
	return c.why(now, c.devices[w.a], c.devices[w.b], w.torrent, Relayed, c.relays.known[w])
}

// why explains a state that no attempt's account explains.
func (c *core) why(now time.Time, d, e *device, t torrent, s State, r *relay) string {
	var words string
	switch {
	case s != Relayed && s != Waiting && s != Hopeless || !d.line.Observed.IsValid() || !e.line.Observed.IsValid():
		return ""
	case hopeless(d, e):
		words = despair(d, e)
	case c.pairs[keyOf(d.id, e.id)] != nil && s == Waiting:
		words = "no path found so far, tries go on"
	case c.pairs[keyOf(d.id, e.id)] != nil:
		words = fmt.Sprintf("no path found in %.1f s, tries go on", relayAfter.Seconds())
	default:
		words = "no try for a path has begun yet"
	}
	switch {
	case s == Relayed:
		return words
	case c.relays.most == 0:
		return words + "; this surrogate relays nothing"
	case d.shares[t].have == 0 && e.shares[t].have == 0:
		return words + "; neither has anything yet"
	case r == nil && (d.relays.on >= c.relays.each || e.relays.on >= c.relays.each || c.relays.all.on >= c.relays.most):
		return words + "; as much is relayed already as may be"
	case r == nil:
		return words
	case now.Before(r.next) && r.why != nil:
		return words + "; the relay ended: " + r.why.Error()
	case now.Before(r.next):
		return words + "; a device ended the relay"
	case now.Before(c.relayAt(want{key: keyOf(d.id, e.id)}, r)):
		if s == Hopeless {
			return words + "; they may connect over TCP"
		}
		return words
	}
	return words + "; as much is relayed already as may be"
}

// despair says why two have no way to each other.
func despair(d, e *device) string {
	x, y := d.behaviour(), e.behaviour()
	switch {
	case x.Blocked && y.Blocked:
		return "UDP reaches neither device"
	case x.Blocked:
		return "UDP does not reach this device"
	case y.Blocked:
		return "UDP does not reach the other device"
	case !related(d, e):
		return "one device has IPv4 alone and the other one IPv6 alone"
	case x.Step == 0 && y.Step == 0 && changes(x) && changes(y):
		return "both routers pick a random port for every destination"
	case changes(x) && changes(y):
		return "one router picks a random port for every destination, the other one counts"
	}
	return "the surrogate sees no public address of the devices"
}

// changes reports whether the ports of a NAT depend on where packets go.
func changes(b nat.Behaviour) bool {
	return b.Mapping == nat.AddressDependent || b.Mapping == nat.AddressAndPortDependent
}

func (a *attempt) report(side int) Attempt {
	r := Attempt{Began: a.began, Outcome: a.outcome, Controlling: a.controlling == side, Try: a.try, Told: a.told[side]}
	if a.outcome == Pending && a.path {
		r.Outcome = Connected
	}
	return r
}
