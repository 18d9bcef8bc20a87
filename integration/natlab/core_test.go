//go:build linux

package natlab_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"simplebit/integration/natlab"
)

// slack is by how much a packet may be late for a test to pass on a machine with other things to do. One of many has to be
// in time.
const slack = 5 * time.Millisecond

// newCore makes a lab with a core in user space and some hosts.
func newCore(t *testing.T, c natlab.CoreConfig, names ...string) (*natlab.Lab, []*natlab.Host) {
	t.Helper()
	return newLabOf(t, natlab.Config{Core: &c}, names...)
}

// echo makes the host send back what it gets, and returns where.
func echo(t *testing.T, h *natlab.Host, addr netip.Addr) netip.AddrPort {
	t.Helper()
	c := listenUDP(t, h, addr)
	go func() {
		b := make([]byte, 2048)
		for {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			c.WriteToUDPAddrPort(b[:n], from)
		}
	}()
	return local(c)
}

// roundTrips returns how long the quickest and the middle of some round trips took.
func roundTrips(t *testing.T, from *natlab.Host, to netip.AddrPort) (least, middle time.Duration) {
	t.Helper()
	addr := from.Addr()
	if to.Addr().Is6() {
		addr = from.Addr6()
	}
	c := listenUDP(t, from, addr)
	var all []time.Duration
	for range 7 {
		began := time.Now()
		if _, err := c.WriteToUDPAddrPort([]byte("ping"), to); err != nil {
			t.Fatal(err)
		}
		if _, _, _, err := receive(c, patience); err != nil {
			t.Fatal(err)
		}
		all = append(all, time.Since(began))
	}
	slices.Sort(all)
	return all[0], all[len(all)/2]
}

func TestPacketsTakeTheLatencyOfTheirWay(t *testing.T) {
	const usual, far = 20 * time.Millisecond, 35 * time.Millisecond
	lab, hosts := newCore(t, natlab.CoreConfig{Latency: usual}, "attic", "cellar", "shed")
	attic, cellar, shed := hosts[0], hosts[1], hosts[2]
	home, err := lab.Router("home", natlab.RouterConfig{Kind: natlab.DualStack})
	if err != nil {
		t.Fatal(err)
	}
	phone, err := home.Host("phone")
	if err != nil {
		t.Fatal(err)
	}
	if err := lab.SetLatency(phone, shed, far); err != nil {
		t.Fatal(err)
	}
	expect := func(from *natlab.Host, to netip.AddrPort, oneWay time.Duration) {
		t.Helper()
		least, middle := roundTrips(t, from, to)
		for began := time.Now(); least > 2*oneWay+slack && time.Since(began) < patience; {
			again, _ := roundTrips(t, from, to)
			least = min(least, again)
		}
		t.Logf("%s to %v: %v, want %v; the middle is %v", from.Name(), to, least, 2*oneWay, middle)
		if least < 2*oneWay || least > 2*oneWay+slack {
			t.Errorf("%s to %v: %v, want %v", from.Name(), to, least, 2*oneWay)
		}
	}
	expect(attic, echo(t, cellar, cellar.Addr()), usual)
	expect(attic, echo(t, cellar, cellar.Addr6()), usual)
	expect(phone, echo(t, cellar, cellar.Addr()), usual)
	at := echo(t, shed, shed.Addr())
	expect(phone, at, far)
	expect(phone, echo(t, shed, shed.Addr6()), far)
	expect(attic, at, usual)
	if err := lab.SetCore(natlab.CoreConfig{}); err != nil {
		t.Fatal(err)
	}
	expect(attic, at, 0)
	expect(phone, at, far)
}

