package virtual

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"simplebit/integration/natlab"
	"simplebit/nat"
)

// The ends that random packets have: few, so that they meet.
var (
	testDevices = endpoints("192.168.1.10:6881", "192.168.1.11:6881", "192.168.1.10:6882", "192.168.1.11:53")
	testPublic  = endpoints("203.0.113.1:7001", "203.0.113.1:7002", "203.0.113.2:7001", "203.0.113.2:6881")
	testHomes   = endpoints("100.64.1.2:6881", "100.64.1.2:6882", "100.64.2.2:6881", "100.64.44.2:53")
	testSix     = endpoints("[2001:db8:1:1::a]:6881", "[2001:db8:1:1::b]:6881", "[2001:db8:1:1::a]:6882", "[2001:db8:1:1::b]:53")
	testPublic6 = endpoints("[2001:db8:ffff::1]:7001", "[2001:db8:ffff::1]:7002", "[2001:db8:ffff::2]:7001", "[2001:db8:ffff::2]:6881")
	start       = time.Unix(1<<30, 0)
)

func endpoints(all ...string) (parsed []netip.AddrPort) {
	for _, s := range all {
		parsed = append(parsed, netip.MustParseAddrPort(s))
	}
	return parsed
}

const testTimeout = 30 * time.Second

// subject is a NAT, and what it must hold to.
type subject struct {
	name      string
	nat       *NAT
	devices   []netip.AddrPort
	public    []netip.AddrPort
	filtering nat.Dependence // of what is let in
	steady    nat.Dependence // of what an endpoint outside depends on, if that can be relied on
	open      bool           // it translates and filters nothing
}

