package punch

import (
	"bytes"
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"simplebit/integration/natlab"
	"simplebit/nat"
	"simplebit/nat/udpmux"
)

func TestMain(m *testing.M) {
	// A fuzzing worker talks with its parent by files that Enter does not hand on.
	flag.Parse()
	if flag.Lookup("test.fuzz").Value.String() == "" {
		natlab.Enter()
	}
	os.Exit(m.Run())
}

// labPatience bounds whatever a test waits for in a lab.
const labPatience = 30 * time.Second

// agent drives a machine with real sockets on a host of a lab.
type agent struct {
	t       *testing.T
	host    *natlab.Host
	routes  udpmux.Routes
	sockets map[int]*udpmux.Socket
	arrived chan arrival
	close   func()
	expect  nat.Behaviour
}

type arrival struct {
	socket int
	from   netip.AddrPort
	data   []byte
}

func newAgent(t *testing.T, h *natlab.Host, expect nat.Behaviour) *agent {
	ctx, cancel := context.WithCancel(context.Background())
	a := &agent{t: t, host: h, expect: expect, sockets: make(map[int]*udpmux.Socket), arrived: make(chan arrival, 1000), close: cancel}
	var readers sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		readers.Wait()
		for _, s := range a.sockets {
			s.Close()
		}
	})
	if err := a.open(ctx, &readers, 0); err != nil {
		t.Fatal(err)
	}
	return a
}

// open opens a socket that hears the punch's messages only.
func (a *agent) open(ctx context.Context, readers *sync.WaitGroup, n int) error {
	pc, err := a.host.ListenPacket("udp", ":0")
	if err != nil {
		return err
	}
	s, err := udpmux.New(pc.(*net.UDPConn), udpmux.Config{Routes: &a.routes, Memory: 2048, ReadBuffer: 64 << 10})
	if err != nil {
		pc.Close()
		return err
	}
	s.Handle(udpmux.STUN, func(_ time.Time, runs []udpmux.Run) {
		for _, r := range runs {
			for b := range r.Datagrams() {
				a.arrived <- arrival{n, r.From, bytes.Clone(b)}
			}
		}
	})
	a.sockets[n] = s
	readers.Go(func() { s.Run(ctx) })
	return nil
}

func (a *agent) local() netip.AddrPort { return a.sockets[0].LocalAddr().(*net.UDPAddr).AddrPort() }

// candidates are what others may reach the main socket at, and where the echo sees it.
func (a *agent) candidates(echo net.PacketConn) (c []nat.Candidate, observed netip.AddrPort) {
	if a.host.Addr().IsValid() {
		if err := a.sockets[0].Send(echo.LocalAddr().(*net.UDPAddr).AddrPort(), []byte("where am I?"), 0); err != nil {
			a.t.Fatal(err)
		}
		_, from, err := echo.ReadFrom(make([]byte, 100))
		if err != nil {
			a.t.Fatal(err)
		}
		observed = unmap(from.(*net.UDPAddr).AddrPort())
		c = append(c, nat.Candidate{Kind: nat.ReflexiveCandidate, Addr: observed})
	}
	if six := a.host.Addr6(); six.IsValid() {
		c = append(c, nat.Candidate{Kind: nat.HostCandidate, Addr: netip.AddrPortFrom(six, a.local().Port())})
	}
	return c, observed
}

// run drives the machine until both sides are done.
func (a *agent) run(m *Machine, finished *sync.WaitGroup) {
	ctx, cancel := context.WithCancel(context.Background())
	var readers sync.WaitGroup
	defer readers.Wait()
	defer cancel()
	both := make(chan struct{})
	reported := false
	var out []Datagram
	for {
		out = m.Poll(time.Now(), out[:0])
		for _, g := range out {
			if a.sockets[g.Socket] == nil {
				if err := a.open(ctx, &readers, g.Socket); err != nil {
					a.t.Errorf("socket %d: %v", g.Socket, err)
					continue
				}
			}
			if g.TTL == 0 {
				a.sockets[g.Socket].Send(g.To, g.Data, 0)
			} else {
				a.sockets[g.Socket].SendTTL(g.To, g.Data, g.TTL)
			}
		}
		if _, o := m.Done(); o != Pending && !reported {
			reported = true
			finished.Done()
			go func() { finished.Wait(); close(both) }()
		}
		wait := time.Hour
		if w := m.Wake(); !w.IsZero() {
			wait = time.Until(w)
		}
		select {
		case x := <-a.arrived:
			m.Receive(time.Now(), x.socket, x.from, x.data)
		case <-time.After(wait):
		case <-both:
			return
		}
	}
}

