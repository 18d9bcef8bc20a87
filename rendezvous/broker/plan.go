package broker

import (
	"net/netip"
	"slices"
	"time"

	"simplebit/nat"
	"simplebit/nat/punch"
	"simplebit/wire/control"
)

const (
	lead     = 50 * time.Millisecond // for the devices to get ready
	maxLag   = 2 * time.Second       // one way, as far as it is made up for
	direct   = 3 * time.Second       // deadline of an attempt
	guessing = 4500 * time.Millisecond
	patience = 750 * time.Millisecond // of a controlling side where only patience has worked; punch has it after a failure by itself
)

// maxReflexive is the most candidates of a device that others have found.
const maxReflexive = 4

// begin makes the attempt of a match and returns what both are told.
func (c *core) begin(now time.Time, m *match) []order {
	p := m.pair
	if p == nil {
		p = c.pair(m.a, m.b)
	}
	if p.attempt != nil { // a path, for other torrents
		p.attempt.outcome = Replaced
		c.release(p)
		delete(c.attempts, p.attempt.name)
		p.remember(*p.attempt)
	}
	a := &attempt{began: now, try: p.failures, methods: m.methods, hosts: m.hosts, torrents: m.torrents[:min(len(m.torrents), control.MaxPunchTorrents)]}
	p.networks = [2]trait{m.a.trait(), m.b.trait()}
	c.cast(a, m)
	for a.name == [8]byte{} || c.attempts[a.name] != nil {
		c.random(a.name[:])
	}
	var secret [16]byte
	for secret == [16]byte{} {
		c.random(secret[:])
	}
	p.attempt, p.begun = a, now
	c.attempts[a.name] = p
	for _, d := range []*device{m.a, m.b} {
		d.attempts++
		if a.wide() {
			d.wide++
		}
	}
	for side, d := range []*device{m.a, m.b} {
		if a.hosts[side].IsValid() {
			c.elsewhere.name(now, a.hosts[side], d.id)
		}
	}

	deadline := direct
	if m.methods[0] != punch.Direct || m.methods[1] != punch.Direct {
		deadline = guessing
	}
	ahead := max(m.a.line.lag(), m.b.line.lag())
	a.expires = now.Add(lead + ahead + deadline + grace)
	var orders []order
	for side, d := range []*device{m.a, m.b} {
		other := []*device{m.b, m.a}[side]
		plan := planFor(d, other, m.hosts[1-side])
		if plan.Observed.IsValid() {
			plan.Observed = other.newest(a.try)
		}
		message := control.Punch{
			Attempt: a.name, Key: secret, Controlling: a.controlling == side, In: (lead + ahead - d.line.lag()).Truncate(time.Millisecond),
			Torrents: a.torrents, Peer: c.name(other.id), Remote: plan.Remote, Observed: plan.Observed, Self: plan.Self,
			Local: plan.Local, Theirs: plan.Peer, Try: uint16(min(a.try, 1<<16-1)), Deadline: deadline,
		}
		if a.patient && a.try == 0 {
			message.Hold = patience
		}
		orders = append(orders, order{d.id, message})
	}
	return orders
}

// cast decides which side controls. What worked between the two networks comes first. Else it is the one that hears of the
// attempt later, as the controlling side may be late; with each failure it is the other one's turn.
func (c *core) cast(a *attempt, m *match) {
	memory, turned := memoOf(m.a.trait(), m.b.trait())
	a.memo = memory
	flip := 0
	if turned {
		flip = 1
	}
	a.patient = a.try > 0
	switch {
	case m.known && a.try == 0:
		a.controlling, a.patient = m.memo.controlling^flip, m.memo.patient
	case m.b.line.RTT > m.a.line.RTT:
		a.controlling = (1 + a.try) % 2
	default:
		a.controlling = a.try % 2
	}
	a.role = a.controlling ^ flip
}

// lag is how long it takes to tell the device something.
func (l Line) lag() time.Duration { return min(max(l.RTT, 0)/2, maxLag) }

