//go:build linux

package classify

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"simplebit/integration/natlab"
	"simplebit/integration/natlab/virtual"
)

// The names beside those of the kinds: port-restricted homes behind a natlab.Carrier.
const (
	CGNAT        = "cgnat"
	CGNATHairpin = "cgnat-hairpin"
)

// Names returns all that Table knows, in the order of the documentation.
func Names() (names []string) {
	for _, k := range natlab.Kinds() {
		names = append(names, string(k))
	}
	return append(names, CGNAT, CGNATHairpin)
}

// place is a kind of home, and the carrier in front of it.
type place struct {
	kind             natlab.Kind
	carrier, hairpin bool
}

func parsePlace(name string) (place, error) {
	if name == CGNAT || name == CGNATHairpin {
		return place{natlab.PortRestricted, true, name == CGNATHairpin}, nil
	}
	if _, err := natlab.ParseKind(name); err != nil {
		return place{}, fmt.Errorf("classify: no kind %q: want one of %s", name, strings.Join(Names(), " "))
	}
	return place{kind: natlab.Kind(name)}, nil
}

// only6 reports whether the home has IPv6 only.
func (p place) only6() bool {
	return slices.Contains([]natlab.Kind{natlab.IPv6Open, natlab.IPv6Firewalled}, p.kind)
}

// scene is a lab with a device in a home, and two hosts on the internet.
type scene struct {
	*place
	lab     *natlab.Lab
	servers [2]*natlab.Host
	router  *natlab.Router
	before  *natlab.Carrier // the router; nil: none
	device  *natlab.Host
	port    uint16       // of the servers in the latest World
	next    *natlab.Host // in another home behind the same carrier, whose router is a full cone; nil: none
}

// build makes the lab.
func (p place) build() (*scene, error) {
	lab, err := natlab.New(natlab.Config{Name: "classify"})
	if err != nil {
		return nil, err
	}
	s := &scene{place: &p, lab: lab}
	if err := s.fill(); err != nil {
		return nil, errors.Join(err, lab.Close())
	}
	return s, nil
}

func (s *scene) fill() (err error) {
	for i, name := range []string{"server1", "server2"} {
		if s.servers[i], err = s.lab.Host(name); err != nil {
			return err
		}
	}
	c := natlab.RouterConfig{Kind: s.kind}
	if s.carrier {
		if s.before, err = s.lab.Carrier("carrier", natlab.CarrierConfig{Hairpin: s.hairpin}); err != nil {
			return err
		}
		c.Carrier = s.before
	}
	if s.router, err = s.lab.Router("home", c); err != nil {
		return err
	}
	if s.device, err = s.router.Host("device"); err != nil || !s.carrier || s.only6() {
		return err
	}
	next, err := s.lab.Router("next", natlab.RouterConfig{Kind: natlab.FullCone, Carrier: c.Carrier})
	if err != nil {
		return err
	}
	s.next, err = next.Host("neighbour")
	return err
}

// address is the host's in the family that the home is judged by.
func (s *scene) address(h *natlab.Host) netip.Addr {
	if s.only6() {
		return h.Addr6()
	}
	return h.Addr()
}

// twoFamilies reports whether the home is judged by IPv6 as well.
func (s *scene) twoFamilies() bool { return s.device.Addr().IsValid() && s.device.Addr6().IsValid() }

// kernel is the scene as a World, by IPv6 or IPv4.
func (s *scene) kernel(six bool) (*Kernel, error) {
	// A program that is just being started still has the sockets of the World before.
	s.port = max(s.port, 6999) + 2
	c := KernelConfig{Device: s.device, Servers: s.servers, Next: s.next, IPv6: six, Port: s.port}
	if s.kind != natlab.None {
		c.Outside = s.router.External()
	}
	if s.router.LAN().IsValid() {
		c.Gateway = s.router.LAN().Addr().Next()
	}
	return NewKernel(c)
}

// virtual is the twin of the place, by IPv6 or IPv4.
func (p place) virtual(six bool) (*Virtual, error) {
	var internet virtual.Internet
	c := virtual.Config{LAN: netip.MustParsePrefix("192.168.1.0/24"), LAN6: netip.MustParsePrefix("2001:db8:1:1::/64"), Seed: 1}
	if p.kind == natlab.None {
		c.LAN = netip.MustParsePrefix("198.18.2.0/24")
	}
	var carrier *virtual.NAT
	if p.carrier {
		var err error
		if carrier, err = virtual.NewCarrier(virtual.CarrierConfig{Hairpin: p.hairpin, Seed: 2}); err != nil {
			return nil, err
		}
		internet.Attach(carrier, nil)
		var devices netip.Prefix
		if c.External, devices = virtual.Homes(1); p.kind == natlab.None {
			c.LAN = devices
		}
	}
	home, err := virtual.New(p.kind, c)
	if err != nil {
		return nil, err
	}
	internet.Attach(home, carrier)
	if six {
		return NewVirtual(&internet, home, withLast(c.LAN6.Addr(), 10)), nil
	}
	w := NewVirtual(&internet, home, withLast(c.LAN.Addr(), 10))
	if p.carrier {
		n := virtual.Config{LAN: netip.MustParsePrefix("192.168.2.0/24"), Seed: 3}
		n.External, _ = virtual.Homes(2)
		if w.next.home, err = virtual.New(natlab.FullCone, n); err != nil {
			return nil, err
		}
		w.next.device = withLast(n.LAN.Addr(), 10)
		internet.Attach(w.next.home, carrier)
	}
	return w, nil
}

// withLast returns the address with another last number.
func withLast(a netip.Addr, last byte) netip.Addr {
	b := a.AsSlice()
	b[len(b)-1] = last
	a, _ = netip.AddrFromSlice(b)
	return a
}
