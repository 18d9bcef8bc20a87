package portmap

import "time"

// wake returns when poll has something to do although nothing happened; zero: never.
func (s *schedule) wake() (at time.Time) {
	earliest := func(t time.Time) {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	if s.closed {
		return at
	}
	earliest(s.searchAt)
	for _, p := range s.ports {
		switch {
		case p.asking:
		case p.lease.fresh():
			earliest(p.lease.renewAt)
		case s.searching() && !s.decided:
			earliest(s.decideAt)
		}
		if p.lease.held {
			earliest(p.lease.expires)
		}
	}
	return at
}

// check has all mappings asked for again, and the missing ones looked for, because the network or the gateway seems to have
// changed: at once, but not within leastAgain of the last time.
func (s *schedule) check(now time.Time) {
	for i := range s.ports {
		s.ports[i].lease.renewSoon(now)
	}
	if s.checked.After(now) {
		return
	}
	s.checked = notBefore(now, s.checked)
	if !s.mapped() && (s.searchAt.IsZero() || s.searchAt.After(s.checked)) {
		s.searchAt, s.searches = s.checked, 0
	}
}

// notBefore is now, or leastAgain after the last time.
func notBefore(now, last time.Time) time.Time {
	if at := last.Add(leastAgain); !last.IsZero() && at.After(now) {
		return at
	}
	return now
}

// renew has the other mappings of a method asked for again, because the gateway has forgotten them: an answer to a says so.
func (s *schedule) renew(now time.Time, a action) {
	for i := range s.ports {
		if p := &s.ports[i]; p.Port != a.port && p.lease.by == a.by {
			p.lease.renewSoon(now)
		}
	}
}

// renewSoon has a lease asked for again, at once but not within leastAgain of the last time: no gateway can make us ask without
// end.
func (l *lease) renewSoon(now time.Time) {
	if at := notBefore(now, l.hastened); l.fresh() && at.Before(l.renewAt) {
		l.renewAt, l.hastened = at, at
	}
}

// moved starts anew: the gateway is another one, and the mappings of the one before are of no use any more.
func (s *schedule) moved(now time.Time) {
	for i := range s.ports {
		s.ports[i].lease = lease{}
	}
	for m := range methods {
		s.methods[m].found = false
	}
	s.searchAt, s.searches = now, 0
}

// close ends the schedule: what poll returns from now on removes mappings, and what is still granted is removed too.
func (s *schedule) close() { s.closed = true }

func (s *schedule) pollClosed() (do []action) {
	for i := range s.ports {
		if p := &s.ports[i]; p.lease.held && !p.asking {
			p.asking = true
			do = append(do, action{kind: remove, by: p.lease.by, port: p.Port, external: p.lease.external})
		}
	}
	return do
}

// finished reports whether nothing is left to be done or waited for after close.
func (s *schedule) finished() bool {
	for _, p := range s.ports {
		if p.asking || p.lease.held {
			return false
		}
	}
	return s.closed
}

// mappings returns what is held, in the order in which the ports were wanted. A mapping without end that could not be renewed
// may be gone, and nothing would ever tell. After close there are none.
func (s *schedule) mappings() (all []Mapping) {
	if s.closed {
		return nil
	}
	for _, p := range s.ports {
		if l := p.lease; l.fresh() || l.held && !l.expires.IsZero() {
			all = append(all, Mapping{Port: p.Port, External: l.external, Lifetime: l.lifetime, By: l.by.String()})
		}
	}
	return all
}

// epoch is what is known of the clock that a gateway restarts when it loses its mappings.
type epoch struct {
	server uint32 // seconds
	at     time.Time
}

// restarted takes the newest reading and reports whether the clock was restarted since the one before: it went back, or its
// speed cannot be that of a clock. RFC 6886 section 3.6 allows for an eighth of error, RFC 6887 section 8.5 for a sixteenth,
// and both for two seconds.
func (e *epoch) restarted(now time.Time, server uint32) bool {
	before := *e
	*e = epoch{server, now}
	if before.at.IsZero() {
		return false
	}
	ours := int64(now.Sub(before.at) / time.Second)
	theirs := int64(server) - int64(before.server)
	return theirs < -1 || theirs+2 < ours-ours/8 || ours+2 < theirs-theirs/8
}
