//go:build linux

package natlab_test

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"simplebit/integration/natlab"
	"simplebit/nat"
)

// behaviour finds out by plain sockets what a home does to a device's UDP. It looks at mappings first: a stranger's packet
// can spoil later ones on a bare router.
func behaviour(s *street, device *natlab.Host) (b nat.Behaviour) {
	s.t.Helper()
	b.Double = nat.No

	c := s.socket(device)
	var mapped [4]netip.AddrPort
	for i := range mapped {
		mapped[i] = s.seen(c, i)
	}
	b.Public = answer(mapped[0].Addr() == local(c).Addr())
	switch {
	case mapped[0] == mapped[1] && mapped[1] == mapped[2] && mapped[2] == mapped[3]:
		b.Mapping = nat.EndpointIndependent
	case mapped[0] == mapped[1] && mapped[2] == mapped[3]:
		b.Mapping = nat.AddressDependent
	default:
		b.Mapping = nat.AddressAndPortDependent
	}
	b.Preserved = answer(mapped[0].Port() == local(c).Port())
	if step := int(mapped[1].Port()) - int(mapped[0].Port()); step != 0 && step < 100 &&
		int(mapped[2].Port()) == int(mapped[1].Port())+step && int(mapped[3].Port()) == int(mapped[2].Port())+step {
		b.Step = step
	}

	c = s.socket(device)
	opened := s.seen(c, 0)
	s.send(s.servers[1], opened, "other port")
	s.send(s.servers[2], opened, "other address")
	switch got := s.settle(c, 0); got {
	case "":
		b.Filtering = nat.AddressAndPortDependent
	case "other port":
		b.Filtering = nat.AddressDependent
	case "other port, other address", "other address, other port":
		b.Filtering = nat.EndpointIndependent
	default:
		s.t.Errorf("filtering let in %q", got)
	}
	b.Reachable = answer(b.Filtering == nat.EndpointIndependent)

	from, to := s.socket(device), s.socket(device)
	fromMapped, toMapped := s.seen(from, 0), s.seen(to, 0)
	s.send(from, toMapped, "hairpin")
	b.Hairpin = answer(s.settle(to, 0) == "hairpin")
	if b.Hairpin == nat.Yes {
		// RFC 4787 REQ-9: the receiver sees the sender's external endpoint.
		s.send(from, toMapped, "again")
		if seen, _ := s.expect(to, "again"); seen != fromMapped {
			s.t.Errorf("hairpinned packet came from %v, want %v", seen, fromMapped)
		}
	}
	return b
}

func answer(yes bool) nat.Answer {
	if yes {
		return nat.Yes
	}
	return nat.No
}

func TestEachKindBehavesAsItSays(t *testing.T) {
	natlab.Require(t)
	for _, kind := range natlab.Kinds() {
		if kind.Expect().Blocked {
			continue
		}
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := newStreet(t, strings.HasPrefix(string(kind), "ipv6"))
			home := s.router("home", natlab.RouterConfig{Kind: kind})
			if got := behaviour(s, s.device(home, "device")); got != kind.Expect() || got != home.Expect() {
				t.Errorf("%s:\n got %+v\nwant %+v", kind.Describe(), got, kind.Expect())
			}
		})
	}
}

func TestBlockingKindsLetThroughWhatTheySay(t *testing.T) {
	natlab.Require(t)
	for _, c := range []struct {
		kind     natlab.Kind
		tcp80    bool
		describe string
	}{{natlab.UDPBlocked, true, "UDP"}, {natlab.TCP443Only, false, "UDP and TCP to port 80"}} {
		t.Run(string(c.kind), func(t *testing.T) {
			t.Parallel()
			s := newStreet(t, false)
			device := s.device(s.router("home", natlab.RouterConfig{Kind: c.kind}), "device")
			s.send(s.socket(device), local(s.servers[0]), "blocked")
			for _, port := range []uint16{80, 443} {
				ln, err := s.hosts[0].Listen("tcp", netip.AddrPortFrom(s.hosts[0].Addr(), port).String())
				if err != nil {
					t.Fatal(err)
				}
				defer ln.Close()
				want := port == 443 || c.tcp80
				wait := patience
				if !want {
					wait = 300 * time.Millisecond
				}
				ctx, cancel := context.WithTimeout(t.Context(), wait)
				conn, err := device.DialContext(ctx, "tcp", ln.Addr().String())
				cancel()
				if err == nil {
					conn.Close()
				}
				if (err == nil) != want {
					t.Errorf("TCP to port %d: %v, but %s must be blocked, and no more", port, err, c.describe)
				}
			}
			s.send(s.servers[1], local(s.servers[0]), "marker")
			if _, before := s.expect(s.servers[0], "marker"); len(before) > 0 {
				t.Errorf("%q got through", before)
			}
		})
	}
}

