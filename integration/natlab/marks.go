package natlab

import "simplebit/nat"

// Marks are what tells those kinds apart that have a nat.Behaviour in common. The zero value knows nothing: that is what
// there is of a home without UDP.
type Marks struct {
	// Spoiled: a stranger's packet that comes before the device's own makes the device lose, towards the stranger, the port
	// that everybody else sees. Unsure where each sees another one anyway.
	Spoiled nat.Answer
	// Opens: the router answers NAT-PMP (RFC 6886), and a port that it opens lets a stranger in. Unsure without IPv4.
	Opens nat.Answer
	// Neighbours: homes behind the same carrier reach each other by their public endpoints. Unsure without a carrier, or
	// without IPv4.
	Neighbours nat.Answer
	// IPv6 is the behaviour of a second family, where a home has two. It is the zero value for others.
	IPv6 nat.Behaviour
}

// Marks returns what a classifier must find, beside Expect, on a device behind a router of this kind without a carrier.
func (k Kind) Marks() Marks {
	found, err := k.find()
	if err != nil {
		return Marks{}
	}
	return found.marks()
}

func (k kind) marks() Marks {
	if k.expect.Blocked {
		return Marks{}
	}
	m := Marks{Spoiled: nat.No, Opens: nat.No}
	if k.expect.Mapping != nat.EndpointIndependent {
		m.Spoiled = nat.Unsure
	}
	if k.only6() {
		m.Opens = nat.Unsure
	}
	if k.rules4 != "" && k.rules6 != "" { // RouterConfig.IPv6 does that to any
		m.IPv6 = Kind(k.rules6).Expect()
	}
	switch k.name {
	case Bare:
		m.Spoiled = nat.Yes
	case Mapping:
		m.Opens = nat.Yes
	case DualStack:
		m.IPv6 = IPv6Firewalled.Expect()
	}
	return m
}