// The same machines as in virtual time, behind the kernel's NATs.
func TestPathsComeAboutBehindRealNATs(t *testing.T) {
	for _, c := range []struct {
		a, b     natlab.Kind
		carrier  bool // in front of b
		attempts int
		others   int // flows of others in each home, since it was observed
	}{
		{natlab.PortRestricted, natlab.PortRestricted, false, 1, 0},
		{natlab.Bare, natlab.Bare, false, 1, 0},
		{natlab.PortRestricted, natlab.PortRestricted, true, 1, 0},
		{natlab.PortShifted, natlab.FullCone, false, 1, 0},
		{natlab.Sequential, natlab.PortRestricted, false, 1, 0},
		{natlab.Bare, natlab.Sequential, false, 1, 3},
		{natlab.Sequential, natlab.PortRestricted, false, 2, 900},
		{natlab.Bare, natlab.Sequential, false, 2, 300},
		{natlab.Sequential, natlab.Sequential, false, 2, 3},
		{natlab.Sequential, natlab.Sequential, false, 2, 100},
		{natlab.Symmetric, natlab.AddressRestricted, false, 1, 0},
		{natlab.AddressDependent, natlab.Bare, false, 4, 0}, // one attempt in 8 finds nothing
		{natlab.IPv6Firewalled, natlab.DualStack, false, 1, 0},
	} {
		t.Run(fmt.Sprintf("%s with %s, carrier %v, %d flows of others", c.a, c.b, c.carrier, c.others), func(t *testing.T) {
			t.Parallel()
			natlab.Require(t)
			lab, err := natlab.New(natlab.Config{Name: "punch"})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := lab.Close(); err != nil {
					t.Error(err)
				}
			})
			public, err := lab.Host("public")
			if err != nil {
				t.Fatal(err)
			}
			var behind *natlab.Carrier
			if c.carrier {
				if behind, err = lab.Carrier("carrier", natlab.CarrierConfig{}); err != nil {
					t.Fatal(err)
				}
			}
			var homes [2]*natlab.Router
			var hosts [2]*natlab.Host
			for i, config := range []natlab.RouterConfig{{Kind: c.a}, {Kind: c.b, Carrier: behind}} {
				if homes[i], err = lab.Router(string(rune('a'+i)), config); err != nil {
					t.Fatal(err)
				}
				if hosts[i], err = homes[i].Host("device-" + string(rune('a'+i))); err != nil {
					t.Fatal(err)
				}
			}
			for try := range c.attempts {
				if attempt(t, public, homes, hosts, try, c.others) {
					return
				}
			}
			t.Errorf("no path in %d attempts", c.attempts)
		})
	}
}

// others begins flows as of others in the home.
func others(t *testing.T, h *natlab.Host, to netip.Addr, n int) {
	pc, err := h.ListenPacket("udp4", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	for i := range n {
		// Nobody is there, which is not told to a socket that is not connected.
		if _, err := pc.WriteTo([]byte("hello"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, uint16(30000+i)))); err != nil {
			t.Fatal(err)
		}
	}
}

// attempt makes one with fresh sockets.
func attempt(t *testing.T, public *natlab.Host, homes [2]*natlab.Router, hosts [2]*natlab.Host, try, gone int) bool {
	var agents [2]*agent
	var plans [2]Plan
	var candidates [2][]nat.Candidate
	var observed [2]netip.AddrPort
	echo, err := public.ListenPacket("udp4", netip.AddrPortFrom(public.Addr(), 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	echo.SetDeadline(time.Now().Add(labPatience))
	for i := range agents {
		agents[i] = newAgent(t, hosts[i], homes[i].Expect())
		candidates[i], observed[i] = agents[i].candidates(echo)
		others(t, hosts[i], public.Addr(), gone)
	}
	var key [16]byte
	rand.Read(key[:])
	var finished, running sync.WaitGroup
	finished.Add(2)
	var machines [2]*Machine
	start := time.Now().Add(20 * time.Millisecond)
	for i, a := range agents {
		plans[i] = Plan{
			Attempt: [8]byte(key[8:]), Key: key, Controlling: i == 0, Start: start, Remote: candidates[1-i], Observed: observed[1-i],
			Self: observed[i].Addr(), Local: a.expect, Peer: agents[1-i].expect, Try: try,
			Deadline: 10 * time.Second, // of a busy machine; the worlds of virtual time hold it to less
		}
		if err := a.routes.AddPunch(plans[i].Expect()); err != nil {
			t.Fatal(err)
		}
		var seed [32]byte
		rand.Read(seed[:])
		if machines[i], err = New(time.Now(), plans[i], seed); err != nil {
			t.Fatal(err)
		}
	}
	for i, a := range agents {
		running.Go(func() { a.run(machines[i], &finished) })
	}
	running.Wait()
	_, x := machines[0].Done()
	path, y := machines[1].Done()
	t.Logf("%s in %s: %s, %s by %s", homes[0].Kind(), homes[1].Kind(), x, machines[0].Trace(time.Now()).Took.Round(time.Millisecond), path.Remote)
	if x != y {
		t.Errorf("%s here, %s there", x, y)
	}
	return x == Connected
}
