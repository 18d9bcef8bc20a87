//go:build linux

package natlab

import (
	"fmt"
	"net/netip"
	"os"
	"time"

	"simplebit/nat"
)

// RouterConfig describes a home router. The zero value is the usual one.
type RouterConfig struct {
	// Kind is what it does to packets. Default PortRestricted.
	Kind Kind
	// IPv6 gives a kind that has only IPv4 IPv6 as well: IPv6Open or IPv6Firewalled. Default: none.
	IPv6 Kind
	// Carrier is the carrier's NAT that the home sits behind. Default: none, the router has a public address. IPv6 passes
	// a carrier untranslated.
	Carrier *Carrier
	// UDPTimeout is how long a mapping lives without traffic, see Router.SetUDPTimeout. Default 2 minutes.
	UDPTimeout time.Duration
	// LAN is the /24 of the home's IPv4 addresses. Default 192.168.n.0/24 for the lab's n-th home. Homes may have the same
	// one. It is not asked for when nothing is translated: such a home has public addresses.
	LAN netip.Prefix
}

// Router is a home's router: a network namespace with an interface wan0 towards the internet and a bridge lan0 with the
// home's devices. Its methods may be called from any goroutine, but for Host.
type Router struct {
	*gateway
	lab     *Lab
	kind    kind
	carrier *Carrier
	lan     end // lan0
	devices int
}

// Router adds a home router to the lab, without devices. It counts as one machine of the lab, and as two if it translates
// nothing. It takes about 60 ms.
func (l *Lab) Router(name string, c RouterConfig) (*Router, error) {
	if c.Kind == "" {
		c.Kind = PortRestricted
	}
	k, err := c.Kind.find()
	if err != nil {
		return nil, err
	}
	if c.IPv6 != "" {
		six, err := c.IPv6.find()
		if err != nil || !six.only6() || k.rules6 != "" {
			return nil, fmt.Errorf("natlab: router %s: IPv6 %q on a %s router: want %s or %s on one that has IPv4 only",
				name, c.IPv6, c.Kind, IPv6Open, IPv6Firewalled)
		}
		k.rules6 = six.rules6
	}
	if c.LAN.IsValid() && (!c.LAN.Addr().Is4() || c.LAN.Bits() != 24) {
		return nil, fmt.Errorf("natlab: router %s: LAN %v is no /24 of IPv4", name, c.LAN)
	}
	timeout, err := timeoutOr(c.UDPTimeout, defaultTimeout)
	if err != nil {
		return nil, fmt.Errorf("natlab: router %s: %w", name, err)
	}
	n, err := l.claim(name)
	if err != nil {
		return nil, err
	}
	r := &Router{lab: l, kind: k, carrier: c.Carrier}
	near, far, err := l.wanEnds(name, n, k, c.Carrier)
	if err != nil {
		return nil, err
	}
	if r.lan, err = l.lanEnd(n, k, c); err != nil {
		return nil, err
	}
	far.routes = r.routesTo(near)
	m, err := l.machine(name, n, near, far, far)
	if err != nil {
		return nil, err
	}
	r.lan.ns = m.near.ns
	if c.Carrier != nil {
		m.behind = c.Carrier.machine
	}
	r.gateway = &gateway{machine: m, external: near.addr, rules: ruleSet{Timeout: timeout, Hairpin: k.hairpins()}}
	if r.lan.addr.IsValid() {
		r.rules.LAN = r.LAN()
	}
	if k.rules4 != "" {
		r.file = k.rules4 + ".nft"
	}
	r.tracks = k.rules4 != "" || k.rules6 == string(IPv6Firewalled)
	l.gateways = append(l.gateways, r.gateway)
	if err := r.setUp(); err != nil {
		return nil, fmt.Errorf("natlab: set up router %s: %w", name, err)
	}
	return r, nil
}

