package virtual

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"simplebit/integration/natlab"
)

func TestRandomPacketsBreakNoPromise(t *testing.T) {
	for seed := range uint64(40) {
		for _, s := range subjects(t, seed) {
			c := newChecker(t, s)
			random := rand.New(rand.NewPCG(seed, 1))
			for range 400 {
				c.step(byte(random.Uint32()), byte(random.Uint32()), byte(random.Uint32()))
			}
		}
	}
}

func FuzzNAT(f *testing.F) {
	f.Add(byte(0), []byte("\x00\x00\x00\x03\x00\x01\x06\x64\x00\x03\x00\x00"))
	f.Add(byte(6), []byte("\x00\x00\x00\x03\x00\x02\x00\x00\x02\x00\x01\x02\x06\x32\x00\x00\x00\x02"))
	f.Add(byte(18), []byte("\x00\x00\x00\x00\x01\x01\x05\x00\x01\x05\x01\x00\x07\x00\x00\x05\x00\x01\x00\x00\x00\x05\x00\x01"))
	f.Fuzz(func(t *testing.T, which byte, steps []byte) {
		all := subjects(t, uint64(which))
		c := newChecker(t, all[int(which)%len(all)])
		for n := 0; len(steps) >= 3 && n < 400; n++ {
			c.step(steps[0], steps[1], steps[2])
			steps = steps[3:]
		}
	})
}

func TestTheSameSeedGivesTheSamePorts(t *testing.T) {
	run := func(seed uint64) (said string) {
		for _, s := range subjects(t, seed) {
			for i := range 32 {
				q, side := s.nat.Route(start, Inside, Packet{s.devices[i%4], s.public[i/4%4]})
				said += fmt.Sprint(q, side)
			}
		}
		return said
	}
	first, again := run(1), run(1)
	if first != again {
		t.Error("the same seed gave other ports")
	}
	if first == run(2) {
		t.Error("another seed gave the same ports")
	}
}

