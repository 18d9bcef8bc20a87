package stun

import (
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

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

// lab is a device and a machine with two addresses of each family, with a router between them.
type lab struct {
	t               *testing.T
	device, machine *natlab.Host
	four, six       [2]netip.Addr // the machine's
}

func newLab(t *testing.T) *lab {
	t.Parallel()
	natlab.Require(t)
	l, err := natlab.New(natlab.Config{Name: "stun"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	host := func(name string) *natlab.Host {
		h, err := l.Host(name)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	lab := &lab{t: t, device: host("device"), machine: host("machine")}
	lab.four = [2]netip.Addr{lab.machine.Addr(), lab.machine.Addr().Next()}
	lab.six = [2]netip.Addr{lab.machine.Addr6(), lab.machine.Addr6().Next()}
	for _, a := range []string{lab.four[1].String() + "/24", lab.six[1].String() + "/64"} {
		args := []string{"address", "add", a, "dev", "eth0"}
		if lab.six[1].String()+"/64" == a {
			args = append(args, "nodad")
		}
		if out, err := lab.machine.Command(t.Context(), "ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	return lab
}

// serve runs a server of ours on the two ports of two addresses.
func (l *lab) serve(addresses [2]netip.Addr, excess int) {
	var endpoints []Endpoint
	var sockets []*net.UDPConn
	for _, a := range addresses {
		for _, port := range []uint16{3478, 3479} {
			at := netip.AddrPortFrom(a, port)
			pc, err := l.machine.ListenPacket("udp", at.String())
			if err != nil {
				l.t.Fatal(err)
			}
			c := pc.(*net.UDPConn)
			sockets = append(sockets, c)
			endpoints = append(endpoints, Endpoint{Addr: at, Socket: Conn{c}})
		}
	}
	s := server(l.t, Config{Endpoints: endpoints, Excess: excess})
	for i, c := range sockets {
		l.read(c, func(now time.Time, from netip.AddrPort, b []byte) { s.Receive(now, i, from, b) })
	}
}

// client runs a client of ours on the device.
func (l *lab) client() (*Client, uint16) {
	pc, err := l.device.ListenPacket("udp", ":0")
	if err != nil {
		l.t.Fatal(err)
	}
	conn := pc.(*net.UDPConn)
	c := NewClient(Conn{conn}, Quick)
	l.read(conn, func(now time.Time, from netip.AddrPort, b []byte) { c.Receive(now, from, b) })
	return c, uint16(conn.LocalAddr().(*net.UDPAddr).Port)
}

// read reads the socket until the test ends.
func (l *lab) read(c *net.UDPConn, f func(time.Time, netip.AddrPort, []byte)) {
	done := make(chan error, 1)
	go func() { done <- Read(c, f) }()
	l.t.Cleanup(func() {
		c.Close()
		if err := <-done; err != nil {
			l.t.Error(err)
		}
	})
}

// discover asks by our client all that RFC 5780 has, and fails unless the device is seen with its own address.
func (l *lab) discover(device netip.Addr, machine [2]netip.Addr) {
	l.t.Helper()
	c, port := l.client()
	to := netip.AddrPortFrom(machine[0], 3478)
	r, err := c.Binding(l.t.Context(), to, Options{})
	if err != nil {
		l.t.Fatal(err)
	}
	if want := netip.AddrPortFrom(device, port); r.Mapped != want || r.Origin != to || r.Other != netip.AddrPortFrom(machine[1], 3479) {
		l.t.Errorf("%+v, not %s", r, want)
	}
	for _, o := range []Options{{ChangePort: true}, {ChangeIP: true}, {ChangeIP: true, ChangePort: true}} {
		name := fmt.Sprintf("change of IP %t, of port %t", o.ChangeIP, o.ChangePort)
		o.Other = r.Other
		from := r.Other
		if !o.ChangePort {
			from = netip.AddrPortFrom(from.Addr(), to.Port())
		}
		if !o.ChangeIP {
			from = netip.AddrPortFrom(to.Addr(), from.Port())
		}
		got, err := c.Binding(l.t.Context(), to, o)
		if err != nil || got.Mapped != r.Mapped || got.Origin != from {
			l.t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	via, viaPort := l.client()
	got, err := c.Binding(l.t.Context(), to, Options{ResponsePort: port, Via: via.socket})
	if err != nil || got.Mapped != netip.AddrPortFrom(device, viaPort) {
		l.t.Errorf("by another socket: %+v, %v", got, err)
	}
}

func TestOurClientAndOurServer(t *testing.T) {
	l := newLab(t)
	l.serve(l.four, 0)
	l.serve(l.six, 0)
	l.discover(l.device.Addr(), l.four)
	l.discover(l.device.Addr6(), l.six)
}