// lanEnd returns the address that the n-th machine has as router of its home.
func (l *Lab) lanEnd(n int, k kind, c RouterConfig) (end, error) {
	e := end{device: "lan0", local6: addrLocal6(n)}
	if k.rules6 != "" {
		e.addr6 = addr6(homeNet, n, 1)
	}
	switch {
	case k.only6():
	case k.rules4 == "" && c.Carrier != nil:
		e.addr = subscriber(c.Carrier.homes, 128, 1)
	case k.rules4 == "":
		public, err := l.number()
		if err != nil {
			return end{}, err
		}
		e.addr = newEnd("", public, 1).addr
	case c.LAN.IsValid():
		e.addr = c.LAN.Masked().Addr().Next()
	default:
		e.addr = netip.AddrFrom4([4]byte{192, 168, byte(1 + l.homes%254), 1})
	}
	l.homes++
	return e, nil
}

// addrLocal6 is a link-local address for the n-th home's router.
func addrLocal6(n int) netip.Addr {
	return netip.AddrFrom16([16]byte{0xfe, 0x80, 11: 1, 12: byte(n >> 8), 13: byte(n), 15: 1})
}

// wanEnds are the two ends of a router's link to the core or its carrier.
func (l *Lab) wanEnds(name string, n int, k kind, c *Carrier) (near, far end, err error) {
	near, far = newEnd("wan0", n, 2), newEnd("to-"+name, n, 1)
	far.ns = l.core
	switch {
	case c != nil:
		if c.homes == blocks {
			return near, far, fmt.Errorf("natlab: carrier %s is full: %d homes", c.name, blocks)
		}
		c.homes++
		near.addr, far.addr = subscriber(c.homes, 0, 2), subscriber(c.homes, 0, 1)
		near.addr6, far.addr6 = addr6(carrierNet, n, 2), addr6(carrierNet, n, 1)
		far.ns = c.near.ns
	case k.name == Mapping:
		// miniupnpd opens no ports where its address is not public, and rightly knows that 198.18.0.0/15 is not. Nothing
		// in a lab can reach who owns this network.
		near.addr, far.addr = unreserved(near.addr), unreserved(far.addr)
	}
	return near, far, nil
}

// unreserved is the address in 11.0.0.0/8 with the same last bytes.
func unreserved(a netip.Addr) netip.Addr {
	b := a.As4()
	b[0] = 11
	return netip.AddrFrom4(b)
}

// routesTo lists the routes that lead to the home through the near end of its router's link.
func (r *Router) routesTo(near end) (routes []route) {
	if r.kind.rules4 == "" && r.lan.addr.IsValid() {
		routes = append(routes, route{network(r.lan.addr), near.addr})
	}
	if r.lan.addr6.IsValid() {
		routes = append(routes, route{network(r.lan.addr6), near.addr6})
	}
	return routes
}

// setUp makes the home's network and loads the rules.
func (r *Router) setUp() error {
	settings := []string{"ipv4/ip_forward=1", "ipv4/conf/all/send_redirects=0", "ipv4/conf/default/send_redirects=0"}
	if r.lan.addr6.IsValid() {
		settings = append(settings, "ipv6/conf/all/forwarding=1")
	}
	err := r.near.ns.do(func() error {
		// Where the kernel has br_netfilter, a bridge asks the rules, and hands what they send back into the LAN to one of
		// its ports itself: never to the one it came from, and without the translation of its source.
		if _, err := os.Stat("/proc/sys/net/bridge"); err == nil {
			settings = append(settings, "bridge/bridge-nf-call-iptables=0", "bridge/bridge-nf-call-ip6tables=0")
		}
		return setSysctls(settings...)
	})
	if err != nil {
		return err
	}
	// A bridge's own choice of hardware address changes with its ports, and devices would send to the old one.
	bridge := fmt.Sprintf("link add lan0 address 02:00:00:00:%02x:01 type bridge", r.lan.local6.As16()[13])
	if err := r.batch(r.near.ns, toolIP, append([]string{bridge}, r.lan.configure()...)...); err != nil {
		return err
	}
	if r.carrier != nil {
		if err := r.carrier.admit(r); err != nil {
			return err
		}
	}
	if r.kind.rules6 != "" {
		rules, err := fill(r.kind.rules6+".nft", "", nil)
		if err == nil {
			err = r.load(r.near.ns, rules)
		}
		if err != nil {
			return err
		}
	}
	if err := r.reload(); err != nil {
		return err
	}
	if err := r.applyTimeout(); err != nil {
		return err
	}
	if r.kind.name == Mapping {
		return r.startMapping()
	}
	return nil
}

