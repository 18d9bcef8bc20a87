package natlab

import (
	"fmt"
	"slices"

	"simplebit/nat"
)

// Kind is a kind of home router: what it does to the packets of the devices behind it. A carrier's NAT in front of it is
// not a kind, see Carrier.
type Kind string

// The kinds of routers.
const (
	None                  Kind = "none"
	FullCone              Kind = "full-cone"
	FullConeHairpin       Kind = "full-cone-hairpin"
	AddressRestricted     Kind = "address-restricted"
	PortRestricted        Kind = "port-restricted"
	PortRestrictedHairpin Kind = "port-restricted-hairpin"
	Bare                  Kind = "bare"
	PortShifted           Kind = "port-shifted"
	AddressDependent      Kind = "address-dependent"
	Sequential            Kind = "sequential"
	Symmetric             Kind = "symmetric"
	Mapping               Kind = "mapping"
	DualStack             Kind = "dual-stack"
	IPv6Open              Kind = "ipv6-open"
	IPv6Firewalled        Kind = "ipv6-firewalled"
	UDPBlocked            Kind = "udp-blocked"
	TCP443Only            Kind = "tcp443-only"
)

// Step is by how much the ports of a sequential router's successive mappings differ.
const Step = 1

// kind is what there is to know of one. Its rules are files in rules/, named without ".nft".
type kind struct {
	name     Kind
	describe string
	rules4   string // "": IPv4 is not translated
	rules6   string // "": there is no IPv6 on the LAN
	expect   nat.Behaviour
}

// hairpins reports whether the rules of IPv4 are to have their part on hairpinning.
func (k kind) hairpins() bool { return k.rules4 != "" && k.expect.Hairpin == nat.Yes }

// only6 reports whether the LAN has no IPv4.
func (k kind) only6() bool { return k.name == IPv6Open || k.name == IPv6Firewalled }

var (
	portRestricted = nat.Behaviour{
		Public: nat.No, Mapping: nat.EndpointIndependent, Filtering: nat.AddressAndPortDependent,
		Preserved: nat.Yes, Hairpin: nat.No, Double: nat.No, Reachable: nat.No,
	}
	// open has no translation: what a device sends to its own address never leaves it, so it "hairpins".
	open = nat.Behaviour{
		Public: nat.Yes, Mapping: nat.EndpointIndependent, Filtering: nat.EndpointIndependent,
		Preserved: nat.Yes, Hairpin: nat.Yes, Double: nat.No, Reachable: nat.Yes,
	}
)

// with returns b after change.
func with(b nat.Behaviour, change func(*nat.Behaviour)) nat.Behaviour {
	change(&b)
	return b
}

// kinds is all of them, in the order of the documentation: from no obstacle to the worst.
var kinds = []kind{
	{None, "no NAT: devices have public addresses, nothing is filtered", "", "", open},
	{FullCone, "one port for all destinations, open to everybody", "full-cone", "", with(portRestricted, func(b *nat.Behaviour) {
		b.Filtering, b.Reachable = nat.EndpointIndependent, nat.Yes
	})},
	{FullConeHairpin, "full cone, and devices reach each other by their public endpoints", "full-cone", "", with(portRestricted, func(b *nat.Behaviour) {
		b.Filtering, b.Reachable, b.Hairpin = nat.EndpointIndependent, nat.Yes, nat.Yes
	})},
	{AddressRestricted, "one port for all destinations, open to addresses that the device has sent to", "address-restricted", "", with(portRestricted, func(b *nat.Behaviour) {
		b.Filtering = nat.AddressDependent
	})},
	{PortRestricted, "the usual home router (Linux): one port for all destinations, open to endpoints that the device has sent to", "port-restricted", "", portRestricted},
	{PortRestrictedHairpin, "port restricted, and devices reach each other by their public endpoints", "port-restricted", "", with(portRestricted, func(b *nat.Behaviour) {
		b.Hairpin = nat.Yes
	})},
	{Bare, "Linux masquerade without a firewall: a stranger's packet that comes before the device's own spoils its port", "bare", "", portRestricted},
	{PortShifted, "one port for all destinations, which is not the device's own", "port-shifted", "", with(portRestricted, func(b *nat.Behaviour) {
		b.Preserved = nat.No
	})},
	{AddressDependent, "a random port for each address that the device sends to", "address-dependent", "", with(portRestricted, func(b *nat.Behaviour) {
		b.Mapping, b.Preserved = nat.AddressDependent, nat.No
	})},
	{Sequential, "symmetric: the next port in turn for each endpoint that the device sends to", "sequential", "", with(portRestricted, func(b *nat.Behaviour) {
		b.Mapping, b.Preserved, b.Step = nat.AddressAndPortDependent, nat.No, Step
	})},
	{Symmetric, "a random port for each endpoint that the device sends to", "symmetric", "", with(portRestricted, func(b *nat.Behaviour) {
		b.Mapping, b.Preserved = nat.AddressAndPortDependent, nat.No
	})},
	{Mapping, "port restricted, with miniupnpd: opens ports on request by UPnP, NAT-PMP and PCP", "port-restricted", "", portRestricted},
	{DualStack, "port restricted, and IPv6 behind a firewall", "port-restricted", "ipv6-firewalled", portRestricted},
	{IPv6Open, "IPv6 only, nothing is filtered", "", "ipv6-open", open},
	{IPv6Firewalled, "IPv6 only, open to endpoints that the device has sent to", "", "ipv6-firewalled", with(open, func(b *nat.Behaviour) {
		b.Filtering, b.Reachable = nat.AddressAndPortDependent, nat.No
	})},
	{UDPBlocked, "TCP is translated, UDP goes nowhere", "udp-blocked", "", nat.Behaviour{Blocked: true}},
	{TCP443Only, "nothing but TCP to port 443 gets out", "tcp443-only", "", nat.Behaviour{Blocked: true}},
}

// Kinds returns every kind, in the order of the documentation.
func Kinds() []Kind {
	names := make([]Kind, len(kinds))
	for i, k := range kinds {
		names[i] = k.name
	}
	return names
}

// ParseKind returns the kind of that name. The error lists them all.
func ParseKind(name string) (Kind, error) {
	if _, err := Kind(name).find(); err != nil {
		return "", err
	}
	return Kind(name), nil
}

// Describe returns one line about the kind, without a full stop. It is empty for a kind that there is not.
func (k Kind) Describe() string {
	found, _ := k.find()
	return found.describe
}

// Expect returns what a classifier must find on a device behind a router of this kind without a carrier, of the zero
// value's meaning for a kind that there is not. DualStack is judged by its IPv4 here and by IPv6 in Marks, the kinds of
// IPv6 by that. Lifetime is not told: it is the router's UDPTimeout.
func (k Kind) Expect() nat.Behaviour {
	found, _ := k.find()
	return found.expect
}

// find looks the kind up.
func (k Kind) find() (kind, error) {
	i := slices.IndexFunc(kinds, func(have kind) bool { return have.name == k })
	if i < 0 {
		return kind{}, fmt.Errorf("natlab: no kind %q: want one of %v", string(k), Kinds())
	}
	return kinds[i], nil
}
