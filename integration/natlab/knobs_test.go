//go:build linux

package natlab_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"simplebit/integration/natlab"
)

func TestRebootForgetsMappings(t *testing.T) {
	natlab.Require(t)
	for _, kind := range []natlab.Kind{natlab.FullCone, natlab.Symmetric, natlab.PortRestricted, natlab.IPv6Firewalled} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := newStreet(t, kind == natlab.IPv6Firewalled)
			home := s.router("home", natlab.RouterConfig{Kind: kind})
			c := s.socket(s.device(home, "device"))
			before := s.seen(c, 0)
			s.settle(c, 0)
			if err := home.Reboot(); err != nil {
				t.Fatal(err)
			}
			s.send(s.servers[0], before, "too late")
			s.seen(c, 2)
			if got := s.settle(c, 2); got != "" {
				t.Errorf("%q got through a mapping from before the reboot", got)
			}
			after := s.seen(c, 0)
			if changed := after != before; changed != (kind == natlab.Symmetric) {
				t.Errorf("endpoint %v before and %v after the reboot", before, after)
			}
			s.settle(c, 0)
		})
	}
}

func TestRenumberedHomeIsSeenFromItsNewAddressOnly(t *testing.T) {
	t.Parallel()
	s := newStreet(t, false)
	home := s.router("home", natlab.RouterConfig{Kind: natlab.FullConeHairpin})
	device := s.device(home, "device")
	c := s.socket(device)
	before := s.seen(c, 0)
	for range 3 {
		old := home.External()
		if err := home.Renumber(); err != nil {
			t.Fatal(err)
		}
		if home.External() == old {
			t.Fatalf("the address is still %v", old)
		}
		s.send(s.servers[0], before, "to the old address")
		after := s.seen(c, 2)
		if got := s.settle(c, 2); got != "" {
			t.Errorf("%q got through", got)
		}
		if after.Addr() != home.External() || s.seen(c, 0) != after {
			t.Errorf("seen as %v, want %v", after, home.External())
		}
		before = after
	}
	// What the rules say of the address is the new one.
	s.send(s.socket(device), before, "hairpin")
	s.expect(c, "hairpin")
	if err := s.router("open", natlab.RouterConfig{Kind: natlab.None}).Renumber(); err == nil {
		t.Error("a router that translates nothing was renumbered")
	}
}

func TestMappingsEndAfterTheirTimeoutWithoutTraffic(t *testing.T) {
	natlab.Require(t)
	for _, kind := range []natlab.Kind{natlab.FullCone, natlab.PortRestricted, natlab.IPv6Firewalled} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := newStreet(t, kind == natlab.IPv6Firewalled)
			home := s.router("home", natlab.RouterConfig{Kind: kind})
			c := s.socket(s.device(home, "device"))
			if err := home.SetUDPTimeout(2 * time.Second); err != nil {
				t.Fatal(err)
			}
			stranger := 0
			if kind == natlab.FullCone {
				stranger = 3
			}
			open := s.seen(c, 0)
			s.send(s.servers[stranger], open, "in time")
			s.expect(c, "in time")
			// The kernel's own clock has to run.
			time.Sleep(3500 * time.Millisecond)
			s.send(s.servers[stranger], open, "too late")
			s.seen(c, 1)
			if got := s.settle(c, 1); got != "" {
				t.Errorf("%q got through a mapping that had ended", got)
			}
		})
	}
}

func TestLossTakesItsShareOfEachWay(t *testing.T) {
	natlab.Require(t)
	t.Parallel()
	for _, six := range []bool{false, true} {
		s := newStreet(t, six)
		home := s.router("home-1", natlab.RouterConfig{Kind: natlab.DualStack})
		c := s.socket(s.device(home, "device"))
		out := s.seen(c, 0)
		const packets = 150 // as many small ones as a socket holds
		for _, loss := range []struct{ percent, least, most float64 }{{30, 0.12, 0.5}, {100, 1, 1}, {0, 0, 0}} {
			if err := home.SetLoss(loss.percent); err != nil {
				t.Fatal(err)
			}
			for i := range packets {
				s.send(c, local(s.servers[0]), fmt.Sprint("up ", i))
				s.send(s.servers[0], out, fmt.Sprint("down ", i))
			}
			if err := home.SetLoss(0); err != nil {
				t.Fatal(err)
			}
			s.send(c, local(s.servers[0]), "end")
			_, up := s.expect(s.servers[0], "end")
			s.send(s.servers[0], out, "end")
			_, down := s.expect(c, "end")
			for way, got := range map[string]int{"up": len(up), "down": len(down)} {
				if lost := 1 - float64(got)/packets; lost < loss.least || lost > loss.most {
					t.Errorf("IPv6 %v: %.0f%% of what went %s was lost, want %v%%", six, 100*lost, way, loss.percent)
				}
			}
		}
		for _, bad := range []float64{-1, 101, math.NaN()} {
			if err := home.SetLoss(bad); err == nil {
				t.Errorf("a loss of %v%% was accepted", bad)
			}
		}
		for _, bad := range []time.Duration{0, -1, 900 * time.Millisecond} {
			if err := home.SetUDPTimeout(bad); err == nil {
				t.Errorf("a timeout of %v was accepted", bad)
			}
		}
	}
}

