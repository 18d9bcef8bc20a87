package udpmux

import (
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"simplebit/integration/natlab"
)

func TestDatagramDiesAtTheHopItsTTLSays(t *testing.T) {
	natlab.Require(t)
	lab, err := natlab.New(natlab.Config{Name: "ttl"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lab.Close() })
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	carrier, err := lab.Carrier("carrier", natlab.CarrierConfig{})
	must(err)
	home, err := lab.Router("home", natlab.RouterConfig{Kind: natlab.DualStack, Carrier: carrier})
	must(err)
	device, err := home.Host("device")
	must(err)
	away, err := lab.Host("away")
	must(err)
	socket := func(h *natlab.Host, network string) *Socket {
		pc, err := h.ListenPacket(network, ":0")
		must(err)
		s, err := New(pc.(*net.UDPConn), Config{})
		must(err)
		t.Cleanup(func() { s.Close() })
		return s
	}
	peer := socket(away, "udp")
	got := make(chan byte, 100)
	peer.Handle(UTP, func(_ time.Time, runs []Run) {
		for _, r := range runs {
			for b := range r.Datagrams() {
				got <- b[19]
			}
		}
	})
	run(t, peer)
	const routers, plain = 3, 100 // the home's, the carrier's and the core
	probe := utpPacket(0, 0, 0)
	for _, c := range []struct {
		network string
		to      []netip.Addr
	}{{"udp", []netip.Addr{away.Addr(), netip.AddrFrom16(away.Addr().As16()), away.Addr6()}}, {"udp4", []netip.Addr{away.Addr()}}, {"udp6", []netip.Addr{away.Addr6()}}} {
		s := socket(device, c.network)
		for _, ip := range c.to {
			to := netip.AddrPortFrom(ip, uint16(peer.local.Port))
			var arrived []byte
			for ttl := 1; ttl <= routers+2; ttl++ {
				probe[19] = byte(ttl)
				must(s.SendTTL(to, probe, ttl))
				probe[19] = plain
				must(s.Send(to, probe, 0))
				for b := range got {
					if b == plain {
						break
					}
					arrived = append(arrived, b)
				}
			}
			if !slices.Equal(arrived, []byte{routers + 1, routers + 2}) {
				t.Errorf("%s to %s: of TTLs 1 to 5, %d arrived behind %d routers", c.network, ip, arrived, routers)
			}
		}
	}
}

func TestTTLOfOneDatagramIsSeenByItsReceiverOnly(t *testing.T) {
	for _, c := range []struct{ network, ip string }{{"udp", "127.0.0.1"}, {"udp", "::1"}, {"udp4", "127.0.0.1"}, {"udp6", "::1"}} {
		a, b := open(t, c.network, ":0", Config{}), open(t, "udp", ":0", Config{})
		var err error
		b.raw.Control(func(fd uintptr) {
			if err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVTTL, 1); err == nil {
				err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, 1)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []int{64, 1, 64, 255, 3, 64} {
			if want == 64 {
				err = a.Send(at(b, c.ip), []byte{1}, 0)
			} else {
				err = a.SendTTL(at(b, c.ip), []byte{1}, want)
			}
			if err != nil {
				t.Fatal(err)
			}
			oob := make([]byte, 128)
			_, n, _, _, err := b.conn.ReadMsgUDPAddrPort(make([]byte, 10), oob)
			if err != nil {
				t.Fatal(err)
			}
			var ttls []int
			messages, _ := unix.ParseSocketControlMessage(oob[:n])
			for _, m := range messages {
				if m.Header.Type == unix.IP_TTL || m.Header.Type == unix.IPV6_HOPLIMIT {
					ttls = append(ttls, int(m.Data[0])|int(m.Data[3]))
				}
			}
			if !slices.Equal(ttls, []int{want}) {
				t.Errorf("%s to %s: TTLs %d, not %d", c.network, c.ip, ttls, want)
			}
		}
	}
	a := open(t, "udp", ":0", Config{})
	for _, ttl := range []int{-1, 0, 256} {
		if a.SendTTL(at(a, "127.0.0.1"), []byte{1}, ttl) == nil {
			t.Errorf("a TTL of %d is sent", ttl)
		}
	}
	to, b := at(a, "127.0.0.1"), []byte{1}
	if allocs := testing.AllocsPerRun(100, func() { _ = a.SendTTL(to, b, 5) }); allocs > 0 {
		t.Errorf("%v allocations for a datagram with a TTL", allocs)
	}
}
