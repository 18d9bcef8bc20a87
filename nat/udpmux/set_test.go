package udpmux

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"runtime/pprof"
	"testing"
	"time"
)

// arrival is a datagram that a handler of a set got.
type arrival struct {
	via  *Socket
	from netip.AddrPort
	byte byte
}

// stunSet is a set whose main socket runs, and takes whatever peer sends for STUN.
func stunSet(t *testing.T, network, address string, peer *Socket) (*Set, chan arrival) {
	t.Helper()
	main := open(t, network, address, Config{})
	s, got := NewSet(main), make(chan arrival, 100)
	s.Handle(STUN, func(_ time.Time, runs []Run) {
		for _, r := range runs {
			for b := range r.Datagrams() {
				got <- arrival{r.Via, r.From, b[0]}
			}
		}
	})
	t.Cleanup(func() { s.Close() })
	run(t, main)
	if err := main.Routes().SetSTUN(at(peer, "127.0.0.1"), at(peer, "::1")); err != nil {
		t.Fatal(err)
	}
	return s, got
}

func further(t *testing.T, s *Set) *Socket {
	t.Helper()
	x, err := s.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func send(t *testing.T, from *Socket, to netip.AddrPort, b ...byte) {
	t.Helper()
	if err := from.Send(to, b, 0); err != nil {
		t.Fatal(err)
	}
}

func TestHandlerOfASetLearnsWhichSocketADatagramCameBy(t *testing.T) {
	for _, c := range []struct{ network, address, ip string }{
		{"udp", ":0", "127.0.0.1"}, {"udp", ":0", "::1"}, {"udp4", ":0", "127.0.0.1"},
		{"udp6", ":0", "::1"}, {"udp", "127.0.0.1:0", "127.0.0.1"}, {"udp", "[::1]:0", "::1"},
	} {
		peer := open(t, "udp", ":0", Config{})
		s, got := stunSet(t, c.network, c.address, peer)
		a, b := further(t, s), further(t, s)
		for i, x := range []*Socket{a, b, s.Main(), a} {
			send(t, peer, at(x, c.ip), byte(i))
			if g := <-got; g != (arrival{x, at(peer, c.ip), byte(i)}) {
				t.Errorf("%s %s: what was sent to %s came as %+v", c.network, c.address, x.LocalAddr(), g)
			}
		}
		if a.family != s.main.family || !a.local.IP.Equal(s.main.local.IP) || a.local.Port == b.local.Port {
			t.Errorf("%s %s: further sockets at %s and %s", c.network, c.address, a.local, b.local)
		}
	}
}

func TestFurtherSocketHasOnlyTheHandlersOfTheSet(t *testing.T) {
	peer := open(t, "udp", ":0", Config{})
	main := open(t, "udp", ":0", Config{})
	main.Handle(UTP, func(_ time.Time, runs []Run) { t.Error("uTP came by a socket that nobody attached") })
	s := NewSet(main)
	defer s.Close()
	x := further(t, s)
	send(t, peer, at(x, "127.0.0.1"), utpPacket(0, 0, 0)...)
	for x.Stats().Received[Drop] == 0 {
		time.Sleep(time.Millisecond)
	}
}

func TestAdoptedSocketStaysAndGrows(t *testing.T) {
	peer := open(t, "udp", ":0", Config{})
	s, got := stunSet(t, "udp", ":0", peer)
	ctx, cancel := context.WithCancel(t.Context())
	x, err := s.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	send(t, peer, at(x, "127.0.0.1"), 1)
	<-got
	if err := s.Adopt(x); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	long := numbered(20, 1400, 1400)
	if err := peer.Send(at(x, "127.0.0.1"), long, 1400); err != nil { // waits in the kernel
		t.Fatal(err)
	}
	stranger := open(t, "udp", ":0", Config{})
	utp := make(chan *Socket, 10)
	x.Handle(UTP, func(_ time.Time, runs []Run) { utp <- runs[0].Via })
	run(t, x)
	for i := range 20 {
		if g := <-got; g.via != x || g.from != at(peer, "127.0.0.1") {
			t.Errorf("datagram %d came as %+v", i, g)
		}
	}
	send(t, stranger, at(x, "::1"), utpPacket(0, 0, 0)...)
	if via := <-utp; via != x {
		t.Error("uTP came by another socket")
	}
	if !x.Stats().GRO && s.Main().Stats().GRO || x.cfg.Memory != s.main.cfg.Memory {
		t.Error("the adopted socket has not got the main one's buffers")
	}
	for _, no := range []*Socket{x, s.Main(), peer} {
		if err := s.Adopt(no); !errors.Is(err, net.ErrClosed) {
			t.Errorf("adopting what is none of the set's: %v", err)
		}
	}
}

func TestFurtherSocketsEndWithTheirContextTheirSetOrByThemselves(t *testing.T) {
	peer := open(t, "udp", ":0", Config{})
	s, _ := stunSet(t, "udp", ":0", peer)
	ctx, cancel := context.WithCancel(t.Context())
	a, err := s.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	b, c := further(t, s), further(t, s)
	cancel()
	b.Close()
	left := func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.further)
	}
	for left() != 1 {
		time.Sleep(time.Millisecond)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	for _, x := range []*Socket{a, b, c} {
		for !errors.Is(x.Send(at(peer, "127.0.0.1"), []byte{1}, 0), net.ErrClosed) {
			time.Sleep(time.Millisecond)
		}
	}
	if _, err := s.Open(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed set opens: %v", err)
	}
	if err := s.Main().Send(at(peer, "127.0.0.1"), []byte{1}, 0); err != nil {
		t.Errorf("the main socket: %v", err)
	}
}

// threadStacks is what the runtime takes of the same memory for each of its threads, of which there are more when it has to
// wait for the processor.
const threadStacks = 48 << 10

func TestManyFurtherSocketsCostLittleMemory(t *testing.T) {
	peer := open(t, "udp", ":0", Config{})
	s, got := stunSet(t, "udp", ":0", peer)
	used := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	send(t, peer, at(s.Main(), "127.0.0.1"), 1)
	<-got // its buffers are no part of the cost
	before, threads := used(), pprof.Lookup("threadcreate").Count()
	var all []*Socket
	for range 128 {
		all = append(all, further(t, s))
	}
	for _, x := range all { // each has read, so it has all that it takes
		send(t, peer, at(x, "127.0.0.1"), 1)
		<-got
	}
	cost := int64(used()-before) - int64(pprof.Lookup("threadcreate").Count()-threads)*threadStacks
	t.Logf("128 further sockets: %d KiB", cost>>10)
	if cost > 128*9<<10 && !raceDetector { // half of it is the goroutines' stacks
		t.Errorf("128 further sockets take %d bytes", cost)
	}
	for range MaxSockets - 128 {
		further(t, s)
	}
	if _, err := s.Open(t.Context()); err == nil {
		t.Error("there is no bound on further sockets")
	}
}
