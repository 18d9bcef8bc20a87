package broker

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"simplebit/nat"
	"simplebit/nat/punch"
)

const (
	maxNamed   = 2                // attempts within namedFor that name a host elsewhere which does not answer
	namedFor   = 10 * time.Minute // how long an attempt counts for that
	maxHosts   = 4096             // that are remembered: some 1 MB. Others are not named then.
	answeredOf = 24 * time.Hour   // how long it is remembered whose attempts a host has answered
)

// claim is a host that a device says is its own and that the surrogate does not see. Those whose attempts it has never answered
// share one claim, of nobody: so however many they are, they name it as seldom as one.
type claim struct {
	host netip.Prefix
	by   id
}

// claimed is the attempts of late that have named the host and that it has not answered.
type claimed struct {
	answered time.Time // the last time; zero: never
	named    []time.Time
}

// elsewhere is the hosts of the other family that devices name. None of them can be checked, so a liar may name a host that has
// nothing to do with it.
type elsewhere map[claim]*claimed

// elsewhereOf is the host of the other family that a device names, if the other one can send there.
func elsewhereOf(d, other *device) netip.Prefix {
	if !d.line.UDP || !other.line.UDP {
		return netip.Prefix{}
	}
	four, six := other.families()
	home := d.line.Observed.Addr()
	for _, c := range d.network.Candidates {
		ip := c.Addr.Addr()
		if foreign(home, c) && (ip.Is4() && four || ip.Is6() && six) {
			return host(ip)
		}
	}
	return netip.Prefix{}
}

// foreign reports whether a candidate of a device that is seen at home is a public address of the other family.
func foreign(home netip.Addr, c nat.Candidate) bool {
	ip := c.Addr.Addr()
	return c.Kind >= nat.HostCandidate && c.Kind <= nat.ReflexiveCandidate && ip.IsGlobalUnicast() && nat.Public(ip) && ip.Is4() != home.Is4()
}

// of is the claim that an attempt counts for.
func (e elsewhere) of(at netip.Prefix, by id) claim {
	if own := (claim{at, by}); e[own] != nil {
		return own
	}
	return claim{host: at}
}

// may reports whether an attempt may name the host now.
func (e elsewhere) may(now time.Time, at netip.Prefix, by id) bool {
	k := e.of(at, by)
	x := e[k]
	if x == nil {
		return len(e) < maxHosts
	}
	return len(x.recent(now)) < maxNamed
}

func (x *claimed) recent(now time.Time) []time.Time {
	x.named = slices.DeleteFunc(x.named, func(t time.Time) bool { return now.Sub(t) >= namedFor })
	return x.named
}

// name takes that an attempt names the host.
func (e elsewhere) name(now time.Time, at netip.Prefix, by id) {
	k := e.of(at, by)
	if e[k] == nil {
		e[k] = &claimed{}
	}
	e[k].named = append(e[k].named, now)
}

// answer takes that the host has answered an attempt of the device, by the word of the one that it was named to.
func (e elsewhere) answer(now time.Time, at netip.Prefix, by id) {
	if own := (claim{at, by}); e[own] != nil || len(e) < maxHosts {
		e[own] = &claimed{answered: now}
	}
}

// forget drops what matters no longer.
func (e elsewhere) forget(now time.Time) {
	maps.DeleteFunc(e, func(_ claim, x *claimed) bool { return len(x.recent(now)) == 0 && now.Sub(x.answered) >= answeredOf })
}

// naming decides which hosts elsewhere the two are told of each other. False: there is no way without one that may not be named now.
func (c *core) naming(now time.Time, m *match) bool {
	for side, d := range []*device{m.a, m.b} {
		other := []*device{m.b, m.a}[side]
		m.hosts[side] = elsewhereOf(d, other)
		if at := m.hosts[side]; at.IsValid() && (side == 1 && at == m.hosts[0] || !c.elsewhere.may(now, at, d.id)) {
			m.hosts[side] = netip.Prefix{}
		}
	}
	m.methods = methodsNaming(m.a, m.b, m.hosts)
	return m.methods[0] != punch.Hopeless && m.methods[1] != punch.Hopeless
}
