//go:build linux

package natlab_test

import (
	"fmt"
	"net/netip"
	"testing"

	"simplebit/integration/natlab"
	"simplebit/nat"
)

// carrier adds a carrier to the lab.
func (s *street) carrier(name string, hairpin bool) *natlab.Carrier {
	s.t.Helper()
	c, err := s.lab.Carrier(name, natlab.CarrierConfig{Hairpin: hairpin})
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// shared is what a carrier's homes have their addresses in (RFC 6598).
var shared = netip.MustParsePrefix("100.64.0.0/10")

func TestHomesBehindACarrierBehaveAsTheirKindAllows(t *testing.T) {
	natlab.Require(t)
	for _, hairpin := range []bool{false, true} {
		t.Run(fmt.Sprintf("hairpin=%v", hairpin), func(t *testing.T) {
			t.Parallel()
			s := newStreet(t, false)
			carrier := s.carrier("carrier", hairpin)
			seen := map[netip.Addr]bool{}
			for i, kind := range []natlab.Kind{
				natlab.None, natlab.FullCone, natlab.PortRestricted, natlab.PortRestrictedHairpin, natlab.AddressDependent, natlab.Sequential,
			} {
				home := s.router(fmt.Sprintf("home%d", i), natlab.RouterConfig{Kind: kind, Carrier: carrier})
				device := s.device(home, fmt.Sprintf("device%d", i))
				got, want := behaviour(s, device), home.Expect()
				got.Double = answer(home.LAN().Addr().IsPrivate())
				if got != want {
					t.Errorf("%s:\n got %+v\nwant %+v", kind, got, want)
				}
				if addr := s.seen(s.socket(device), 0).Addr(); addr != carrier.External() {
					t.Errorf("%s is seen as %v, want the carrier's %v", kind, addr, carrier.External())
				}
				if !shared.Contains(home.External()) || seen[home.External()] {
					t.Errorf("%s has address %v, want one of its own in %v", kind, home.External(), shared)
				}
				seen[home.External()] = true
			}
		})
	}
}

func TestHomesOfOneCarrierMeetOnlyIfItHairpins(t *testing.T) {
	natlab.Require(t)
	for _, hairpin := range []bool{false, true} {
		t.Run(fmt.Sprintf("hairpin=%v", hairpin), func(t *testing.T) {
			t.Parallel()
			s := newStreet(t, false)
			carrier := s.carrier("carrier", hairpin)
			a := s.socketAt(s.device(s.router("a", natlab.RouterConfig{Carrier: carrier}), "a-device"), 6881)
			b := s.socketAt(s.device(s.router("b", natlab.RouterConfig{Carrier: carrier}), "b-device"), 6881)
			outA, outB := s.seen(a, 0), s.seen(b, 0)
			if outA == outB {
				t.Fatalf("both homes have %v", outA)
			}
			s.send(a, outB, "first")
			s.send(b, outA, "second")
			s.send(a, outB, "third")
			gotA, gotB := s.settle(a, 0), s.settle(b, 0)
			if !hairpin {
				if gotA != "" || gotB != "" {
					t.Errorf("without hairpinning %q and %q got through", gotA, gotB)
				}
				return
			}
			if gotA != "second" || gotB != "third" {
				t.Errorf("%q and %q got through, want what was sent after the other had: second, third", gotA, gotB)
			}
			// Endpoints stay the same within the carrier.
			s.send(a, outB, "fourth")
			if from, _ := s.expect(b, "fourth"); from != outA {
				t.Errorf("the other home is seen as %v, want %v", from, outA)
			}
		})
	}
}

func TestIPv6PassesACarrierUntranslated(t *testing.T) {
	t.Parallel()
	s := newStreet(t, true)
	carrier := s.carrier("carrier", false)
	home := s.router("home", natlab.RouterConfig{Carrier: carrier, IPv6: natlab.IPv6Firewalled})
	device := s.device(home, "device")
	if got, want := behaviour(s, device), natlab.IPv6Firewalled.Expect(); got != want {
		t.Errorf("IPv6 behind a carrier:\n got %+v\nwant %+v", got, want)
	}
	other := s.device(s.router("other", natlab.RouterConfig{Carrier: carrier, Kind: natlab.IPv6Open}), "other-device")
	to := s.socket(other)
	s.send(s.socket(device), local(to), "within")
	if from, _ := s.expect(to, "within"); from.Addr() != device.Addr6() {
		t.Errorf("a home of the same carrier is seen as %v, want %v", from, device.Addr6())
	}
	if got := home.Expect().Mapping; got != nat.EndpointIndependent {
		t.Errorf("mapping %v", got)
	}
}

func TestRebootedAndRenumberedCarrierKeepsItsHomes(t *testing.T) {
	t.Parallel()
	s := newStreet(t, false)
	carrier := s.carrier("carrier", true)
	var sockets [2]netip.AddrPort
	a := s.socket(s.device(s.router("a", natlab.RouterConfig{Carrier: carrier}), "a-device"))
	b := s.socket(s.device(s.router("b", natlab.RouterConfig{Carrier: carrier}), "b-device"))
	for _, knob := range []func() error{func() error { return nil }, carrier.Reboot, carrier.Renumber} {
		if err := knob(); err != nil {
			t.Fatal(err)
		}
		sockets[0], sockets[1] = s.seen(a, 0), s.seen(b, 0)
		if sockets[0].Addr() != carrier.External() || sockets[1].Addr() != carrier.External() {
			t.Errorf("homes are seen as %v, want %v", sockets, carrier.External())
		}
		if first, second := sockets[0].Port(), sockets[1].Port(); first < 20000 || first >= 21024 || second < 21024 || second >= 22048 {
			t.Errorf("homes have ports %d and %d, want them in their blocks of 1024 from 20000 on", first, second)
		}
	}
}
