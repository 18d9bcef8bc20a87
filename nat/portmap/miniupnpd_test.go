package portmap

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

// Real gateways: miniupnpd speaks all three.
func TestEveryMethodMapsPortsOfARealGateway(t *testing.T) {
	for _, c := range []struct{ by, deaf string }{
		{"pcp", ""},
		{"nat-pmp", "udp dport 5351 @th,64,8 2 drop"}, // PCP's version
		{"upnp", "udp dport 5351 drop"},
	} {
		t.Run(c.by, func(t *testing.T) {
			h := newHome(t, c.deaf)
			began := time.Now()
			r := h.start(h.config(deviceA), Port{UDP, 6882}, Port{TCP, 6882})
			for _, m := range r.next(2) {
				want := Mapping{m.Port, netip.AddrPortFrom(homeWAN, 6882), m.Lifetime, c.by}
				if m != want || m.Lifetime < time.Minute || m.Lifetime > defaultLease || !m.Public() {
					t.Errorf("%+v, want %+v", m, want)
				}
			}
			t.Logf("mapped after %v", time.Since(began))
			h.reach(netip.AddrPortFrom(homeWAN, 6882), netip.AddrPortFrom(deviceA, 6882))
			h.restartDaemonAndWait(r, c.by)
			h.reach(netip.AddrPortFrom(homeWAN, 6882), netip.AddrPortFrom(deviceA, 6882))
			if took := r.finish(); took > exitTime+5*time.Second { // of a busy machine; by itself it is held to exitTime in virtual time
				t.Errorf("it took %v to end", took)
			}
			if rules := h.rules(); strings.Contains(rules, "dnat") {
				t.Errorf("still mapped: %s", rules)
			}
		})
	}
}

// restartDaemonAndWait restarts the gateway's daemon, which forgets all, and waits for the mappings to be there again.
// By PCP and NAT-PMP its announcement is enough; UPnP has none that says as much, so somebody has to notice.
func (h *home) restartDaemonAndWait(r *running, by string) {
	h.t.Helper()
	h.restartDaemon()
	began := time.Now()
	if by == "upnp" {
		r.Check()
	}
	h.await("mapped again", func() bool { return h.mapped() == 2 })
	h.t.Logf("mapped again after %v", time.Since(began))
}

func (h *home) mapped() int { return strings.Count(h.rules(), "dnat") }

// reach has somebody outside send a datagram and connect to an external address, which have to arrive inside.
func (h *home) reach(external, internal netip.AddrPort) {
	h.t.Helper()
	pc, err := h.device.ListenPacket("udp", internal.String())
	if err != nil {
		h.t.Fatal(err)
	}
	defer pc.Close()
	ln, err := h.device.Listen("tcp", internal.String())
	if err != nil {
		h.t.Fatal(err)
	}
	defer ln.Close()
	u, err := h.outside.DialContext(h.t.Context(), "udp", external.String())
	if err != nil {
		h.t.Fatal(err)
	}
	defer u.Close()
	h.datagram(u, pc)
	c, err := h.outside.DialContext(h.t.Context(), "tcp", external.String())
	if err != nil {
		h.t.Errorf("TCP: %v", err)
		return
	}
	defer c.Close()
	ln.(*net.TCPListener).SetDeadline(time.Now().Add(patience))
	in, err := ln.Accept()
	if err != nil {
		h.t.Errorf("TCP: %v", err)
		return
	}
	in.Close()
}

// datagram sends a datagram until it arrives: the gateway's daemon adds the rule that lets it in after the one that shows.
func (h *home) datagram(from net.Conn, to net.PacketConn) {
	h.t.Helper()
	buf := make([]byte, 16)
	for deadline := time.Now().Add(patience); ; {
		// An ICMP message that the one before met is reported here.
		_, _ = from.Write([]byte("hello"))
		to.SetDeadline(time.Now().Add(50 * time.Millisecond))
		n, seen, err := to.ReadFrom(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(deadline) {
			continue
		}
		if err != nil || string(buf[:n]) != "hello" || seen.String() != from.LocalAddr().String() {
			h.t.Errorf("UDP: %q from %v, %v", buf[:n], seen, err)
		}
		return
	}
}

func TestWhatAnotherDeviceHasIsMappedElsewhere(t *testing.T) {
	for _, c := range []struct{ by, deaf string }{{"pcp", ""}, {"nat-pmp", "udp dport 5351 @th,64,8 2 drop"}, {"upnp", "udp dport 5351 drop"}} {
		t.Run(c.by, func(t *testing.T) {
			h := newHome(t, c.deaf)
			first := h.start(h.config(deviceA), Port{UDP, 7000}).next(1)[0]
			second := h.start(h.config(deviceB), Port{UDP, 7000}).next(1)[0]
			if first.External.Port() != 7000 || second.External.Port() == 7000 || second.External.Addr() != homeWAN || second.By != c.by {
				t.Errorf("%+v and %+v", first, second)
			}
		})
	}
}

func TestHostsFindTheirGateway(t *testing.T) {
	h := newHome(t, "")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := h.run(h.device, "", "env", printGateway+"=1", self), "192.168.77.1 <nil> fd00:77::1 <nil>\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// PCP opens a firewall's ports too: the address outside is the device's own.
func TestAnIPv6FirewallIsOpened(t *testing.T) {
	h := newHome(t, "")
	c := h.config(netip.MustParseAddr("fd00:77::5"))
	c.Gateway = netip.MustParseAddr("fd00:77::1")
	r := h.start(c, Port{UDP, 6882}, Port{TCP, 6882})
	inside := netip.MustParseAddrPort("[fd00:77::5]:6882")
	for _, m := range r.next(2) {
		if m.External != inside || m.By != "pcp" || m.Public() {
			t.Errorf("%+v", m)
		}
	}
	h.reach(inside, inside)
}