func TestWrongLatenciesAreRefused(t *testing.T) {
	t.Parallel()
	lab, hosts := newCore(t, natlab.CoreConfig{}, "attic", "cellar")
	home, err := lab.Router("home", natlab.RouterConfig{})
	if err != nil {
		t.Fatal(err)
	}
	phone, err := home.Host("phone")
	if err != nil {
		t.Fatal(err)
	}
	other, otherHosts := newLab(t, "attic")
	for name, err := range map[string]error{
		"negative":                lab.SetLatency(hosts[0], hosts[1], -1),
		"too long":                lab.SetLatency(hosts[0], hosts[1], natlab.MaxLatency+1),
		"to itself":               lab.SetLatency(hosts[0], hosts[0], 1),
		"within a home":           lab.SetLatency(phone, home, 1),
		"to another lab":          lab.SetLatency(hosts[0], otherHosts[0], 1),
		"without a core":          other.SetLatency(otherHosts[0], otherHosts[0], 1),
		"nor a configuration":     other.SetCore(natlab.CoreConfig{}),
		"a loss above everything": lab.SetCore(natlab.CoreConfig{Loss: 101}),
	} {
		if err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want an error of one line", name, err)
		}
	}
	if _, err := natlab.New(natlab.Config{Core: &natlab.CoreConfig{Latency: -1}}); err == nil {
		t.Error("a lab with a negative latency")
	}
}

