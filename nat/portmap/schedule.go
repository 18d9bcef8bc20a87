package portmap

import (
	"errors"
	"net/netip"
	"time"
)

const (
	// grace is for how long after the first answer a better method may still answer. Gateways that know several answer
	// within a round trip, but UPnP's delay is up to a second.
	grace = 250 * time.Millisecond
	// leastLease is the shortest lease that is taken: it bounds how often the gateway can make us ask.
	leastLease = time.Minute
	// leastAgain is the least time between two renewals before their time, and two searches for the sake of check.
	leastAgain = 15 * time.Second
	// Waits before looking for methods anew, after a search by which not every port could be mapped; doubled each time.
	firstSearch = 2 * time.Minute
	mostSearch  = time.Hour
)

// schedule decides what is asked when. It has no clock and does no I/O: poll says what to do, done is told how that ended.
type schedule struct {
	ipv6  bool          // of the gateway
	lease time.Duration // to ask for

	methods  [methods]methodState
	ports    []portState
	searchAt time.Time // when methods are looked for next; zero: not needed
	searches int       // in a row by which not every port was mapped
	decideAt time.Time // when the methods found so far are all there is to choose from; zero: none was found
	decided  bool      // decideAt has passed
	checked  time.Time // when check last had, or will have, an effect
	closed   bool
}

type methodState struct {
	searching bool
	found     bool
	err       error // why it was not found, or failed last
	epoch     epoch
}

type portState struct {
	Port
	lease  lease
	asking bool          // a request is under way
	failed [methods]bool // since the last search
}

// lease is a mapping and when it ends. The zero value is none.
type lease struct {
	held     bool
	by       method
	external netip.AddrPort
	lifetime time.Duration // 0: no end
	hastened time.Time     // when it was, or will be, last renewed before its time
	stale    bool          // could not be renewed: another way is looked for while it lasts
	expires  time.Time     // zero: never
	renewAt  time.Time
}

type actionKind uint8

const (
	search actionKind = iota // find out whether the gateway knows the method
	ask                      // make or renew a mapping
	remove
)

// action is something to do, whose outcome is told to done.
type action struct {
	kind     actionKind
	by       method
	port     Port           // of ask and remove
	external netip.AddrPort // of ask and remove: what was granted before; zero: nothing yet
	lifetime time.Duration  // of ask
}

// outcome is how an action ended.
type outcome struct {
	err      error
	external netip.AddrPort // of ask
	lifetime time.Duration  // of ask, as granted; 0: no end
	epoch    uint32         // of PCP and NAT-PMP
	hasEpoch bool
}

func newSchedule(now time.Time, ipv6 bool, leaseTime time.Duration, want []Port) *schedule {
	s := &schedule{ipv6: ipv6, lease: leaseTime, searchAt: now}
	for _, p := range want {
		s.ports = append(s.ports, portState{Port: p})
	}
	return s
}

// poll returns what is to be done now. Actions are carried out side by side, in any order.
func (s *schedule) poll(now time.Time) []action {
	if s.closed {
		return s.pollClosed()
	}
	var do []action
	s.expire(now)
	if !s.decideAt.IsZero() && !now.Before(s.decideAt) {
		s.decided = true
	}
	if !s.searchAt.IsZero() && !now.Before(s.searchAt) {
		do = s.search()
	}
	unmapped := false
	for i := range s.ports {
		p := &s.ports[i]
		if p.asking {
			continue
		}
		if p.lease.fresh() {
			if !now.Before(p.lease.renewAt) {
				p.asking = true
				do = append(do, action{kind: ask, by: p.lease.by, port: p.Port, external: p.lease.external, lifetime: s.lease})
			}
			continue
		}
		if by, ok := s.choose(p); ok {
			p.asking = true
			do = append(do, action{kind: ask, by: by, port: p.Port, external: p.lease.external, lifetime: s.lease})
			continue
		}
		unmapped = true
	}
	if unmapped && s.searchAt.IsZero() && !s.searching() {
		s.searchAt = now.Add(min(firstSearch<<min(s.searches, 8), mostSearch))
		s.searches++
	}
	return do
}

// search starts to look for all methods, but those that still are.
func (s *schedule) search() (do []action) {
	s.searchAt, s.decideAt, s.decided = time.Time{}, time.Time{}, false
	for i := range s.ports {
		s.ports[i].failed = [methods]bool{}
	}
	for m := range methods {
		if s.methods[m].searching {
			continue
		}
		s.methods[m].found = false
		if s.ipv6 && m != pcp {
			s.methods[m].err = errOnlyIPv4 // RFC 6886 and UPnP's port mappings are of IPv4
			continue
		}
		s.methods[m].searching = true
		do = append(do, action{kind: search, by: m})
	}
	return do
}

