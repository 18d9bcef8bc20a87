package rendezvous

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
)

func TestOnlyAddressesThatStrangersMayNameAreContacted(t *testing.T) {
	for _, c := range []struct {
		addr            string
		strict, private bool // allowed
	}{
		{"198.18.0.9:6881", true, true},
		{"[2001:db8::9]:6881", true, true},
		{"10.0.0.1:6881", false, true},
		{"192.168.1.1:80", false, true},
		{"172.16.0.1:80", false, true},
		{"100.64.0.1:80", false, true},
		{"127.0.0.1:80", false, true},
		{"169.254.169.254:80", false, true},
		{"[::1]:80", false, true},
		{"[::ffff:127.0.0.1]:80", false, true},
		{"[::ffff:10.0.0.1]:80", false, true},
		{"[fd00::1]:80", false, true},
		{"[fe80::1%eth0]:80", false, true},
		{"[64:ff9b::7f00:1]:80", false, true},
		{"0.0.0.0:80", false, false},
		{"[::]:80", false, false},
		{"224.0.0.1:80", false, false},
		{"[ff02::1]:80", false, false},
		{"198.18.0.9:0", false, false},
		// The surrogate itself, on each of its addresses and the public one.
		{"198.18.0.5:6881", false, false},
		{"[::ffff:198.18.0.5]:6881", false, false},
		{"203.0.113.7:6881", false, false},
		{"10.0.0.5:6881", false, false},
		{"198.18.0.5:6882", true, true},
	} {
		for _, private := range []bool{false, true} {
			g := newGuard(private, []string{"203.0.113.7:14433", "home.example.org"}, addrs(t, "198.18.0.5/24", "10.0.0.5/8"), 6881)
			want := c.strict
			if private {
				want = c.private
			}
			if got := g.candidate(netip.MustParseAddrPort(c.addr)); got != want {
				t.Errorf("%s with private addresses allowed %v: %v, want %v", c.addr, private, got, want)
			}
		}
	}
	if newGuard(true, nil, nil, 1).candidate(netip.AddrPort{}) {
		t.Error("the zero address may be contacted")
	}
}

func TestNoConnectionReachesThisMachineUnlessThatIsAllowed(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	strict := net.Dialer{Control: newGuard(false, nil, nil, 6881).control}
	for _, to := range []struct{ network, addr string }{
		{"tcp", ln.Addr().String()},
		{"tcp", "localhost:" + port}, // refused after it is resolved
		{"tcp", "[::ffff:127.0.0.1]:" + port},
		{"tcp", "0.0.0.0:" + port},
		{"udp", udp.LocalAddr().String()},
	} {
		c, err := strict.DialContext(ctx, to.network, to.addr)
		if err == nil {
			c.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "--allow-private") {
			t.Errorf("%s %s: %v", to.network, to.addr, err)
		}
	}
	open := net.Dialer{Control: newGuard(true, nil, nil, 6881).control}
	c, err := open.DialContext(ctx, "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}