func TestBareRouterSpoilsThePortOfAPacketThatCameTooEarly(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind    natlab.Kind
		spoiled bool
	}{{natlab.Bare, true}, {natlab.PortRestricted, false}} {
		s := newStreet(t, false)
		home := s.router("home", natlab.RouterConfig{Kind: c.kind})
		socket := s.socket(s.device(home, "device"))
		mapped := s.seen(socket, 0)
		s.send(s.servers[2], mapped, "too early")
		s.settle(socket, 0)
		if got := s.seen(socket, 2); (got != mapped) != c.spoiled {
			t.Errorf("%s: the port of the device was %v, and %v for whom it heard from first", c.kind, mapped, got)
		}
	}
}

func TestDevicesWithTheSamePortKeepApart(t *testing.T) {
	natlab.Require(t)
	for _, kind := range []natlab.Kind{natlab.FullCone, natlab.AddressRestricted, natlab.PortShifted, natlab.AddressDependent} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := newStreet(t, false)
			home := s.router("home", natlab.RouterConfig{Kind: kind})
			one, two := s.socketAt(s.device(home, "one"), 6881), s.socketAt(s.device(home, "two"), 6881)
			// The first to each server is the second at the other: a port given for one destination is taken for all.
			one0, two0 := s.seen(one, 0), s.seen(two, 0)
			two2, one2 := s.seen(two, 2), s.seen(one, 2)
			if one0 == two0 || one2 == two2 {
				t.Errorf("two devices share %v, %v", one0, one2)
			}
			if kind != natlab.AddressDependent && (one0 != one2 || two0 != two2) {
				t.Errorf("ports changed with the destination: %v %v, %v %v", one0, one2, two0, two2)
			}
			s.send(s.servers[0], one0, "for one")
			s.send(s.servers[0], two0, "for two")
			s.expect(one, "for one")
			s.expect(two, "for two")
		})
	}
}

func TestLANsMayOverlapAndDevicesOfOneReachEachOther(t *testing.T) {
	t.Parallel()
	s := newStreet(t, false)
	lan := netip.MustParsePrefix("192.168.1.0/24")
	var sockets []netip.AddrPort
	for _, name := range []string{"a", "b"} {
		home := s.router("home-"+name, natlab.RouterConfig{LAN: lan})
		one, two := s.device(home, name+"1"), s.device(home, name+"2")
		if home.LAN() != lan || !lan.Contains(one.Addr()) || !lan.Contains(two.Addr()) || one.Addr() == two.Addr() {
			t.Errorf("home %s has LAN %v and devices %v, %v", name, home.LAN(), one.Addr(), two.Addr())
		}
		from, to := s.socket(one), s.socketAt(two, 7000)
		s.send(from, local(to), "hello")
		if seen, _ := s.expect(to, "hello"); seen != local(from) {
			t.Errorf("on the LAN %v is seen as %v", local(from), seen)
		}
		sockets = append(sockets, local(to))
	}
	if sockets[0] != sockets[1] {
		t.Errorf("devices have %v, want the same endpoint in both homes", sockets)
	}
}

func TestDualStackHomeHasBothFamilies(t *testing.T) {
	t.Parallel()
	s := newStreet(t, true)
	home := s.router("home", natlab.RouterConfig{Kind: natlab.DualStack})
	opened := s.router("opened", natlab.RouterConfig{Kind: natlab.Symmetric, IPv6: natlab.IPv6Open})
	for _, c := range []struct {
		home *natlab.Router
		want nat.Behaviour
	}{{home, natlab.IPv6Firewalled.Expect()}, {opened, natlab.IPv6Open.Expect()}} {
		device := s.device(c.home, c.home.Name()+"-dev")
		if got := behaviour(s, device); got != c.want {
			t.Errorf("IPv6 of %s:\n got %+v\nwant %+v", c.home.Kind(), got, c.want)
		}
		if !c.home.LAN6().Contains(device.Addr6()) || !c.home.LAN().Contains(device.Addr()) {
			t.Errorf("device has %v, %v in %v, %v", device.Addr(), device.Addr6(), c.home.LAN(), c.home.LAN6())
		}
	}
	for _, c := range []natlab.RouterConfig{
		{Kind: "nonsense"}, {IPv6: natlab.Symmetric}, {Kind: natlab.DualStack, IPv6: natlab.IPv6Open}, {UDPTimeout: time.Millisecond},
		{LAN: netip.MustParsePrefix("10.0.0.0/8")}, {LAN: netip.MustParsePrefix("2001:db8::/64")},
	} {
		if _, err := s.lab.Router("bad", c); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}

func TestEveryKindIsDescribed(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range natlab.Kinds() {
		d := k.Describe()
		if d == "" || seen[d] || strings.HasSuffix(d, ".") || strings.Contains(d, "\n") {
			t.Errorf("%s is described as %q", k, d)
		}
		seen[d] = true
		if got, err := natlab.ParseKind(string(k)); err != nil || got != k {
			t.Errorf("ParseKind(%q): %q, %v", k, got, err)
		}
	}
	if _, err := natlab.ParseKind("cone"); err == nil || !strings.Contains(err.Error(), "full-cone") {
		t.Errorf("a kind that there is not: %v, want the list", err)
	}
	if !slices.Contains(natlab.Kinds(), natlab.Bare) {
		t.Error("bare masquerade is missing")
	}
}