func TestHomeThatWasCutOffIsReachedAgain(t *testing.T) {
	t.Parallel()
	for _, six := range []bool{false, true} {
		s := newStreet(t, six)
		// Nothing is translated, so the core needs a route to the home's network.
		home := s.router("home", natlab.RouterConfig{Kind: natlab.None, IPv6: natlab.IPv6Open})
		device := s.device(home, "device")
		c := s.socket(device)
		s.seen(c, 0)
		for _, link := range []interface {
			Cut() error
			Restore() error
		}{home, device} {
			if err := link.Cut(); err != nil {
				t.Fatal(err)
			}
			s.send(c, local(s.servers[0]), "cut")
			if err := link.Restore(); err != nil {
				t.Fatal(err)
			}
			s.send(c, local(s.servers[0]), "restored")
			if _, before := s.expect(s.servers[0], "restored"); len(before) > 0 {
				t.Errorf("%q crossed a link that was cut", before)
			}
			s.send(s.servers[2], local(c), "stranger")
			s.expect(c, "stranger")
		}
	}
}

// askAgain is after how long without an answer a request is repeated.
const askAgain = time.Second

func TestMappingRouterOpensPortsOnRequest(t *testing.T) {
	t.Parallel()
	s := newStreet(t, false)
	home := s.router("home", natlab.RouterConfig{Kind: natlab.Mapping})
	device := s.device(home, "device")
	c := s.socketAt(device, 6881)
	router := netip.AddrPortFrom(home.LAN().Addr().Next(), 5351)

	// NAT-PMP (RFC 6886 section 3): external address; UDP port 6881 for an hour.
	ask := func(request []byte, size int) []byte {
		t.Helper()
		pmp := s.socket(device)
		answer := make([]byte, 64)
		for range 10 {
			s.send(pmp, router, string(request))
			pmp.SetReadDeadline(time.Now().Add(askAgain))
			n, err := pmp.Read(answer)
			if err != nil {
				continue
			}
			if n != size || binary.BigEndian.Uint16(answer[2:]) != 0 {
				t.Fatalf("NAT-PMP answer %x, want %d bytes with result 0", answer[:n], size)
			}
			return answer[:n]
		}
		t.Fatal("no answer to NAT-PMP")
		return nil
	}
	if got, _ := netip.AddrFromSlice(ask([]byte{0, 0}, 12)[8:]); got != home.External() {
		t.Errorf("external address %v, want %v", got, home.External())
	}
	open := func() netip.AddrPort {
		t.Helper()
		mapped := ask([]byte{0, 1, 0, 0, 6881 >> 8, 6881 & 255, 6881 >> 8, 6881 & 255, 0, 0, 3600 >> 8, 3600 & 255}, 16)
		return netip.AddrPortFrom(home.External(), binary.BigEndian.Uint16(mapped[10:]))
	}
	outside := open()
	s.send(s.servers[2], outside, "stranger")
	s.expect(c, "stranger")
	if got := s.seen(c, 0); got != outside {
		t.Errorf("with a mapped port the device is seen as %v, want %v", got, outside)
	}

	if err := home.Reboot(); err != nil {
		t.Fatal(err)
	}
	s.send(s.servers[2], outside, "forgotten")
	s.seen(c, 0)
	if got := s.settle(c, 0); got != "" {
		t.Errorf("after a reboot %q got through", got)
	}
	if got := open(); got != outside {
		t.Errorf("after a reboot the port is %v, want %v", got, outside)
	}
	s.send(s.servers[3], outside, "stranger again")
	s.expect(c, "stranger again")

	// SSDP, by multicast over the home's bridge (UPnP Device Architecture 1.1 section 1.3.2).
	ssdp := s.socket(device)
	reply := make([]byte, 2048)
	var n int
	for range 10 {
		s.send(ssdp, netip.MustParseAddrPort("239.255.255.250:1900"), strings.Join([]string{"M-SEARCH * HTTP/1.1", "HOST: 239.255.255.250:1900",
			`MAN: "ssdp:discover"`, "MX: 1", "ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1", "", ""}, "\r\n"))
		ssdp.SetReadDeadline(time.Now().Add(askAgain))
		if n, _ = ssdp.Read(reply); n > 0 {
			break
		}
	}
	if where := []byte("LOCATION: http://" + router.Addr().String() + ":"); !bytes.Contains(bytes.ToUpper(reply[:n]), bytes.ToUpper(where)) {
		t.Errorf("answer to M-SEARCH %q, want %s", reply[:n], where)
	}
}