func TestPacketsKeepTheirOrderWhenTheWayBecomesShorter(t *testing.T) {
	t.Parallel()
	lab, hosts := newCore(t, natlab.CoreConfig{Latency: 100 * time.Millisecond}, "attic", "cellar")
	a, b := listenUDP(t, hosts[0], hosts[0].Addr()), listenUDP(t, hosts[1], hosts[1].Addr())
	const packets = 100 // as many as a socket holds
	for i := range packets {
		if i%20 == 19 {
			if err := lab.SetLatency(hosts[0], hosts[1], time.Duration(packets-i)*time.Millisecond/2); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := a.WriteToUDPAddrPort(fmt.Append(nil, i), local(b)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range packets {
		if got, _, _, err := receive(b, patience); err != nil || got != fmt.Sprint(i) {
			t.Fatalf("packet %d: got %q, %v", i, got, err)
		}
	}
}

// icmp opens a socket for all ICMP, or ICMPv6, that the host gets.
func icmp(t *testing.T, h *natlab.Host, six bool) net.PacketConn {
	t.Helper()
	network := "ip4:icmp"
	if six {
		network = "ip6:ipv6-icmp"
	}
	c, err := h.ListenPacket(network, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// complaint waits for ICMP of that type and returns who sent it, its code and what it quotes.
func complaint(t *testing.T, c net.PacketConn, kind byte) (from netip.Addr, code byte, quote []byte) {
	t.Helper()
	b := make([]byte, 2048)
	c.SetReadDeadline(time.Now().Add(patience))
	for {
		n, addr, err := c.ReadFrom(b)
		if err != nil {
			t.Fatalf("no ICMP of type %d: %v", kind, err)
		}
		if n >= 8 && b[0] == kind {
			return netip.MustParseAddr(addr.String()), b[1], slices.Clone(b[8:n])
		}
	}
}

func TestTimeIsExceededAtTheCore(t *testing.T) {
	t.Parallel()
	_, hosts := newCore(t, natlab.CoreConfig{Latency: time.Millisecond}, "attic", "cellar")
	attic, cellar := hosts[0], hosts[1]
	for _, way := range []struct {
		from, to, core  netip.Addr
		expired, noWay  byte
		missing         netip.Addr
		headerAndPorts  int
		setHops         func(*net.UDPConn, int) error
		six             bool
		hopsThatReachIt int
	}{
		{attic.Addr(), cellar.Addr(), netip.MustParseAddr("198.18.1.1"), 11, 3, netip.MustParseAddr("198.19.1.2"), 28, func(c *net.UDPConn, n int) error { return ipv4.NewConn(c).SetTTL(n) }, false, 2},
		{attic.Addr6(), cellar.Addr6(), netip.MustParseAddr("2001:db8:0:1::1"), 3, 1, netip.MustParseAddr("2001:db8:0:99::2"), 48, func(c *net.UDPConn, n int) error { return ipv6.NewConn(c).SetHopLimit(n) }, true, 2},
	} {
		told := icmp(t, attic, way.six)
		a, b := listenUDP(t, attic, way.from), listenUDP(t, cellar, way.to)
		say := func(what string, hops int, to netip.AddrPort) {
			t.Helper()
			if err := way.setHops(a, hops); err != nil {
				t.Fatal(err)
			}
			if _, err := a.WriteToUDPAddrPort([]byte(what), to); err != nil {
				t.Fatal(err)
			}
		}
		say("short-lived", 1, local(b))
		from, code, quote := complaint(t, told, way.expired)
		if from != way.core || code != 0 || string(quote[way.headerAndPorts:]) != "short-lived" {
			t.Errorf("%v says %d about %q, want %v", from, code, quote, way.core)
		}
		say("just enough", way.hopsThatReachIt, local(b))
		payload, _, hops, err := receive(b, patience)
		if err != nil || payload != "just enough" || hops != 1 {
			t.Errorf("got %q with %d hops left, %v", payload, hops, err)
		}
		// Its own address it answers from as ever.
		say("to nobody", 64, netip.AddrPortFrom(way.missing, 1))
		if from, _, quote = complaint(t, told, way.noWay); from != way.core || string(quote[way.headerAndPorts:]) != "to nobody" {
			t.Errorf("%v says nothing leads to where %q went, want %v", from, quote, way.core)
		}
	}
}

func TestTheCoreLosesItsShare(t *testing.T) {
	t.Parallel()
	lab, hosts := newCore(t, natlab.CoreConfig{}, "attic", "cellar")
	home, err := lab.Router("home", natlab.RouterConfig{Kind: natlab.None})
	if err != nil {
		t.Fatal(err)
	}
	phone, err := home.Host("phone")
	if err != nil {
		t.Fatal(err)
	}
	// arrived counts how many packets of some bursts arrive. It waits that long for one that is sent behind each.
	const burst = 50 // as many as a socket holds
	arrived := func(from, to *natlab.Host, bursts int, wait time.Duration) (n int) {
		t.Helper()
		a, b := listenUDP(t, from, from.Addr()), listenUDP(t, to, to.Addr())
		for i := range bursts {
			for range burst {
				if _, err := a.WriteToUDPAddrPort([]byte("x"), local(b)); err != nil {
					t.Fatal(err)
				}
			}
			end := fmt.Sprint("end ", i)
			for ended, began := false, time.Now(); !ended && time.Since(began) < wait; {
				if _, err := a.WriteToUDPAddrPort([]byte(end), local(b)); err != nil {
					t.Fatal(err)
				}
				for {
					payload, _, _, err := receive(b, 30*time.Millisecond)
					if err != nil {
						break
					}
					if payload == "x" {
						n++
					}
					ended = ended || payload == end
				}
			}
		}
		return n
	}
	set := func(percent float64) {
		t.Helper()
		if err := lab.SetCore(natlab.CoreConfig{Loss: percent}); err != nil {
			t.Fatal(err)
		}
	}
	set(30)
	if n := arrived(hosts[0], hosts[1], 20, patience); n < 620 || n > 780 { // five standard deviations
		t.Errorf("%d of 1000 packets arrive where 30 %% are lost", n)
	}
	if s := lab.CoreStats(); s.Lost < 220 || s.Lost > 400 {
		t.Errorf("the core says %+v", s)
	}
	set(0)
	// What a home's line loses is lost on both ways.
	if err := home.SetLoss(30); err != nil {
		t.Fatal(err)
	}
	for _, way := range [][2]*natlab.Host{{hosts[0], phone}, {phone, hosts[0]}} {
		if n := arrived(way[0], way[1], 20, patience); n < 620 || n > 780 {
			t.Errorf("%d of 1000 packets arrive from %s where 30 %% are lost", n, way[0].Name())
		}
	}
	if err := home.SetLoss(0); err != nil {
		t.Fatal(err)
	}
	if n := arrived(hosts[0], phone, 2, patience); n != 2*burst {
		t.Errorf("%d of 100 packets arrive where none is lost", n)
	}
	set(100)
	if n := arrived(hosts[0], phone, 1, 200*time.Millisecond); n != 0 {
		t.Errorf("%d packets arrive where all are lost", n)
	}
}

// transfer sends bytes over TCP from a host to another, and returns how long it took once they are there, unchanged.
func transfer(t *testing.T, from, to *natlab.Host, size int) time.Duration {
	t.Helper()
	ln, err := to.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	content := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	failed := make(chan error, 1)
	began := time.Now()
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		port := ln.Addr().(*net.TCPAddr).AddrPort().Port()
		c, err := from.DialContext(ctx, "tcp", netip.AddrPortFrom(to.Addr(), port).String())
		if err == nil {
			_, err = c.Write(content)
			c.Close()
		}
		failed <- err
	}()
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	sum := sha256.New()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.Copy(sum, c); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	if want := sha256.Sum256(content); !bytes.Equal(sum.Sum(nil), want[:]) {
		t.Fatal("other bytes arrived")
	}
	return took
}

func TestTCPPassesTheCoreUnchanged(t *testing.T) {
	t.Parallel()
	lab, hosts := newCore(t, natlab.CoreConfig{}, "attic", "cellar")
	for _, latency := range []time.Duration{0, 5 * time.Millisecond} {
		if err := lab.SetCore(natlab.CoreConfig{Latency: latency}); err != nil {
			t.Fatal(err)
		}
		const size = 16 << 20
		took := transfer(t, hosts[0], hosts[1], size)
		t.Logf("latency %v: %.0f MB/s, %+v", latency, size/1e6/took.Seconds(), lab.CoreStats())
	}
	// A limit of the line holds as ever.
	if err := hosts[1].Shape(4<<20, 0); err != nil {
		t.Fatal(err)
	}
	if took := transfer(t, hosts[0], hosts[1], 2<<20); took < 400*time.Millisecond {
		t.Errorf("2 MiB took %v at 4 MiB/s", took)
	}
	if err := hosts[1].Cut(); err != nil {
		t.Fatal(err)
	}
	if err := hosts[1].Restore(); err != nil {
		t.Fatal(err)
	}
	transfer(t, hosts[1], hosts[0], 1<<20)
}

func TestEveryKindOfHomeWorksBehindACoreOfItsOwn(t *testing.T) {
	t.Parallel()
	natlab.Require(t)
	lab, hosts := newCore(t, natlab.CoreConfig{Latency: time.Millisecond}, "server")
	carrier, err := lab.Carrier("isp", natlab.CarrierConfig{})
	if err != nil {
		t.Fatal(err)
	}
	at4, at6 := echo(t, hosts[0], hosts[0].Addr()), echo(t, hosts[0], hosts[0].Addr6())
	for i, kind := range []natlab.Kind{natlab.None, natlab.DualStack, natlab.IPv6Open, natlab.FullConeHairpin} {
		for j, behind := range []*natlab.Carrier{nil, carrier} {
			home, err := lab.Router(fmt.Sprintf("home-%d-%d", i, j), natlab.RouterConfig{Kind: kind, Carrier: behind})
			if err != nil {
				t.Fatal(err)
			}
			phone, err := home.Host(fmt.Sprintf("phone-%d-%d", i, j))
			if err != nil {
				t.Fatal(err)
			}
			if phone.Addr().IsValid() {
				roundTrips(t, phone, at4)
			}
			if phone.Addr6().IsValid() {
				roundTrips(t, phone, at6)
			}
			if kind == natlab.FullConeHairpin {
				if err := home.Renumber(); err != nil {
					t.Fatal(err)
				}
				roundTrips(t, phone, at4)
			}
		}
	}
}

func TestLabsWithACoreOfTheirOwnLeaveNothing(t *testing.T) {
	natlab.Require(t)
	once := func() {
		t.Helper()
		lab, err := natlab.New(natlab.Config{Core: &natlab.CoreConfig{Latency: time.Second}})
		if err != nil {
			t.Fatal(err)
		}
		var file bytes.Buffer
		stop, err := lab.Record(&file)
		if err != nil {
			t.Fatal(err)
		}
		attic, err := lab.Host("attic")
		if err != nil {
			t.Fatal(err)
		}
		cellar, err := lab.Host("cellar")
		if err != nil {
			t.Fatal(err)
		}
		c, err := attic.ListenPacket("udp", ":0")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.WriteTo([]byte("under way when it ends"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(cellar.Addr(), 9)))
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if err := lab.Close(); err != nil {
			t.Fatal(err)
		}
	}
	once()
	before := traces(t)
	for range 10 {
		once()
	}
	waitFor(t, "nothing left", func() bool { return traces(t).none(before) })
}
