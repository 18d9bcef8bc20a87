//go:build linux

package natlab_test

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"simplebit/integration/natlab"
)

// patience is how long a test waits for what must happen, on a machine that has other things to do.
const patience = time.Minute

// street is a lab with two servers on the internet, each with two ports.
type street struct {
	t       *testing.T
	lab     *natlab.Lab
	hosts   [2]*natlab.Host
	servers [4]*net.UDPConn // two of the first host, two of the second
	six     bool            // devices are asked for IPv6
}

// newStreet makes a lab with servers that speak IPv4, or IPv6.
func newStreet(t *testing.T, six bool) *street {
	t.Helper()
	lab, hosts := newLab(t, "server1", "server2")
	s := &street{t: t, lab: lab, hosts: [2]*natlab.Host(hosts), six: six}
	for i := range s.servers {
		s.servers[i] = s.socket(hosts[i/2])
	}
	return s
}

// router adds a home.
func (s *street) router(name string, c natlab.RouterConfig) *natlab.Router {
	s.t.Helper()
	r, err := s.lab.Router(name, c)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// device adds a device to a home.
func (s *street) device(r *natlab.Router, name string) *natlab.Host {
	s.t.Helper()
	h, err := r.Host(name)
	if err != nil {
		s.t.Fatal(err)
	}
	return h
}

// socket opens a UDP socket on the host's address.
func (s *street) socket(h *natlab.Host) *net.UDPConn {
	s.t.Helper()
	return s.socketAt(h, 0)
}

func (s *street) socketAt(h *natlab.Host, port uint16) *net.UDPConn {
	s.t.Helper()
	addr := h.Addr()
	if s.six {
		addr = h.Addr6()
	}
	pc, err := h.ListenPacket("udp", netip.AddrPortFrom(addr, port).String())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { pc.Close() })
	return pc.(*net.UDPConn)
}

// local is a socket's own address.
func local(c *net.UDPConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

// send sends one datagram.
func (s *street) send(c *net.UDPConn, to netip.AddrPort, payload string) {
	s.t.Helper()
	if _, err := c.WriteToUDPAddrPort([]byte(payload), to); err != nil {
		s.t.Fatal(err)
	}
}

// expect reads datagrams until the one with this payload, and returns who sent it and what came before.
func (s *street) expect(c *net.UDPConn, payload string) (from netip.AddrPort, before []string) {
	s.t.Helper()
	b := make([]byte, 2048)
	c.SetReadDeadline(time.Now().Add(patience))
	for {
		n, from, err := c.ReadFromUDPAddrPort(b)
		if err != nil {
			s.t.Fatalf("%q does not arrive at %v, only %q: %v", payload, local(c), before, err)
		}
		if string(b[:n]) == payload {
			return from, before
		}
		before = append(before, string(b[:n]))
	}
}

// seen sends from c to one of the servers and returns what the server takes for its address.
func (s *street) seen(c *net.UDPConn, server int) netip.AddrPort {
	s.t.Helper()
	payload := "seen " + time.Now().Format(time.StampNano)
	s.send(c, local(s.servers[server]), payload)
	from, _ := s.expect(s.servers[server], payload)
	return from
}

// settle returns what had arrived at c, whose external endpoint was opened towards the server, when a few packets had gone
// there and back behind it. So a test need not wait for what must not come.
func (s *street) settle(c *net.UDPConn, server int) (arrived string) {
	s.t.Helper()
	var all []string
	for i := range 3 {
		onEachProcessor(s.t, func(processor int) {
			payload := fmt.Sprint("settle ", i, " on ", processor)
			s.send(c, local(s.servers[server]), payload)
			from, _ := s.expect(s.servers[server], payload)
			s.send(s.servers[server], from, payload)
			_, before := s.expect(c, payload)
			all = append(all, before...)
		})
	}
	return strings.Join(all, ", ")
}

// onEachProcessor calls what sends packets once on each processor that this process may use. The kernel keeps packets in order
// that were sent on one processor; those of another that is busy may come later.
func onEachProcessor(t *testing.T, send func(processor int)) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	defer unix.SchedSetaffinity(0, &all)
	for processor, left := 0, all.Count(); left > 0; processor++ {
		if !all.IsSet(processor) {
			continue
		}
		left--
		var one unix.CPUSet
		one.Set(processor)
		if err := unix.SchedSetaffinity(0, &one); err != nil {
			t.Fatal(err)
		}
		send(processor)
	}
}