// subjects makes one of each kind, and carriers.
func subjects(t testing.TB, seed uint64) (all []subject) {
	t.Helper()
	for _, k := range natlab.Kinds() {
		c := Config{Timeout: testTimeout, Seed: seed}
		s := subject{name: string(k), devices: testDevices, public: testPublic, filtering: k.Expect().Filtering}
		switch k {
		case natlab.None, natlab.IPv6Open:
			s.open = true
			c.LAN = netip.MustParsePrefix("192.168.1.0/24")
		case natlab.FullCone, natlab.FullConeHairpin, natlab.AddressRestricted, natlab.PortShifted, natlab.AddressDependent:
			s.steady = k.Expect().Mapping
		}
		if k == natlab.IPv6Open || k == natlab.IPv6Firewalled {
			s.devices, s.public = testSix, testPublic6
		}
		var err error
		if s.nat, err = New(k, c); err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	for _, hairpin := range []bool{false, true} {
		n, err := NewCarrier(CarrierConfig{Hairpin: hairpin, Timeout: testTimeout, Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, subject{
			name: "carrier", nat: n, devices: testHomes, public: testPublic,
			filtering: nat.AddressAndPortDependent, steady: nat.EndpointIndependent,
		})
	}
	return all
}

// conversation is what passed between a device and somebody outside.
type conversation struct {
	inside, outside, peer netip.AddrPort
	sent, heard           time.Time // last; zero: never
}

// alive is when something last kept the conversation's flow.
func (c conversation) alive() time.Time {
	if c.heard.After(c.sent) {
		return c.heard
	}
	return c.sent
}

// checker sends packets through a NAT and remembers what an observer of both sides sees, to hold the NAT to what RFC 4787
// calls its behaviour. It knows nothing of how the NAT works.
type checker struct {
	t   testing.TB
	s   subject
	now time.Time
	all []conversation
	met map[conversation]bool // the ends of devices that met by the NAT's address
}

func newChecker(t testing.TB, s subject) *checker {
	return &checker{t: t, s: s, now: start, met: map[conversation]bool{}}
}

// out sends from a device to a peer.
func (c *checker) out(inside, peer netip.AddrPort) (outside netip.AddrPort, ok bool) {
	c.t.Helper()
	q, side := c.s.nat.Route(c.now, Inside, Packet{inside, peer})
	if side == Dropped {
		return outside, false
	}
	if side != Outside || q.To != peer {
		c.t.Fatalf("%s: %v to %v became %v to side %d", c.s.name, inside, peer, q, side)
	}
	if outside = q.From; c.s.nat.Translates() && outside.Addr() != c.s.nat.External() || !c.s.nat.Translates() && outside != inside {
		c.t.Fatalf("%s: %v is seen as %v", c.s.name, inside, outside)
	}
	heardLately := false
	for _, v := range c.all {
		heardLately = heardLately || v.inside == inside && c.now.Sub(v.heard) < testTimeout
		if v.outside == outside && v.peer == peer && v.inside != inside && c.now.Sub(v.alive()) < testTimeout {
			c.t.Fatalf("%s: %v has %v towards %v, which %v has as well", c.s.name, v.inside, outside, peer, inside)
		}
	}
	for _, v := range c.all {
		// Answers to a stranger need not keep the endpoint.
		if v.inside == inside && c.now.Sub(v.sent) < testTimeout && !heardLately && v.outside != outside &&
			(c.s.steady == nat.EndpointIndependent || c.s.steady == nat.AddressDependent && v.peer.Addr() == peer.Addr()) {
			c.t.Fatalf("%s: %v was seen as %v by %v and is now as %v by %v", c.s.name, inside, v.outside, v.peer, outside, peer)
		}
	}
	c.with(inside, outside, peer).sent = c.now
	// RFC 4787: whatever it filters, an answer gets in.
	c.in(peer, outside, inside)
	return outside, true
}

// with finds or begins a conversation.
func (c *checker) with(inside, outside, peer netip.AddrPort) *conversation {
	i := slices.IndexFunc(c.all, func(v conversation) bool { return v.inside == inside && v.outside == outside && v.peer == peer })
	if i < 0 {
		c.all = append(c.all, conversation{inside: inside, outside: outside, peer: peer})
		i = len(c.all) - 1
	}
	return &c.all[i]
}

// in sends from a peer to an endpoint outside. If a device is wanted it must arrive there.
func (c *checker) in(peer, outside, want netip.AddrPort) {
	c.t.Helper()
	q, side := c.s.nat.Route(c.now, Outside, Packet{peer, outside})
	if side == Outside {
		c.t.Fatalf("%s: %v to %v went back out as %v", c.s.name, peer, outside, q)
	}
	if want.IsValid() && (side != Inside || q != Packet{peer, want}) {
		c.t.Fatalf("%s: the answer of %v to %v became %v to side %d, want it at %v", c.s.name, peer, outside, q, side, want)
	}
	if side == Inside {
		c.mayEnter(peer, outside, q)
		c.with(q.To, outside, peer).heard = c.now
	}
}

// mayEnter fails unless the device has opened the endpoint to the peer.
func (c *checker) mayEnter(peer, outside netip.AddrPort, q Packet) {
	c.t.Helper()
	if c.s.open {
		return
	}
	for _, v := range c.all {
		if v.inside != q.To || v.outside != outside {
			continue
		}
		known := v.peer == peer && c.now.Sub(v.alive()) < testTimeout
		opened := !v.sent.IsZero() && c.now.Sub(v.sent) < testTimeout
		switch c.s.filtering {
		case nat.EndpointIndependent:
			known = known || opened
		case nat.AddressDependent:
			known = known || opened && v.peer.Addr() == peer.Addr()
		}
		if known {
			return
		}
	}
	c.t.Fatalf("%s: %v got in by %v to %v, who never opened that to it, or long ago", c.s.name, peer, outside, q.To)
}

// turn sends from a device to an endpoint of the NAT.
func (c *checker) turn(inside, outside netip.AddrPort) {
	c.t.Helper()
	q, side := c.s.nat.Route(c.now, Inside, Packet{inside, outside})
	switch {
	case side == Dropped:
	case side == Outside && !c.s.nat.Translates():
	case side != Inside || q.From.Addr() != c.s.nat.External() || !slices.Contains(c.s.devices, q.To):
		// RFC 4787 REQ-9.
		c.t.Fatalf("%s: %v to %v became %v to side %d", c.s.name, inside, outside, q, side)
	case !c.met[conversation{inside: q.To, outside: outside, peer: q.From}] &&
		!slices.ContainsFunc(c.all, func(v conversation) bool { return v.inside == q.To && v.outside == outside }):
		c.t.Fatalf("%s: %v reached %v by %v, which it never had", c.s.name, inside, q.To, outside)
	default:
		c.met[conversation{inside: inside, outside: q.From, peer: outside}] = true
	}
}

// forget is what a reboot does.
func (c *checker) forget() {
	c.s.nat.Reboot()
	c.all = nil
	clear(c.met)
}

// step does what the bytes say.
func (c *checker) step(op, a, b byte) {
	c.t.Helper()
	device, peer := c.s.devices[int(a)%len(c.s.devices)], c.s.public[int(b)%len(c.s.public)]
	outside := netip.AddrPortFrom(c.s.nat.External(), 6881)
	if len(c.all) > 0 {
		outside = c.all[int(a)%len(c.all)].outside
	} else if !c.s.nat.Translates() {
		outside = device
	}
	switch op % 8 {
	case 0, 1, 2:
		c.out(device, peer)
	case 3, 4:
		c.in(peer, outside, netip.AddrPort{})
	case 5:
		if c.s.nat.Translates() {
			c.turn(c.s.devices[int(b)%len(c.s.devices)], outside)
		}
	case 6:
		c.now = c.now.Add(time.Duration(a) * testTimeout / 100)
	case 7:
		if a < 16 {
			c.forget()
		}
	}
	if len(c.all) > 400 {
		c.all = slices.DeleteFunc(c.all, func(v conversation) bool { return c.now.Sub(v.alive()) > 2*testTimeout })
	}
}