// methods is what each side does in an attempt; hopeless: there is no way.
func methods(a, b *device) [2]punch.Method {
	return methodsNaming(a, b, [2]netip.Prefix{elsewhereOf(a, b), elsewhereOf(b, a)})
}

// methodsNaming is the same where of the hosts elsewhere only those are named.
func methodsNaming(a, b *device, hosts [2]netip.Prefix) [2]punch.Method {
	if !related(a, b) {
		return [2]punch.Method{}
	}
	x, y := planFor(a, b, hosts[1]), planFor(b, a, hosts[0])
	return [2]punch.Method{x.Method(), y.Method()}
}

// outs is whether a device has told addresses at which those may meet who cannot otherwise: see punch.Plan.Method.
type outs struct {
	anyone bool // of IPv6, or a port that a router opened
	home   bool // private ones, for those at the same address
}

func outsOf(list []nat.Candidate) (o outs) {
	for _, c := range list {
		o.anyone = o.anyone || c.Kind == nat.MappedCandidate || c.Addr.Addr().Is6()
		o.home = o.home || !nat.Public(c.Addr.Addr())
	}
	return o
}

// hopeless reports whether there is no way between the two. It is asked of all pairs in a crowd, so what is easy to say comes first.
func hopeless(a, b *device) bool {
	if a.public && b.public && a.line.UDP && b.line.UDP {
		if punch.Choose(a.behaviour(), b.behaviour()) != punch.Hopeless {
			return false
		}
		together := a.line.Observed.Addr() == b.line.Observed.Addr()
		if !a.outs.help(together) || !b.outs.help(together) {
			return true
		}
	}
	m := methods(a, b)
	return m[0] == punch.Hopeless || m[1] == punch.Hopeless
}

func (o outs) help(together bool) bool { return o.anyone || o.home && together }

// related reports whether the two have a family of addresses in common, as far as is known.
func related(a, b *device) bool {
	x4, x6 := a.families()
	y4, y6 := b.families()
	return x4 && y4 || x6 && y6
}

// families reports which the device has.
func (d *device) families() (four, six bool) {
	four = d.line.Observed.Addr().Is4()
	six = !four
	for _, c := range d.network.Candidates {
		four, six = four || c.Addr.Addr().Is4(), six || c.Addr.Addr().Is6()
	}
	return four, six
}

// planFor is what a device is told of another one, and of that one's host of the other family, if it may be named. Ports can be guessed where both are seen at public addresses of IPv4, which is
// what behaviour is of: elsewhere neither is told that the other's change.
func planFor(of, other *device, elsewhere netip.Prefix) punch.Plan {
	p := punch.Plan{
		Self: of.line.Observed.Addr(), Local: of.behaviour(), Peer: other.behaviour(), Remote: candidates(other, of),
	}
	if !of.line.UDP || !other.line.UDP {
		return atHome(p, other.line.Observed)
	}
	p.Remote = slices.DeleteFunc(p.Remote, func(n nat.Candidate) bool {
		return foreign(other.line.Observed.Addr(), n) && host(n.Addr.Addr()) != elsewhere
	})
	if at := other.line.Observed; nat.Public(at.Addr()) {
		p.Observed = at
	}
	for _, d := range []*device{of, other} {
		if at := d.line.Observed.Addr(); !at.Is4() || !nat.Public(at) {
			p.Local, p.Peer = unguessed(p.Local), unguessed(p.Peer)
		}
	}
	return p
}

// atHome is a plan for two of which a router lets no UDP of one out. Within a home it may pass: there its private addresses
// are asked. Where the other one is seen shows the device that they share the home.
func atHome(p punch.Plan, observed netip.AddrPort) punch.Plan {
	p.Remote = slices.DeleteFunc(p.Remote, func(n nat.Candidate) bool { return nat.Public(n.Addr.Addr()) })
	if len(p.Remote) > 0 {
		p.Local, p.Peer, p.Observed = nat.Behaviour{}, nat.Behaviour{}, observed
	}
	return p
}

