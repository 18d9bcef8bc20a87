package virtual

import (
	"net/netip"
	"testing"

	"simplebit/integration/natlab"
)

// neighbours are two homes behind one carrier, with the same LAN, and one elsewhere.
func neighbours(t *testing.T, kind natlab.Kind, hairpin bool) (i *Internet, homes [3]*NAT) {
	t.Helper()
	carrier, err := NewCarrier(CarrierConfig{Hairpin: hairpin})
	if err != nil {
		t.Fatal(err)
	}
	i = new(Internet)
	i.Attach(carrier, nil)
	for n := range homes {
		c, upstream := Config{Seed: uint64(n)}, (*NAT)(nil)
		if n < 2 {
			c.External, _ = Homes(n + 1)
			upstream = carrier
		}
		homes[n] = home(t, kind, c)
		i.Attach(homes[n], upstream)
	}
	return i, homes
}

// seenBy sends from a device of the home to a public host.
func seenBy(t *testing.T, i *Internet, from *NAT, to netip.AddrPort) netip.AddrPort {
	t.Helper()
	at, p, ok := i.Send(start, from, Packet{testDevices[0], to})
	if at != nil || !ok || p.To != to {
		t.Fatalf("sent to %v, but %v arrived", to, p)
	}
	return p.From
}

func TestHomesPunchThroughToEachOther(t *testing.T) {
	for _, c := range []struct {
		a, b          int
		hairpin, meet bool
	}{{0, 2, false, true}, {0, 1, true, true}, {0, 1, false, false}} {
		i, homes := neighbours(t, natlab.PortRestricted, c.hairpin)
		a, b := homes[c.a], homes[c.b]
		outA, outB := seenBy(t, i, a, testPublic[0]), seenBy(t, i, b, testPublic[0])
		if _, _, ok := i.Send(start, a, Packet{testDevices[0], outB}); ok {
			t.Errorf("%+v: the first packet got through", c)
		}
		if to, p, ok := i.Send(start, b, Packet{testDevices[0], outA}); ok != c.meet || ok && (to != a || p != Packet{outB, testDevices[0]}) {
			t.Errorf("%+v: the second packet: %v, %v", c, p, ok)
		}
		if to, p, ok := i.Send(start, a, Packet{testDevices[0], outB}); ok != c.meet || ok && (to != b || p != Packet{outA, testDevices[0]}) {
			t.Errorf("%+v: the third packet: %v, %v", c, p, ok)
		}
	}
}

func TestNothingLeadsToAPrivateAddressFromElsewhere(t *testing.T) {
	i, homes := neighbours(t, natlab.FullCone, true)
	carried, _ := Homes(1)
	for _, to := range []netip.AddrPort{testDevices[0], netip.AddrPortFrom(carried, 6881)} {
		if at, p, ok := i.Send(start, nil, Packet{testPublic[0], to}); ok && at != nil {
			t.Errorf("%v arrived at a home", p)
		}
	}
	if at, p, ok := i.Send(start, homes[2], Packet{testDevices[0], testDevices[1]}); at != homes[2] || !ok || p.From != testDevices[0] {
		t.Errorf("within the LAN %v arrived elsewhere", p)
	}
}

func TestPublicHomesBehindACarrierAndIPv6(t *testing.T) {
	carrier, err := NewCarrier(CarrierConfig{})
	if err != nil {
		t.Fatal(err)
	}
	var i Internet
	i.Attach(carrier, nil)
	router, devices := Homes(3)
	n := home(t, natlab.None, Config{External: router, LAN: devices, IPv6: natlab.IPv6Firewalled})
	i.Attach(n, carrier)
	device := netip.AddrPortFrom(devices.Addr().Next(), 6881)
	_, p, ok := i.Send(start, n, Packet{device, testPublic[0]})
	if !ok || p.From.Addr() != carrier.External() || p.From.Port() < 22048 || p.From.Port() >= 23072 {
		t.Errorf("seen as %v, want the carrier's address and a port of the third home", p.From)
	}
	if at, back, ok := i.Send(start, nil, Packet{testPublic[0], p.From}); at != n || !ok || back.To != device {
		t.Errorf("the answer becomes %v", back)
	}
	if _, p, ok := i.Send(start, n, Packet{testSix[0], testPublic6[0]}); !ok || p.From != testSix[0] {
		t.Errorf("IPv6 is seen as %v", p.From)
	}
	if at, p, ok := i.Send(start, nil, Packet{testPublic6[0], testSix[0]}); at != n || !ok || p.To != testSix[0] {
		t.Errorf("the answer by IPv6 becomes %v", p)
	}
	if _, p, ok := i.Send(start, nil, Packet{testPublic6[1], testSix[0]}); ok {
		t.Errorf("a stranger's %v arrived by IPv6", p)
	}
}
