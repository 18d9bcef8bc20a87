package discovery

import (
	"net/netip"
	"slices"

	"simplebit/nat"
)

// verdict says what the answers mean.
func (m *machine) verdict() nat.Behaviour {
	t := &m.trials
	var kept sample
	for _, x := range []test{map1, fresh, quiet1, quiet2, quiet3} {
		if m.answered(x) {
			kept.add(t[x].mapped.Port() == t[x].local)
		}
	}
	b := nat.Behaviour{
		Public:    m.public(),
		Filtering: filtering(t[filterBoth].reply, t[filterPort].reply),
		Preserved: kept.most(),
		Hairpin:   answer(t[hairpin].reply),
	}
	b.Mapping = mapping(m.compare(map2), m.compareEither(map3, map4), b.Public == nat.Yes)
	if b.Preserved == nat.No {
		b.Step = step(m.ports(b.Mapping))
	}
	b.Double = double(b.Public, m.hop)
	b.Reachable = reachable(t[reach].reply, m.servers.otherBoth.IsValid(), b.Filtering)
	for i := range m.silences {
		if m.answered(alive1 + test(i)) {
			b.Lifetime = m.silences[i]
		}
	}
	return b
}

// likeness is whether another server sees the mapper where the first one does.
type likeness uint8

const (
	unseen likeness = iota
	same
	different
)

func (m *machine) compare(t test) likeness {
	switch {
	case !m.answered(t) || !m.answered(map1):
		return unseen
	case m.trials[t].mapped == m.trials[map1].mapped:
		return same
	}
	return different
}

// compareEither is the first of two that tells anything.
func (m *machine) compareEither(t, otherwise test) likeness {
	if l := m.compare(t); l != unseen {
		return l
	}
	return m.compare(otherwise)
}

// mapping judges by what another port of the server sees, and another address (RFC 5780 section 4.3). With one address
// alone the two that are kind to the second port look the same, also of a router that keeps the devices' own ports: it may
// do that for the first address only. Without address translation there is nothing that could depend on anything.
func mapping(port, addr likeness, public bool) nat.Dependence {
	switch {
	case port == different:
		return nat.AddressAndPortDependent
	case addr == same, addr == unseen && port == same && public:
		return nat.EndpointIndependent
	case addr == different && port == same:
		return nat.AddressDependent
	}
	return nat.Unknown
}

// filtering judges by whether an answer of another address and port gets through, and one of another port (RFC 5780
// section 4.4). With one address alone, who lets the other port in may let anybody in or not.
func filtering(both, port reply) nat.Dependence {
	switch {
	case both == answered:
		return nat.EndpointIndependent
	case port == silence:
		return nat.AddressAndPortDependent
	case both == silence && port == answered:
		return nat.AddressDependent
	}
	return nat.Unknown
}

// reachable judges by whether a stranger's answer gets to the main socket. Where the server has one address alone, its other
// port is half a stranger: if not even that gets through, nobody does. A stranger that was none any more was not asked, and
// what fresh sockets saw stands in.
func reachable(r reply, twoAddresses bool, f nat.Dependence) nat.Answer {
	switch {
	case r == silence:
		return nat.No
	case r == answered && twoAddresses, r == unknown && f == nat.EndpointIndependent:
		return nat.Yes
	}
	return nat.Unsure
}

// double judges by who is the second hop: behind one router it is the provider's. An address shared by a carrier's
// subscribers (RFC 6598) is inside of its NAT, so if the device has none of these itself, there is a router of its own before
// it. Private ones may be another router's or routed ones.
func double(public nat.Answer, hop hopSeen) nat.Answer {
	switch {
	case public == nat.Yes, nat.Public(hop.who):
		return nat.No
	case shared.Contains(hop.who):
		return yesIf(!shared.Contains(hop.from))
	}
	return nat.Unsure
}

var shared = netip.MustParsePrefix("100.64.0.0/10")

// ports is the external ports of mappings in the order in which they were made.
func (m *machine) ports(d nat.Dependence) (ports []uint16) {
	order := []test{map1, map2, map3, map4, fresh, quiet1, quiet2, quiet3}
	switch d {
	case nat.AddressAndPortDependent:
	case nat.AddressDependent:
		order = []test{map1, map3, fresh, quiet1, quiet2, quiet3}
	default:
		order = []test{map1, fresh, quiet1, quiet2, quiet3}
	}
	for _, t := range order {
		if m.answered(t) {
			ports = append(ports, m.trials[t].mapped.Port())
		}
	}
	return ports
}

// The largest difference between successive ports that is taken for other devices' mappings in between, and the fewest
// differences that prove anything.
const (
	largestGap = 64
	fewestGaps = 3
)

// step is by how much successive ports differ, 0 if they do not count: other devices take some in between, so it is the
// largest number of which all differences are multiples. One of them may be off, where counting began anew, or a
// retransmission made the order another one.
func step(ports []uint16) int {
	var gaps []int
	for i := 1; i < len(ports); i++ {
		gaps = append(gaps, int(int16(ports[i]-ports[i-1])))
	}
	ups := slices.DeleteFunc(slices.Clone(gaps), func(g int) bool { return g <= 0 || g > largestGap })
	downs := slices.DeleteFunc(slices.Clone(gaps), func(g int) bool { return g >= 0 || g < -largestGap })
	if len(downs) > len(ups) {
		ups = downs
	}
	if len(ups) < fewestGaps || len(ups) < len(gaps)-1 {
		return 0
	}
	n := ups[0]
	for _, g := range ups[1:] {
		n = gcd(n, g)
	}
	return n
}

// gcd has a's sign.
func gcd(a, b int) int {
	sign := 1
	if a < 0 {
		sign, a, b = -1, -a, -b
	}
	for b != 0 {
		a, b = b, a%b
	}
	return sign * a
}

// sample counts who keeps something and who does not.
type sample struct{ yes, no int }

func (s *sample) add(yes bool) {
	if yes {
		s.yes++
	} else {
		s.no++
	}
}

// most is what holds for more than half: a port that another device has already is kept by no router.
func (s sample) most() nat.Answer {
	if s.yes+s.no == 0 {
		return nat.Unsure
	}
	return yesIf(s.yes > s.no)
}

func yesIf(b bool) nat.Answer {
	if b {
		return nat.Yes
	}
	return nat.No
}

func answer(r reply) nat.Answer {
	switch r {
	case answered:
		return nat.Yes
	case silence:
		return nat.No
	}
	return nat.Unsure
}