// home makes a router.
func home(t *testing.T, kind natlab.Kind, c Config) *NAT {
	t.Helper()
	n, err := New(kind, c)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// seen sends a packet out, and returns whom it seems to be from.
func seen(t *testing.T, n *NAT, now time.Time, from, to netip.AddrPort) netip.AddrPort {
	t.Helper()
	q, side := n.Route(now, Inside, Packet{from, to})
	if side != Outside {
		t.Fatalf("%v to %v went to side %d", from, to, side)
	}
	return q.From
}

func TestStrangersPacketSpoilsThePortOfABareRouterUntilItIsForgotten(t *testing.T) {
	device, server, stranger := testDevices[0], testPublic[0], testPublic[2]
	n := home(t, natlab.Bare, Config{Timeout: testTimeout})
	own := seen(t, n, start, device, server)
	if own.Port() != device.Port() {
		t.Fatalf("the port is %d at first", own.Port())
	}
	if _, side := n.Route(start, Outside, Packet{stranger, own}); side != Dropped {
		t.Fatalf("the stranger got to side %d", side)
	}
	spoiled := seen(t, n, start, device, stranger)
	if spoiled == own {
		t.Fatal("the port is kept though the stranger's packet is known by it")
	}
	// Whoever comes next is met with the port that the device had last, others still with their own.
	if got := seen(t, n, start, device, testPublic[1]); got != spoiled {
		t.Errorf("the next one sees %v, want %v", got, spoiled)
	}
	if got := seen(t, n, start, device, server); got != own {
		t.Errorf("who was there first sees %v, want %v", got, own)
	}
	// The stranger's own packets keep it so (tailscale issue #20910).
	now := start
	for range 5 {
		now = now.Add(testTimeout / 2)
		n.Route(now, Outside, Packet{stranger, own})
	}
	if got := seen(t, n, now, device, stranger); got == own {
		t.Error("retries did not keep the port spoiled")
	}
	now = now.Add(testTimeout)
	if got := seen(t, n, now, device, stranger); got != own {
		t.Errorf("after a long silence the stranger sees %v, want %v", got, own)
	}
}

func TestPortsAreSharedAsLongAsPeersDiffer(t *testing.T) {
	one, two := testDevices[0], testDevices[1]
	n := home(t, natlab.PortRestricted, Config{})
	if a, b := seen(t, n, start, one, testPublic[0]), seen(t, n, start, two, testPublic[1]); a != b {
		t.Errorf("towards different peers devices with the same port have %v and %v", a, b)
	}
	if a, b := seen(t, n, start, one, testPublic[2]), seen(t, n, start, two, testPublic[2]); a == b {
		t.Errorf("towards the same peer both have %v", a)
	}
	full := home(t, natlab.FullCone, Config{})
	if a, b := seen(t, full, start, one, testPublic[0]), seen(t, full, start, two, testPublic[1]); a == b {
		t.Errorf("behind a full cone both have %v", a)
	}
}

func TestWhatIsHeardKeepsAFlowButNotWhatIsOpenBeyond(t *testing.T) {
	device, server, stranger := testDevices[0], testPublic[0], testPublic[2]
	n := home(t, natlab.FullCone, Config{Timeout: testTimeout})
	own := seen(t, n, start, device, server)
	now := start
	for range 4 {
		now = now.Add(testTimeout * 3 / 4)
		if _, side := n.Route(now, Outside, Packet{server, own}); side != Inside {
			t.Fatalf("the server is not heard after %v", now.Sub(start))
		}
	}
	if _, side := n.Route(now, Outside, Packet{stranger, own}); side != Dropped {
		t.Error("a stranger gets in though the device sent nothing for long (RFC 4787 REQ-6)")
	}
	if _, side := n.Route(now.Add(testTimeout-1), Outside, Packet{server, own}); side != Inside {
		t.Error("a flow ended before its timeout")
	}
	if _, side := n.Route(now.Add(2*testTimeout), Outside, Packet{server, own}); side != Dropped {
		t.Error("a flow outlived its timeout")
	}
}

func TestSequentialPortsBeginAnewAfterAReboot(t *testing.T) {
	n := home(t, natlab.Sequential, Config{})
	for round := range 2 {
		for i, peer := range testPublic {
			if got := seen(t, n, start, testDevices[0], peer); got.Port() != uint16(20000+i) {
				t.Errorf("round %d: port %d for the %d. peer", round, got.Port(), i)
			}
		}
		n.Reboot()
	}
	// All 4096 are taken towards one peer before any comes again.
	for i := range uint16(sequenceLength) {
		seen(t, n, start, netip.AddrPortFrom(testDevices[0].Addr(), 1024+i), testPublic[0])
	}
	if q, side := n.Route(start, Inside, Packet{netip.AddrPortFrom(testDevices[0].Addr(), 9999), testPublic[0]}); side != Dropped {
		t.Errorf("the same port was given twice: %v", q)
	}
}

func TestRenumberedRouterIsSeenFromItsNewAddress(t *testing.T) {
	n := home(t, natlab.FullCone, Config{})
	old := seen(t, n, start, testDevices[0], testPublic[0])
	renewed := netip.MustParseAddr("198.18.1.3")
	n.Renumber(renewed)
	if _, side := n.Route(start, Outside, Packet{testPublic[0], netip.AddrPortFrom(renewed, old.Port())}); side != Dropped {
		t.Error("a mapping outlived the address")
	}
	if got := seen(t, n, start, testDevices[0], testPublic[0]); got.Addr() != renewed || n.External() != renewed {
		t.Errorf("seen as %v, want %v", got, renewed)
	}
	n.Renumber(netip.MustParseAddr("2001:db8::1"))
	if n.External() != renewed {
		t.Errorf("renumbered to %v", n.External())
	}
}

func TestForwardedPortIsOpenToEverybodyUntilAReboot(t *testing.T) {
	n := home(t, natlab.Mapping, Config{})
	at := netip.AddrPortFrom(n.External(), 7777)
	if err := n.Forward(7777, testDevices[1]); err != nil {
		t.Fatal(err)
	}
	if q, side := n.Route(start, Outside, Packet{testPublic[0], at}); side != Inside || q.To != testDevices[1] {
		t.Errorf("%v, side %d", q, side)
	}
	if got := seen(t, n, start, testDevices[1], testPublic[0]); got != at {
		t.Errorf("the answer comes from %v, want %v", got, at)
	}
	n.Reboot()
	if _, side := n.Route(start, Outside, Packet{testPublic[0], at}); side != Dropped {
		t.Error("open after a reboot")
	}
	if err := n.Forward(7777, testDevices[1]); err != nil {
		t.Fatal(err)
	}
	if err := n.Forward(7777, netip.AddrPort{}); err != nil {
		t.Fatal(err)
	}
	if _, side := n.Route(start, Outside, Packet{testPublic[0], at}); side != Dropped {
		t.Error("open after it was closed")
	}
	if n.Forward(0, testDevices[1]) == nil || n.Forward(1, testPublic[0]) == nil || home(t, natlab.FullCone, Config{}).Forward(1, testDevices[0]) == nil {
		t.Error("nonsense was accepted")
	}
}

func TestFloodsOfPortsAreBounded(t *testing.T) {
	for _, s := range subjects(t, 1) {
		switch natlab.Kind(s.name) {
		case natlab.FullCone, natlab.Bare, natlab.IPv6Firewalled:
		default:
			continue // they keep the same, and some take long to look for free ports
		}
		now := start
		for i := range maxFlows + 1000 {
			now = now.Add(time.Microsecond)
			from := netip.AddrPortFrom(s.devices[i%len(s.devices)].Addr(), uint16(1+i%65535))
			to := netip.AddrPortFrom(s.public[0].Addr(), uint16(1+i/65535))
			s.nat.Route(now, Inside, Packet{from, to})
			s.nat.Route(now, Outside, Packet{to, netip.AddrPortFrom(s.nat.External(), from.Port())})
		}
		s.nat.each(func(b *box) {
			if len(b.flows.known) > 2*maxFlows || len(b.learned.out.entries) > maxLearned || len(b.learned.in.entries) > maxLearned {
				t.Errorf("%s keeps %d, %d and %d", s.name, len(b.flows.known), len(b.learned.out.entries), len(b.learned.in.entries))
			}
		})
		// It works again when they have ended.
		q, side := s.nat.Route(now.Add(testTimeout), Inside, Packet{s.devices[0], s.public[0]})
		if side != Outside {
			t.Errorf("%s: afterwards %v, side %d", s.name, q, side)
		}
	}
}

func TestNonsenseGoesNowhere(t *testing.T) {
	zero := netip.AddrPort{}
	for _, s := range subjects(t, 1) {
		device, peer := s.devices[0], s.public[0]
		external := netip.AddrPortFrom(s.nat.External(), 6881)
		packets := map[Packet]Side{
			{zero, peer}: Inside, {device, zero}: Inside, {zero, zero}: Outside, {device, peer}: Dropped,
			{device, netip.AddrPortFrom(peer.Addr(), 0)}: Inside, {netip.AddrPortFrom(device.Addr(), 0), peer}: Inside,
			{testDevices[0], testPublic6[0]}: Inside, {testSix[0], testPublic[0]}: Inside,
			{peer, s.public[1]}:    Inside,  // not from the home
			{device, s.devices[1]}: Outside, // nor from the internet
		}
		if s.nat.Translates() {
			packets[Packet{external, external}] = Outside
		}
		for p, from := range packets {
			if q, side := s.nat.Route(start, from, p); side != Dropped || q != (Packet{}) {
				t.Errorf("%s: %v from side %d became %v to side %d", s.name, p, from, q, side)
			}
		}
	}
	for _, c := range []Config{
		{IPv6: natlab.Bare}, {External: netip.MustParseAddr("::1")}, {LAN: netip.MustParsePrefix("fd00::/8")},
		{LAN6: netip.MustParsePrefix("10.0.0.0/8")}, {Timeout: -1},
	} {
		if _, err := New(natlab.FullCone, c); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
	if _, err := New("cone", Config{}); err == nil {
		t.Error("a kind that there is not was accepted")
	}
	if _, err := NewCarrier(CarrierConfig{External: netip.MustParseAddr("::1")}); err == nil {
		t.Error("a carrier with IPv6 was accepted")
	}
}
