package udpmux

import (
	"bytes"
	"errors"
	"flag"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"simplebit/integration/natlab"
)

func TestMain(m *testing.M) {
	// A fuzzing worker talks with its parent by files that Enter does not hand on.
	flag.Parse()
	if flag.Lookup("test.fuzz").Value.String() == "" {
		natlab.Enter()
	}
	os.Exit(m.Run())
}

// pair is a socket on each of two hosts with Ethernet's MTU and a router between them.
func pair(t *testing.T) (home, away *natlab.Host, a, b *Socket) {
	natlab.Require(t)
	lab, err := natlab.New(natlab.Config{Name: "udpmux"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
	})
	host := func(name string) (*natlab.Host, *Socket) {
		h, err := lab.Host(name)
		if err != nil {
			t.Fatal(err)
		}
		pc, err := h.ListenPacket("udp", ":0")
		if err != nil {
			t.Fatal(err)
		}
		s, err := New(pc.(*net.UDPConn), Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return h, s
	}
	home, a = host("home")
	away, b = host("away")
	return home, away, a, b
}

func TestDatagramTooLongForTheInterfaceIsTold(t *testing.T) {
	home, away, a, b := pair(t)
	got := make(chan int, 100)
	b.Handle(UTP, func(_ time.Time, runs []Run) {
		for _, r := range runs {
			for d := range r.Datagrams() {
				got <- len(d)
			}
		}
	})
	run(t, b)
	for _, c := range []struct {
		ip      netip.Addr
		longest int
	}{{away.Addr(), 1500 - 20 - 8}, {away.Addr6(), 1500 - 40 - 8}} {
		to := netip.AddrPortFrom(c.ip, uint16(b.local.Port))
		for _, n := range []int{1, 10} {
			if err := a.Send(to, numbered(n, c.longest+1, c.longest+1), c.longest+1); !errors.Is(err, syscall.EMSGSIZE) {
				t.Errorf("%d datagrams of %d bytes to %s: %v", n, c.longest+1, c.ip, err)
			}
			// The kernel's idea of the path is not asked, so that the MTU search can go above it.
			if err := a.Send(to, numbered(n, c.longest, c.longest), c.longest); err != nil {
				t.Errorf("%d datagrams of %d bytes to %s: %v", n, c.longest, c.ip, err)
			}
			for range n {
				if size := <-got; size != c.longest {
					t.Errorf("a datagram of %d bytes arrived, not %d", size, c.longest)
				}
			}
		}
		narrow := `ip "$1" route replace $(ip "$1" route show default | head -n 1 | sed 's/ pref.*//') mtu 1300`
		version := "-4"
		if c.ip.Is6() {
			version = "-6"
		}
		if out, err := home.Command(t.Context(), "sh", "-ec", narrow, "sh", version).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if err := a.Send(to, numbered(3, c.longest, c.longest), c.longest); err != nil {
			t.Errorf("with a path MTU of 1300 to %s: %v", c.ip, err)
		}
		for range 3 {
			if size := <-got; size != c.longest {
				t.Errorf("with a path MTU of 1300, a datagram of %d bytes arrived, not %d", size, c.longest)
			}
		}
	}
	if st := a.Stats(); !st.Segments {
		t.Errorf("what was too long is taken for a kernel without UDP_SEGMENT: %+v", st)
	}
}

func TestPortThatIsClosedDoesNotDisturbOthers(t *testing.T) {
	_, away, a, b := pair(t)
	got := make(chan netip.AddrPort, 10)
	a.Handle(UTP, func(_ time.Time, runs []Run) { got <- runs[0].From })
	run(t, a)
	for range 20 {
		for _, ip := range []netip.Addr{away.Addr(), away.Addr6()} {
			if err := a.Send(netip.AddrPortFrom(ip, 9), utpPacket(0, 0, 0), 0); err != nil {
				t.Errorf("to a closed port: %v", err)
			}
		}
	}
	home := a.local.Port
	for _, ip := range []string{"198.18.1.2", "2001:db8:0:1::2"} {
		if err := b.Send(netip.AddrPortFrom(netip.MustParseAddr(ip), uint16(home)), utpPacket(0, 0, 0), 0); err != nil {
			t.Error(err)
		}
		if from := <-got; from.Port() != uint16(b.local.Port) {
			t.Errorf("from %s", from)
		}
	}
}

func TestLinkLocalAddressesKeepTheirZone(t *testing.T) {
	natlab.Require(t)
	if out, err := exec.Command("ip", "address", "replace", "fe80::1/64", "dev", "lo", "nodad").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	a, b := open(t, "udp", ":0", Config{}), open(t, "udp6", ":0", Config{})
	got := make(chan Run, 100)
	b.Handle(UTP, func(_ time.Time, runs []Run) {
		r := runs[0]
		r.Data = bytes.Clone(r.Data)
		got <- r
	})
	run(t, b)
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	for _, zone := range []string{"lo", "1"} {
		send := func() {
			if err := a.Send(at(b, "fe80::1%"+zone), utpPacket(0, 0, 0), 0); err != nil {
				t.Fatal(err)
			}
		}
		send()
		again := time.NewTicker(100 * time.Millisecond) // the kernel may be busy with the new address
		var r Run
		for r.From == (netip.AddrPort{}) {
			select {
			case r = <-got:
			case <-again.C:
				send()
			}
		}
		if again.Stop(); r.From != at(a, "fe80::1%lo") || lo.Index != 1 {
			t.Errorf("from %s", r.From)
		}
	}
	to, z := at(b, "fe80::1%lo"), new(zones)
	if allocs := testing.AllocsPerRun(100, func() {
		var sa sockaddr
		encode(&sa, to, a.family, z)
		if from, ok := decode(&sa, z); !ok || from != to {
			t.Fatalf("%s is read as %s", to, from)
		}
	}); allocs > 0 {
		t.Errorf("%v allocations for an address in a zone", allocs)
	}
	if err := a.Send(at(b, "fe80::1%none"), utpPacket(0, 0, 0), 0); !errors.Is(err, syscall.ENODEV) {
		t.Errorf("an unknown zone: %v", err)
	}
}

func TestOptionsAreSetForBothFamilies(t *testing.T) {
	for _, network := range []string{"udp", "udp4", "udp6"} {
		s := open(t, network, ":0", Config{ReadBuffer: 100_000, WriteBuffer: 50_000})
		get := func(level, option int) (v int) {
			var err error
			if e := s.raw.Control(func(fd uintptr) { v, err = unix.GetsockoptInt(int(fd), level, option) }); e != nil || err != nil {
				t.Errorf("%s: %v %v", network, e, err)
			}
			return v
		}
		got := []int{get(unix.SOL_SOCKET, unix.SO_RCVBUF), get(unix.SOL_SOCKET, unix.SO_SNDBUF), get(unix.IPPROTO_IP, unix.IP_MTU_DISCOVER)}
		want := []int{200_000, 100_000, unix.IP_PMTUDISC_PROBE} // the kernel doubles, for its own overhead
		if network != "udp4" {
			got, want = append(got, get(unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER)), append(want, unix.IPV6_PMTUDISC_PROBE)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, not %v", network, got, want)
		}
	}
}
