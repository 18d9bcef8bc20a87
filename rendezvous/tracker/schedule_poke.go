package tracker

import (
	"net/netip"
	"time"
)

const (
	// contentFor is how long nobody must have wanted more peers for the next who does to be served as if he were the first.
	contentFor = 10 * time.Minute
	// maxKnown is how many addresses a schedule remembers. After that many, none is new: asking more often is no help then.
	maxKnown = 1000
)

// newcomers tells which peers of an answer no tracker of the session has named before.
type newcomers struct {
	port  uint16  // where we accept peers
	own   [2]bool // our own address was named: IPv4, IPv6
	known map[netip.AddrPort]bool
}

// any remembers the peers of an answer and tells whether one of them is new. Trackers may name ourselves, and we do not
// know our address from outside: the first with our port is taken for it.
func (n *newcomers) any(peers []netip.AddrPort) bool {
	found := false
	for _, addr := range peers {
		if n.known[addr] || len(n.known) == maxKnown {
			continue
		}
		if n.known == nil {
			n.known = make(map[netip.AddrPort]bool)
		}
		n.known[addr] = true
		family := 0
		if addr.Addr().Is6() {
			family = 1
		}
		if addr.Port() == n.port && !n.own[family] {
			n.own[family] = true
			continue
		}
		found = true
	}
	return found
}

// poke notes that more peers are wanted. Who is short of peers says so again and again; after a pause, trackers have no
// longer answered in vain.
func (s *schedule) poke(now time.Time) {
	if !s.poked.IsZero() && now.Sub(s.poked) >= contentFor {
		s.newcomers = newcomers{port: s.newcomers.port}
		for i := range s.trackers {
			s.trackers[i].vain = 0
		}
	}
	s.more, s.poked = true, now
}

// least returns when the tracker's least interval is over, before which it gets nothing but events.
func (t *trackerState) least() time.Time {
	return t.asked.Add(max(t.last.MinInterval, leastMinInterval))
}

// again returns when the tracker may be asked because more peers are wanted. Without new peers the wait doubles each time
// from its least interval to its interval: BEP 15 has no least interval, and asking every minute gets a user banned.
func (t *trackerState) again() time.Time {
	wait := max(t.last.MinInterval, leastMinInterval)
	most := max(t.last.Interval, leastInterval)
	for n := t.vain; n > 0 && wait < most; n-- {
		wait *= 2
	}
	return t.asked.Add(min(wait, most))
}

// heard notes whether the answer to a plan named new peers.
func (t *trackerState) heard(p plan, fresh bool) {
	t.stale = !fresh
	switch {
	case fresh:
		t.vain = 0
	case p.more && p.event == EventNone:
		t.vain++
	}
}