// Host adds a device to the home: the k-th one gets the address with last number 9+k, and default routes through the
// router. The rules for names are Lab.Host's. It is not counted among the lab's machines. A home holds up to 200 devices;
// each takes about 30 ms. As Lab.Host it is not for concurrent use.
func (r *Router) Host(name string) (*Host, error) {
	l := r.lab
	if r.devices == maxDevices {
		return nil, fmt.Errorf("natlab: home %s is full: %d devices", r.name, maxDevices)
	}
	if err := l.claimName(name); err != nil {
		return nil, err
	}
	r.devices++
	near := end{device: "eth0", local6: withLast(r.lan.local6, firstDevice+r.devices)}
	if r.lan.addr.IsValid() {
		near.addr = withLast(r.lan.addr, firstDevice+r.devices)
	}
	if r.lan.addr6.IsValid() {
		near.addr6 = withLast(r.lan.addr6, firstDevice+r.devices)
	}
	far := end{ns: r.near.ns, device: "to-" + name, bridge: r.lan.device}
	m, err := l.machine(name, r.devices, near, far, r.lan)
	if err != nil {
		return nil, err
	}
	m.behind = r.machine
	return &Host{m}, r.lan.awaitUp()
}

// The devices of a home: how many it holds, and what their addresses' last numbers begin after.
const (
	maxDevices  = 200
	firstDevice = 9
)

// withLast returns the address with another last number.
func withLast(a netip.Addr, last int) netip.Addr {
	b := a.AsSlice()
	b[len(b)-1] = byte(last)
	a, _ = netip.AddrFromSlice(b)
	return a
}

// Kind returns the router's kind.
func (r *Router) Kind() Kind { return r.kind.name }

// LAN returns the network of the home's IPv4 addresses: the zero Prefix if it has only IPv6.
func (r *Router) LAN() netip.Prefix {
	if !r.lan.addr.IsValid() {
		return netip.Prefix{}
	}
	return network(r.lan.addr)
}

// LAN6 returns the network of the home's IPv6 addresses: the zero Prefix if it has only IPv4.
func (r *Router) LAN6() netip.Prefix {
	if !r.lan.addr6.IsValid() {
		return netip.Prefix{}
	}
	return network(r.lan.addr6)
}

// Expect returns what a classifier must find on a device of this home: Kind.Expect, and what the carrier in front of it
// adds. A carrier that hairpins shows only where the router lets the packet in: behind others two devices reach each other
// when both send.
func (r *Router) Expect() nat.Behaviour {
	b := r.kind.expect
	if r.carrier == nil || b.Blocked || r.kind.only6() {
		return b
	}
	b.Hairpin = nat.No
	if r.carrier.rules.Hairpin && b.Filtering == nat.EndpointIndependent {
		b.Hairpin = nat.Yes
	}
	b.Double = nat.Yes
	if r.kind.rules4 == "" {
		b.Double = nat.No // the carrier's is the only one
	}
	b.Filtering = nat.AddressAndPortDependent
	b.Public, b.Preserved, b.Reachable, b.Step = nat.No, nat.No, nat.No, 0
	return b
}

// Marks returns what a classifier must find, beside Expect, on a device of this home: Kind.Marks, and what the carrier in
// front of it changes. A carrier lets no stranger in, neither to spoil a port nor by one that was opened.
func (r *Router) Marks() Marks {
	m := r.kind.marks()
	if r.carrier == nil || m == (Marks{}) || r.kind.only6() {
		return m
	}
	m.Spoiled, m.Opens = min(m.Spoiled, nat.No), nat.No
	m.Neighbours = nat.No
	if r.carrier.rules.Hairpin {
		m.Neighbours = nat.Yes
	}
	return m
}
