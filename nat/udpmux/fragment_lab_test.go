package udpmux

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"simplebit/integration/natlab"
)

// narrow sets the MTU of the router's link to the host.
func narrow(t *testing.T, h *natlab.Host, mtu string) {
	t.Helper()
	output := func(name string, args ...string) string {
		out, err := h.Command(t.Context(), name, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v: %s", name, args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	router := strings.TrimSuffix(output("ip", "netns", "identify"), "-"+h.Name())
	output("ip", "-n", router, "link", "set", "to-"+h.Name(), "mtu", mtu)
}

// sizes has b tell the sizes of the datagrams that arrive.
func sizes(t *testing.T, b *Socket) chan int {
	got := make(chan int, 100)
	b.Handle(UTP, func(_ time.Time, runs []Run) {
		for _, r := range runs {
			for d := range r.Datagrams() {
				got <- len(d)
			}
		}
	})
	run(t, b)
	return got
}

func TestFragmentsPassAPathThatIsTooNarrow(t *testing.T) {
	for _, c := range []struct {
		name string
		long int
	}{
		{"IPv4", 1472},
		{"IPv6", 1452},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, away, a, b := pair(t)
			got := sizes(t, b)
			ip := away.Addr()
			if c.name == "IPv6" {
				ip = away.Addr6()
			}
			to := netip.AddrPortFrom(ip, uint16(b.local.Port))
			expect := func(what string, want ...int) {
				t.Helper()
				for i, n := range want {
					select {
					case size := <-got:
						if size != n {
							t.Fatalf("%s: %d bytes arrived and not %v", what, size, want)
						}
					case <-time.After(patience):
						t.Fatalf("%s: %d of %v arrived", what, i, want)
					}
				}
			}
			const short = 1200
			long, small := numbered(1, c.long, c.long), numbered(1, short, short)
			if err := a.SendFragmentable(to, long, 0); err != nil {
				t.Fatal(err)
			}
			expect("over a wide path", c.long)
			narrow(t, away, "1300")
			for range 3 { // the kernel must not learn from the first
				if err := a.Send(to, long, 0); err != nil {
					t.Fatal(err)
				}
				if err := a.Send(to, small, 0); err != nil {
					t.Fatal(err)
				}
				expect("what may not be fragmented", short)
				if err := a.SendFragmentable(to, numbered(3, c.long, short), c.long); err != nil {
					t.Fatal(err)
				}
				expect("what may be fragmented", c.long, c.long, short)
			}
		})
	}
}

// The own interface may be the one that became narrow.
func TestFragmentsLeaveThroughANarrowInterface(t *testing.T) {
	home, away, a, b := pair(t)
	got := sizes(t, b)
	if out, err := home.Command(t.Context(), "ip", "link", "set", "eth0", "mtu", "1300").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, ip := range []netip.Addr{away.Addr(), away.Addr6()} {
		if err := a.SendFragmentable(netip.AddrPortFrom(ip, uint16(b.local.Port)), numbered(1, 1452, 1452), 0); err != nil {
			t.Error(err)
		} else if size := <-got; size != 1452 {
			t.Errorf("%d bytes arrived", size)
		}
	}
}

// Others' datagrams must not be fragmented once such a one is gone, whatever became of it.
func TestOptionsAreAsBeforeAfterFragments(t *testing.T) {
	for _, network := range []string{"udp", "udp4", "udp6"} {
		s := open(t, network, ":0", Config{})
		options := func() (v []int) {
			for _, o := range [][2]int{{unix.IPPROTO_IP, unix.IP_MTU_DISCOVER}, {unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER}} {
				if err := s.raw.Control(func(fd uintptr) {
					n, _ := unix.GetsockoptInt(int(fd), o[0], o[1])
					v = append(v, n)
				}); err != nil {
					t.Fatal(err)
				}
			}
			return v
		}
		before := options()
		for _, to := range []string{"127.0.0.1:9", "[::1]:9", "[2001:db8::1]:9"} {
			_ = s.SendFragmentable(netip.MustParseAddrPort(to), make([]byte, 1400), 0)
		}
		if after := options(); !slices.Equal(before, after) {
			t.Errorf("%s: options %v became %v", network, before, after)
		}
	}
}