// choose returns the method to map a port by: the best that was found and has not failed; false while a better one may
// still be found.
func (s *schedule) choose(p *portState) (method, bool) {
	for m := range methods {
		switch state := &s.methods[m]; {
		case p.failed[m]:
		case state.found:
			return m, true
		case state.searching && !s.decided:
			return 0, false
		}
	}
	return 0, false
}

func (s *schedule) searching() bool {
	for _, m := range s.methods {
		if m.searching {
			return true
		}
	}
	return false
}

// expire drops the leases that have ended. Usually they are stale by then; else a request was under way for too long.
func (s *schedule) expire(now time.Time) {
	for i := range s.ports {
		l := &s.ports[i].lease
		if l.held && !l.expires.IsZero() && !now.Before(l.expires) {
			if !l.stale {
				s.searchAt, s.searches = now, 0
			}
			*l = lease{}
		}
	}
}

// done notes how an action ended.
func (s *schedule) done(now time.Time, a action, o outcome) {
	m := &s.methods[a.by]
	m.err = o.err
	if o.hasEpoch && m.epoch.restarted(now, o.epoch) {
		s.renew(now, a)
	}
	switch a.kind {
	case search:
		m.searching, m.found = false, o.err == nil
		if errors.Is(o.err, errMoved) {
			s.searchAt = now
		}
		if m.found && s.decideAt.IsZero() {
			s.decideAt = now.Add(grace)
		}
	case ask:
		p := s.port(a.port)
		p.asking = false
		if errors.Is(o.err, errMoved) {
			return // it tells nothing of the gateway that there is now
		}
		if o.err == nil {
			o.err = o.acceptable(s.ipv6)
			m.err = o.err
		}
		if o.err != nil {
			s.fail(now, p, a.by)
			return
		}
		p.lease = p.lease.granted(now, a.by, o, s.lease)
		if s.mapped() {
			s.searchAt, s.searches = time.Time{}, 0
		}
	case remove:
		p := s.port(a.port)
		p.asking, p.lease = false, lease{}
	}
}

// granted is the lease that follows one, or none, when a mapping was made or renewed now. Renewals are at half the time (RFC 6887 section 11.2.1),
// and one that lasts for long is looked after as often as if it were of the length asked for.
func (l lease) granted(now time.Time, by method, o outcome, asked time.Duration) lease {
	l = lease{held: true, by: by, external: o.external, lifetime: o.lifetime, hastened: l.hastened}
	if o.lifetime == 0 {
		l.renewAt = now.Add(asked / 2)
		return l
	}
	l.expires = now.Add(o.lifetime)
	l.renewAt = now.Add(min(o.lifetime, asked) / 2)
	return l
}

// fail notes that a method did not map the port. If it had before, all methods are looked for at once: a gateway that was
// restarted or replaced may know others, or the same at another place.
func (s *schedule) fail(now time.Time, p *portState, by method) {
	p.failed[by] = true
	if p.lease.fresh() {
		p.lease.stale = true
		s.searchAt, s.searches = now, 0
	}
}

// fresh reports whether there is a lease that need only be renewed.
func (l *lease) fresh() bool { return l.held && !l.stale }

var (
	errOnlyIPv4    = errors.New("is for IPv4 only")
	errLeaseShort  = errors.New("the gateway grants less than a minute")
	errBadExternal = errors.New("the gateway names an external address that cannot be one")
)

// acceptable judges what a gateway granted.
func (o outcome) acceptable(ipv6 bool) error {
	a := o.external.Addr()
	switch {
	case o.lifetime != 0 && o.lifetime < leastLease:
		return errLeaseShort
	case o.external.Port() == 0, !a.IsGlobalUnicast(), a.Is4In6(), a.Is6() != ipv6, a.Is4() && a.As4()[0] == 0:
		return errBadExternal
	}
	return nil
}

func (s *schedule) port(want Port) *portState {
	for i := range s.ports {
		if s.ports[i].Port == want {
			return &s.ports[i]
		}
	}
	return nil // not reached: actions are of ports that there are
}

// mapped reports whether every port is, for the time being.
func (s *schedule) mapped() bool {
	for _, p := range s.ports {
		if !p.lease.fresh() {
			return false
		}
	}
	return true
}

// String returns the word for a log.
func (k actionKind) String() string { return [...]string{"search", "ask", "remove"}[k] }
