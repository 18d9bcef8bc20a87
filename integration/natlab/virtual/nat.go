package virtual

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"simplebit/integration/natlab"
)

// Side is a side of a NAT.
type Side uint8

// The sides. Dropped: the packet went to neither, because it was lost or is for the NAT itself.
const (
	Dropped Side = iota
	Inside
	Outside
)

// Config describes a home's router. The zero value works. The families are told apart by the packets.
type Config struct {
	// External is the router's IPv4 address outside. Default 198.18.1.2.
	External netip.Addr
	// LAN is the home's IPv4 addresses; public ones where nothing is translated. Default 192.168.1.0/24, or 198.18.2.0/24.
	LAN netip.Prefix
	// LAN6 is the home's IPv6 addresses where it has any. Default 2001:db8:1:1::/64.
	LAN6 netip.Prefix
	// IPv6 gives a kind that has only IPv4 IPv6 as well: natlab.IPv6Open or natlab.IPv6Firewalled. Default: none.
	IPv6 natlab.Kind
	// Timeout is how long a mapping lives without traffic. Default 2 minutes.
	Timeout time.Duration
	// Seed is what random ports are made from.
	Seed uint64
}

const defaultTimeout = 2 * time.Minute

// NAT is a router, or a carrier. It keeps at most 65,536 flows and as many mappings, and is not for concurrent use. The
// time that its methods are told never goes back.
type NAT struct {
	kind      natlab.Kind
	four, six *box // nil: the family is not there
	carrier   bool
}

// box is what a NAT does with one family.
type box struct {
	rules     rules
	firewall  bool // tracks what it does not translate, and lets in answers only
	external  netip.Addr
	inside    netip.Prefix
	timeout   time.Duration
	flows     flows
	learned   memory
	forwards  map[uint16]netip.AddrPort
	block     func(netip.Addr) (first, last uint16) // a carrier's ports by home
	random    *rand.Rand
	elsewhere bool // the inside is whatever is not outside: a carrier's IPv6
}

// New makes a router of that kind. It is an error if there is no such kind, if Config asks one that has IPv6, or a kind
// that is not of IPv6, to have it, or if an address is of the wrong family.
func New(kind natlab.Kind, c Config) (*NAT, error) {
	k, ok := kinds[kind]
	if !ok {
		return nil, fmt.Errorf("virtual: no kind %q", string(kind))
	}
	if c.IPv6 != "" && (k.six != "" || c.IPv6 != natlab.IPv6Open && c.IPv6 != natlab.IPv6Firewalled) {
		return nil, fmt.Errorf("virtual: IPv6 %q on a %s router", c.IPv6, kind)
	}
	if c.IPv6 != "" {
		k.six = c.IPv6
	}
	if !c.External.IsValid() {
		c.External = netip.AddrFrom4([4]byte{198, 18, 1, 2})
	}
	if !c.LAN.IsValid() {
		c.LAN = netip.MustParsePrefix("192.168.1.0/24")
		if !k.four.translated {
			c.LAN = netip.MustParsePrefix("198.18.2.0/24")
		}
	}
	if !c.LAN6.IsValid() {
		c.LAN6 = netip.MustParsePrefix("2001:db8:1:1::/64")
	}
	if !c.External.Is4() || !c.LAN.Addr().Is4() || !c.LAN6.Addr().Is6() || c.Timeout < 0 {
		return nil, fmt.Errorf("virtual: %s router: External %v, LAN %v, LAN6 %v, Timeout %v", kind, c.External, c.LAN, c.LAN6, c.Timeout)
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	n := &NAT{kind: kind}
	if !k.only {
		n.four = newBox(k.four, c.External, c.LAN, c.Timeout, c.Seed)
	}
	if k.six != "" {
		n.six = newBox(rules{}, netip.Addr{}, c.LAN6, c.Timeout, c.Seed+1)
		n.six.firewall = k.six == natlab.IPv6Firewalled
	}
	return n, nil
}

func newBox(r rules, external netip.Addr, inside netip.Prefix, timeout time.Duration, seed uint64) *box {
	random := rand.New(rand.NewPCG(seed, 0))
	return &box{
		rules: r, external: external, inside: inside.Masked(), timeout: timeout,
		flows: newFlows(random), random: random,
	}
}

// Kind returns the router's kind. A carrier has none.
func (n *NAT) Kind() natlab.Kind { return n.kind }

// External returns the IPv4 address outside.
func (n *NAT) External() netip.Addr {
	if n.four == nil {
		return netip.Addr{}
	}
	return n.four.external
}

// Translates reports whether the NAT translates IPv4 addresses.
func (n *NAT) Translates() bool { return n.four != nil && n.four.rules.translated }

// SetTimeout sets how long mappings live without traffic. It holds for each from its next packet on. Packets of either
// direction keep the flow between two endpoints alive, but only outgoing ones keep what a full cone or address-restricted
// router lets in beyond it (RFC 4787 REQ-6).
func (n *NAT) SetTimeout(d time.Duration) {
	n.each(func(b *box) { b.timeout = max(d, 0) })
}

// Reboot makes the NAT forget every mapping, and the ports that were opened on request.
func (n *NAT) Reboot() {
	n.each(func(b *box) { b.flows, b.learned, b.forwards = newFlows(b.random), memory{}, nil })
}

// Renumber gives the NAT another IPv4 address outside and makes it forget as Reboot does. An address of IPv6 is ignored, and
// so is any on a router that translates nothing.
func (n *NAT) Renumber(external netip.Addr) {
	if !n.Translates() || !external.Is4() {
		return
	}
	n.Reboot()
	n.four.external = external
}

func (n *NAT) each(f func(*box)) {
	for _, b := range []*box{n.four, n.six} {
		if b != nil {
			f(b)
		}
	}
}

// Forward opens a port of a Mapping router to everybody, as if the device had asked for it by UPnP, NAT-PMP or PCP. The zero
// endpoint closes it. It is an error on other kinds, and for endpoints that are not in the LAN.
func (n *NAT) Forward(port uint16, to netip.AddrPort) error {
	if n.kind != natlab.Mapping || port == 0 {
		return fmt.Errorf("virtual: port %d on a %s router: no ports are opened there on request", port, n.kind)
	}
	if !to.IsValid() {
		delete(n.four.forwards, port)
		return nil
	}
	if !n.four.inside.Contains(to.Addr()) || to.Port() == 0 {
		return fmt.Errorf("virtual: port %d cannot lead to %v: it is not in %v", port, to, n.four.inside)
	}
	if n.four.forwards == nil {
		n.four.forwards = make(map[uint16]netip.AddrPort)
	}
	n.four.forwards[port] = to
	return nil
}

// Route takes a packet that came from that side, and returns what becomes of it and to which side it goes: from a device
// to the internet it is seen with its external endpoint; from the internet it is led to a device; and what a device sends
// to the NAT's own address may come back inside.
func (n *NAT) Route(now time.Time, from Side, p Packet) (Packet, Side) {
	b := n.four
	if p.To.Addr().Is6() {
		b = n.six
	}
	if b == nil || !p.From.IsValid() || !p.To.IsValid() || p.From.Port() == 0 || p.To.Port() == 0 ||
		p.From.Addr().Is4() != p.To.Addr().Is4() || !b.plausible(from, p) {
		return Packet{}, Dropped
	}
	q, to := b.route(now, from, p)
	if to == Dropped {
		return Packet{}, Dropped
	}
	return q, to
}