// behaviour is how the device's network treats its UDP, by its word and by its session: over QUIC it is not blocked, whatever the
// device says.
func (d *device) behaviour() nat.Behaviour {
	switch {
	case !d.line.UDP:
		return nat.Behaviour{Blocked: true}
	case d.network.Behaviour.Blocked:
		return nat.Behaviour{}
	}
	return d.network.Behaviour
}

// The most ports that an attempt takes of a NAT that counts, or somewhat less: where predictions are on both sides by who
// answers and who controls, and where one side opens many.
const (
	answeringTakes   = 600
	controllingTakes = 400
	openingTakes     = 120
)

// taken is how many an attempt has, of which a device tells that so many datagrams led to nothing. Some of them went to the same
// addresses.
func (a *attempt) taken(side, datagrams int) int {
	most := 0
	switch {
	case a.methods[side] == punch.Grid && a.controlling == side:
		most = controllingTakes
	case a.methods[side] == punch.Grid:
		most = answeringTakes
	case a.methods[side] == punch.Row:
		most = openingTakes
	}
	return min(most, datagrams*3/4)
}

// newest is where a device's NAT sends from most likely: of a port that others know and that of its session, each has two
// attempts in turn. Where the NAT counts, it is the port that it has given out last, as far as is known.
func (d *device) newest(try int) netip.AddrPort {
	at, b := d.line.Observed, d.behaviour()
	if n := len(d.reflexive); n > 0 && !changes(b) {
		if i := try / 2 % (n + 1); i < n {
			return d.reflexive[i].Addr
		}
		return at
	}
	if !changes(b) || d.mapped == 0 {
		return at
	}
	const first = 1024
	port := (int(at.Port()) - first + b.Step*d.mapped) % (1<<16 - first)
	if port < 0 {
		port += 1<<16 - first
	}
	return netip.AddrPortFrom(at.Addr(), uint16(first+port))
}

func unguessed(b nat.Behaviour) nat.Behaviour {
	if b.Mapping != nat.EndpointIndependent {
		b.Mapping, b.Step = nat.Unknown, 0
	}
	return b
}

// candidates are the addresses of a device that another one is told: those that it cannot lie about, or not with much effect.
func candidates(of, to *device) (list []nat.Candidate) {
	home := of.line.Observed.Addr()
	together := host(home) == host(to.line.Observed.Addr())
	var elsewhere netip.Prefix // the host of the other family
	for _, c := range slices.Concat(of.network.Candidates, of.reflexive) {
		ip := c.Addr.Addr()
		switch known := c.Kind >= nat.HostCandidate && c.Kind <= nat.ReflexiveCandidate; {
		case !known || !ip.IsGlobalUnicast():
			continue
		case !nat.Public(ip):
			if !together {
				continue
			}
		case ip.Is4() == home.Is4():
			if host(ip) != host(home) {
				continue
			}
		case !elsewhere.IsValid():
			elsewhere = host(ip)
		case host(ip) != elsewhere:
			continue
		}
		if slices.ContainsFunc(list, func(have nat.Candidate) bool { return have.Addr == c.Addr }) {
			continue
		}
		list = append(list, c)
	}
	return list[:min(len(list), nat.MaxCandidates)]
}

// reflect has a device's candidates hold where others have their paths to its main socket: a router may have given that another
// port since the session began, which the surrogate does not see.
func (c *core) reflect(pairs []*pair) {
	for _, p := range pairs {
		for side, d := range []*device{c.devices[p.a], c.devices[p.b]} {
			if p.attempt == nil || p.attempt.told[side] == nil || p.attempt.told[side].Socket != 0 {
				continue
			}
			if at := p.attempt.remote(1 - side); at.IsValid() && at != d.line.Observed && host(at.Addr()) == host(d.line.Observed.Addr()) && len(d.reflexive) < maxReflexive {
				d.reflexive = append(d.reflexive, nat.Candidate{Kind: nat.ReflexiveCandidate, Addr: at})
			}
		}
	}
}

// host is what one household has for itself: an IPv4 address, or a /64 of IPv6.
func host(ip netip.Addr) netip.Prefix {
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	p, _ := ip.Prefix(bits)
	return p
}
