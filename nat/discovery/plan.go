package discovery

import (
	"net/netip"
	"slices"
	"time"

	"simplebit/nat"
	"simplebit/nat/stun"
)

// servers is who can be asked, of one family.
type servers struct {
	first     netip.AddrPort // S1p1
	otherPort netip.AddrPort // S1p2; not valid: there is none
	otherAddr netip.AddrPort // S2p1, or, where that is not known, S2 at another port
	otherBoth netip.AddrPort // S2p2
}

// sortServers tells by the first one what the others are.
func sortServers(list []netip.AddrPort) (s servers) {
	for i, e := range list {
		e = netip.AddrPortFrom(e.Addr().Unmap(), e.Port())
		if i == 0 {
			s.first = e
			continue
		}
		if e.Addr().Is4() != s.first.Addr().Is4() {
			continue
		}
		samePort, sameAddr := e.Port() == s.first.Port(), e.Addr() == s.first.Addr()
		switch {
		case sameAddr && !samePort:
			setOnce(&s.otherPort, e)
		case !sameAddr && samePort:
			setOnce(&s.otherAddr, e)
		case !sameAddr:
			setOnce(&s.otherBoth, e)
		}
	}
	return s
}

func setOnce(a *netip.AddrPort, to netip.AddrPort) {
	if !a.IsValid() {
		*a = to
	}
}

// learn fills in what follows from OTHER-ADDRESS (RFC 5780 section 7.4). A public server names no private one.
func (s *servers) learn(other netip.AddrPort) {
	a, first := other.Addr().Unmap(), s.first.Addr()
	if s.otherBoth.IsValid() || !other.IsValid() || a == first || a.Is4() != first.Is4() || other.Port() == s.first.Port() ||
		!a.IsGlobalUnicast() || nat.Public(first) && !nat.Public(a) {
		return
	}
	s.otherBoth = netip.AddrPortFrom(a, other.Port())
	setOnce(&s.otherPort, netip.AddrPortFrom(first, other.Port()))
	setOnce(&s.otherAddr, netip.AddrPortFrom(a, s.first.Port()))
}

// all is the servers that there are.
func (s *servers) all() (list []netip.AddrPort) {
	for _, a := range []netip.AddrPort{s.first, s.otherPort, s.otherAddr, s.otherBoth} {
		if a.IsValid() {
			list = append(list, a)
		}
	}
	return list
}

// due says whether a test may begin: the questions that make a mapping come one after another, so that the order of their
// ports tells something, and nobody but who is asked sends anything before the mapper is through.
func (m *machine) due(now time.Time, t test) bool {
	switch t {
	case map1:
		return true
	case map2, reflexive:
		return m.over(map1)
	case map3:
		return m.over(map1) && (m.lost() || m.over(map2))
	case map4, fresh, quiet2, quiet3:
		return m.over(before[t])
	case quiet1:
		return m.over(fresh)
	case filterBoth, filterPort, hairpin:
		return m.over(fresh)
	case hop: // takes a port of its own, and what datagrams are left
		return m.over(quiet3)
	case reach:
		return m.over(fresh) && m.over(reflexive)
	default: // alive
		i := int(t - alive1)
		if i > 0 && m.over(t-1) && !m.answered(t-1) {
			return true // to be left out
		}
		return m.settled() && (i == 0 || m.over(t-1)) && !now.Before(m.silenceEnds(i))
	}
}

// before is whose mapping must come first.
var before = [tests]test{map4: map3, fresh: map4, quiet2: quiet1, quiet3: quiet2}

func (m *machine) over(t test) bool { return m.trials[t].progress == over }

// lost reports whether the first server does not answer. It is then only found out whether anybody does.
func (m *machine) lost() bool { return m.over(map1) && m.trials[map1].reply != answered }

// action says what a test asks for; false where it cannot be.
func (m *machine) action(t test) (action, bool) {
	s := &m.servers
	a := action{test: t, from: mapper, to: s.first, profile: m.surely()}
	ok := !m.lost()
	switch t {
	case map1:
		a.profile = stun.Quick
	case map2:
		a.to, ok = s.otherPort, s.otherPort.IsValid()
	case map3:
		a.to, ok = s.otherAddr, s.otherAddr.IsValid()
	case map4:
		a.to, ok = s.otherBoth, ok && s.otherBoth.IsValid()
	case reflexive:
		a.from, ok = mainSocket, true
	case fresh:
		a.from = filterer
	case quiet1, quiet2, quiet3:
		a.from = silent1 + socketID(t-quiet1)
	case filterBoth, filterPort:
		return m.byOther(t, filterer, m.answered(fresh), t == filterBoth)
	case reach:
		both := s.otherBoth.IsValid()
		return m.byOther(t, mainSocket, m.answered(reflexive) && !(both && slices.Contains(m.met, s.otherBoth.Addr())), both)
	case hairpin:
		a.to, a.hears, a.profile = m.trials[fresh].mapped, filterer, someTimes
		return a, ok && m.answered(fresh)
	case hop:
		a.hears, a.profile = a.from, climbing
		a.profile.First = min(max(a.profile.First, m.rtt*3/2), 500*time.Millisecond)
		return a, ok && s.first.Addr().Is4() && m.public() == nat.No
	default: // alive
		i := t - alive1
		end := m.trials[quiet1+i].mapped
		a.hears, a.options.ResponsePort, a.profile = silent1+socketID(i), end.Port(), m.doubtfully(3)
		return a, ok && m.answered(quiet1+i) && end.Addr() == m.trials[map1].mapped.Addr() && (i == 0 || m.answered(t-1))
	}
	a.hears = a.from
	if m.lost() {
		a.profile = lastTries
	}
	return a, ok
}

// byOther is a question to the first server that another of its addresses or ports answers, which must have answered the
// mapper: who is dead proves nothing by silence.
func (m *machine) byOther(t test, from socketID, ok, both bool) (action, bool) {
	s := &m.servers
	a := action{test: t, from: from, hears: from, to: s.first, profile: m.doubtfully(4)}
	a.options = stun.Options{ChangeIP: both, ChangePort: true, Other: s.otherPort}
	witness := map2
	if both {
		a.options.Other, witness = s.otherBoth, map4
	}
	return a, ok && m.answered(witness)
}

func (m *machine) answered(t test) bool { return m.trials[t].reply == answered }

// someTimes is how datagrams are sent of which one must come back.
var someTimes = stun.Profile{First: 200 * time.Millisecond, Longest: 200 * time.Millisecond, Last: 600 * time.Millisecond, Tries: 3}

// lastTries ends 3 s after the beginning where the first server did not answer stun.Quick: then UDP is blocked.
var lastTries = stun.Profile{First: 150 * time.Millisecond, Longest: 150 * time.Millisecond, Last: 600 * time.Millisecond, Tries: 3}

// surely is for questions that have an answer: the longer the way, the later they are repeated, so that a far server does
// not cost several datagrams each time.
func (m *machine) surely() stun.Profile {
	p := stun.Quick
	p.First = min(max(p.First, m.rtt*3/2), 500*time.Millisecond)
	p.Longest = max(p.Longest, p.First)
	return p
}

// doubtfully is for questions whose answer a router may well not let in.
func (m *machine) doubtfully(tries int) stun.Profile {
	p := stun.Profile{First: 200 * time.Millisecond, Longest: 400 * time.Millisecond, Last: 600 * time.Millisecond, Tries: tries}
	p.First = min(max(p.First, m.rtt*3/2), p.Longest)
	p.Last = min(max(p.Last, m.rtt*2), 2*time.Second)
	return p
}
