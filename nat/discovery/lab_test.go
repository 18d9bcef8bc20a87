package discovery

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"simplebit/integration/natlab"
	"simplebit/nat/stun"
	"simplebit/nat/udpmux"
)

// deviceTask, in the environment, makes the test binary a device that finds out what it sits behind.
const deviceTask = "DISCOVERY_TEST_DEVICE"

func TestMain(m *testing.M) {
	if task := os.Getenv(deviceTask); task != "" {
		if err := device(task); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// A fuzzing worker talks with its parent by files that Enter does not hand on.
	flag.Parse()
	if flag.Lookup("test.fuzz").Value.String() == "" {
		natlab.Enter()
	}
	os.Exit(m.Run())
}

// task is what a device is to do.
type task struct {
	Servers  []netip.AddrPort
	Works    bool
	Silences [3]time.Duration
}

// report is what it found out.
type report struct {
	First, Final Result
	FirstAfter   time.Duration
	Port         uint16 // of the main socket
	Sent         int    // datagrams, as the kernel counted them
	Error        string
}

// device is the program on a device: it has a kernel's counters, routes and threads of its own.
func device(text string) error {
	var do task
	if err := json.Unmarshal([]byte(text), &do); err != nil {
		return err
	}
	socket, err := udpmux.Listen("udp", ":0", udpmux.Config{})
	if err != nil {
		return err
	}
	defer socket.Close()
	set := udpmux.NewSet(socket)
	d := New(set)
	set.Handle(udpmux.STUN, d.Receive)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go socket.Run(ctx)
	own, err := ownAddresses()
	if err != nil {
		return err
	}
	out := report{Port: uint16(socket.LocalAddr().(*net.UDPAddr).Port)}
	begin, sent := time.Now(), datagramsSent()
	out.Final, err = d.Discover(ctx, Config{Servers: do.Servers, Own: own, Works: do.Works, silences: do.Silences}, func(r Result) {
		out.First, out.FirstAfter = r, time.Since(begin)
	})
	if err != nil {
		out.Error = err.Error()
	}
	out.Sent = datagramsSent() - sent
	return json.NewEncoder(os.Stdout).Encode(out)
}

func ownAddresses() (own []netip.Addr, err error) {
	list, err := net.InterfaceAddrs()
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			own = append(own, p.Addr())
		}
	}
	return own, err
}

// datagramsSent is the namespace's counter of UDP datagrams, of both families.
func datagramsSent() (n int) {
	v4, err4 := os.ReadFile("/proc/self/net/snmp")
	v6, err6 := os.ReadFile("/proc/self/net/snmp6")
	if errors.Join(err4, err6) != nil {
		return -1
	}
	column := -1
	for line := range strings.Lines(string(v4)) {
		f := strings.Fields(line)
		if f[0] != "Udp:" {
			continue
		}
		if column >= 0 {
			n, _ = strconv.Atoi(f[column])
			break
		}
		for i, name := range f {
			if name == "OutDatagrams" {
				column = i
			}
		}
	}
	for line := range strings.Lines(string(v6)) {
		if f := strings.Fields(line); f[0] == "Udp6OutDatagrams" {
			k, _ := strconv.Atoi(f[1])
			n += k
		}
	}
	return n
}

// street is a lab with a STUN server of ours that has two addresses of each family, each with two ports, and one that has one.
type street struct {
	t        *testing.T
	lab      *natlab.Lab
	two, one struct{ four, six []netip.AddrPort }
}

func newStreet(t *testing.T) *street {
	t.Helper()
	natlab.Require(t)
	lab, err := natlab.New(natlab.Config{Name: "discovery"})
	if err != nil {
		t.Fatal(err)
	}
	s := &street{t: t, lab: lab}
	t.Cleanup(func() {
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
	})
	two, one := s.host("two"), s.host("one")
	for _, args := range [][]string{{two.Addr().Next().String() + "/24"}, {two.Addr6().Next().String() + "/64", "nodad"}} {
		if out, err := two.Command(t.Context(), "ip", append([]string{"address", "add", "dev", "eth0"}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	s.two.four = s.serve(two, two.Addr(), two.Addr().Next())
	s.two.six = s.serve(two, two.Addr6(), two.Addr6().Next())
	s.one.four = s.serve(one, one.Addr())
	s.one.six = s.serve(one, one.Addr6())
	return s
}

func (s *street) host(name string) *natlab.Host {
	s.t.Helper()
	h, err := s.lab.Host(name)
	if err != nil {
		s.t.Fatal(err)
	}
	return h
}

// serve runs a server on two ports of each address.
func (s *street) serve(host *natlab.Host, addrs ...netip.Addr) (servers []netip.AddrPort) {
	s.t.Helper()
	var conns []*net.UDPConn
	var endpoints []stun.Endpoint
	for _, a := range addrs {
		for _, port := range []uint16{4433, 4434} {
			at := netip.AddrPortFrom(a, port)
			pc, err := host.ListenPacket("udp", at.String())
			if err != nil {
				s.t.Fatal(err)
			}
			conns = append(conns, pc.(*net.UDPConn))
			endpoints = append(endpoints, stun.Endpoint{Addr: at, Socket: stun.Conn{UDPConn: pc.(*net.UDPConn)}})
			servers = append(servers, at)
		}
	}
	server, err := stun.NewServer(stun.Config{Endpoints: endpoints})
	if err != nil {
		s.t.Fatal(err)
	}
	for i, c := range conns {
		ended := make(chan error, 1)
		go func() {
			ended <- stun.Read(c, func(now time.Time, from netip.AddrPort, b []byte) { server.Receive(now, i, from, b) })
		}()
		s.t.Cleanup(func() {
			c.Close()
			if err := <-ended; err != nil {
				s.t.Error(err)
			}
		})
	}
	return servers
}

// home adds a home with one device.
func (s *street) home(name string, c natlab.RouterConfig) (*natlab.Router, *natlab.Host) {
	s.t.Helper()
	r, err := s.lab.Router(name, c)
	if err != nil {
		s.t.Fatal(err)
	}
	h, err := r.Host(name + "-pc")
	if err != nil {
		s.t.Fatal(err)
	}
	return r, h
}

// discover has a device find out what it sits behind. It may be called by any goroutine of the test.
func (s *street) discover(h *natlab.Host, do task) (got report) {
	if do.Servers == nil {
		do.Servers = s.two.four
	}
	if do.Silences == ([3]time.Duration{}) {
		do.Silences = [3]time.Duration{10 * time.Millisecond, 20 * time.Millisecond, 30 * time.Millisecond}
	}
	text, err := json.Marshal(do)
	if err != nil {
		s.t.Error(err)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	cmd := h.Command(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), deviceTask+"="+string(text))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &got)
	}
	if err != nil {
		s.t.Errorf("%s: %v: %s%s", h.Name(), err, stderr.String(), out)
		return got
	}
	s.t.Logf("%s: %d datagrams, first after %s", h.Name(), got.Sent, got.FirstAfter.Round(time.Millisecond))
	if got.Sent == 0 || got.Sent > MaxDatagrams || got.Sent != got.Final.Datagrams {
		s.t.Errorf("%s sent %d datagrams and tells of %d", h.Name(), got.Sent, got.Final.Datagrams)
	}
	return got
}
