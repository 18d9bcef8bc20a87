package udpmux

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds whatever a test waits for.
const patience = 30 * time.Second

// Kernels that lack something.

func withoutGRO(k kernel) kernel {
	k.setGRO = func(uintptr, int) error { return unix.ENOPROTOOPT }
	return k
}

func withoutBatches(refusal syscall.Errno) func(kernel) kernel {
	return func(k kernel) kernel {
		k.recvmmsg = func(uintptr, []mmsghdr) (int, syscall.Errno) { return 0, refusal }
		return k
	}
}

func withoutSegments(refusal syscall.Errno) func(kernel) kernel {
	return func(k kernel) kernel {
		k.sendmsg = func(fd uintptr, m *unix.Msghdr) syscall.Errno {
			if m.Controllen > 0 {
				return refusal
			}
			return linux.sendmsg(fd, m)
		}
		return k
	}
}

// open is a socket on loopback, closed with the test.
func open(t testing.TB, network, address string, c Config, without ...func(kernel) kernel) *Socket {
	t.Helper()
	pc, err := net.ListenPacket(network, address)
	if err != nil {
		t.Fatal(err)
	}
	k := linux
	for _, f := range without {
		k = f(k)
	}
	s, err := newSocket(pc.(*net.UDPConn), c, k)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// run starts the read loop and ends it with the test.
func run(t testing.TB, s *Socket) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the read loop ended with %v", err)
		}
	})
}

// at is the socket's port at an address of this host.
func at(s *Socket, ip string) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(ip), uint16(s.local.Port))
}

// numbered is a run of uTP packets, each of the bytes' size but the last, and each with its number.
func numbered(n, size, last int) []byte {
	var b []byte
	for i := range n {
		if i == n-1 {
			size = last
		}
		p := utpPacket(0, 0, size-20)
		binary.BigEndian.PutUint32(p[8:], uint32(i))
		b = append(b, p...)
	}
	return b
}

func TestBoundariesSurvive(t *testing.T) {
	senders := map[string][]func(kernel) kernel{
		"segments": nil,
		"EINVAL":   {withoutSegments(unix.EINVAL)},
		"EIO":      {withoutSegments(unix.EIO)},
		"ENOTSUP":  {withoutSegments(unix.ENOTSUP)},
	}
	receivers := map[string][]func(kernel) kernel{
		"GRO":      nil,
		"recvmmsg": {withoutGRO},
		"ENOSYS":   {withoutBatches(unix.ENOSYS)},
		"EPERM":    {withoutBatches(unix.EPERM), withoutGRO},
	}
	networks := []struct{ listen, to string }{{"udp", "127.0.0.1"}, {"udp", "::1"}, {"udp4", "127.0.0.1"}, {"udp6", "::1"}}
	for sending, less := range senders {
		for receiving, lacking := range receivers {
			for _, n := range networks {
				t.Run(fmt.Sprintf("%s to %s, %s to %s", sending, receiving, n.listen, n.to), func(t *testing.T) {
					roundTrip(t, open(t, n.listen, ":0", Config{}, less...), open(t, n.listen, ":0", Config{}, lacking...), n.to)
				})
			}
		}
	}
}

// roundTrip sends runs of many shapes from a to b and expects each datagram as it was.
func roundTrip(t *testing.T, a, b *Socket, ip string) {
	got := make(chan []byte, 1000)
	b.Handle(UTP, func(_ time.Time, runs []Run) {
		for _, r := range runs {
			if r.From != at(a, ip) {
				t.Errorf("a run comes from %s, not %s", r.From, at(a, ip))
			}
			if r.Size < 1 || r.Size > len(r.Data) {
				t.Errorf("a run of %d bytes has datagrams of %d", len(r.Data), r.Size)
			}
			for d := range r.Datagrams() {
				got <- bytes.Clone(d)
			}
		}
	})
	run(t, b)
	for _, shape := range []struct{ n, size, last int }{
		{1, 20, 20}, {1, 1472, 1472}, {2, 1400, 20}, {2, 1400, 1400}, {45, 1452, 33}, {64, 1000, 1000}, {100, 1400, 700}, {130, 20, 20}, {7, 2000, 1999},
	} {
		data := numbered(shape.n, shape.size, shape.last)
		if err := a.Send(at(b, ip), data, shape.size); err != nil {
			t.Fatalf("%+v: %v", shape, err)
		}
		for want := range slices.Chunk(data, shape.size) {
			if d := <-got; !bytes.Equal(d, want) {
				t.Fatalf("%+v: a datagram of %d bytes is number %x, not one of %d bytes numbered %x", shape, len(d), d[8:12], len(want), want[8:12])
			}
		}
	}
	sent, received := a.Stats(), b.Stats()
	if sent.Sent != received.Received[UTP] || sent.Sent != 352 || sent.SendFull != 0 {
		t.Errorf("sent %+v, received %+v", sent, received)
	}
}

// Datagrams of one size and source are joined, whatever they are: here a uTP packet, a probe of a punch and garbage.
func TestJoinedDatagramsOfSeveralKindsArePartedAgain(t *testing.T) {
	probe := stunMessage(1, attribute(6, activeUser), attribute(0x8022, ""))
	u := utpPacket(0, 0, len(probe)-20)
	garbage := make([]byte, len(probe))
	a, b := open(t, "udp", ":0", Config{}), open(t, "udp", ":0", Config{Routes: agentRoutes(t)})
	type item struct {
		kind Kind
		data []byte
	}
	got := make(chan item, 100)
	for _, k := range []Kind{UTP, STUN} {
		b.Handle(k, func(_ time.Time, runs []Run) {
			for _, r := range runs {
				for d := range r.Datagrams() {
					got <- item{k, bytes.Clone(d)}
				}
			}
		})
	}
	run(t, b)
	if err := a.Send(at(b, "127.0.0.1"), slices.Concat(u, probe, garbage, u, probe, u[:20]), len(u)); err != nil {
		t.Fatal(err)
	}
	var utp, stun int
	for range 5 {
		switch i := <-got; {
		case i.kind == UTP && bytes.Equal(i.data, u[:len(i.data)]):
			utp++
		case i.kind == STUN && bytes.Equal(i.data, probe):
			stun++
		default:
			t.Errorf("%s got %x", i.kind, i.data)
		}
	}
	if dropped := b.Stats().Received[Drop]; utp != 3 || stun != 2 || dropped != 1 {
		t.Errorf("%d uTP, %d STUN, %d dropped", utp, stun, dropped)
	}
}

func TestLongDatagramWithoutGROIsDroppedNotCut(t *testing.T) {
	a, b := open(t, "udp", ":0", Config{}), open(t, "udp", ":0", Config{Memory: 4 << 10})
	got := make(chan int, 100)
	b.Handle(UTP, func(_ time.Time, runs []Run) { got <- len(runs[0].Data) })
	run(t, b)
	a.Send(at(b, "127.0.0.1"), utpPacket(0, 0, plainBuffer), 0)
	a.Send(at(b, "127.0.0.1"), utpPacket(0, 0, 10), 0)
	if n := <-got; n != 30 || b.Stats().Cut != 1 || b.Stats().GRO {
		t.Errorf("a datagram of %d bytes arrived; %+v", n, b.Stats())
	}
}

func TestSocketServesOnlyItsFamilies(t *testing.T) {
	four, six := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")
	mapped := netip.MustParseAddr("::ffff:127.0.0.1")
	for _, c := range []struct {
		network   string
		four, six bool
	}{{"udp", true, true}, {"udp4", true, false}, {"udp6", false, true}} {
		s := open(t, c.network, ":0", Config{})
		for a, want := range map[netip.Addr]bool{four: c.four, mapped: c.four, six: c.six, {}: false} {
			err := s.Send(netip.AddrPortFrom(a, 9), []byte{1}, 1)
			if got := s.Reaches(a); got != want || errors.Is(err, syscall.EAFNOSUPPORT) == want {
				t.Errorf("%s to %s: reaches is %t, sending says %v", c.network, a, got, err)
			}
		}
	}
	if _, err := Listen("tcp", ":0", Config{}); err == nil {
		t.Error("a TCP socket was opened")
	}
}

// Connections of many goroutines send on one socket, while routes change and the kernel stops taking segments.
func TestManySendAtOnce(t *testing.T) {
	const senders, runs = 8, 50
	var refused atomic.Int64
	a := open(t, "udp", ":0", Config{}, func(k kernel) kernel {
		k.sendmsg = func(fd uintptr, m *unix.Msghdr) syscall.Errno {
			if m.Controllen > 0 && refused.Add(1) > senders*runs/4 {
				return unix.EIO
			}
			return linux.sendmsg(fd, m)
		}
		return k
	})
	b := open(t, "udp", ":0", Config{})
	var next [senders]int
	b.Handle(UTP, func(_ time.Time, runs []Run) {
		for _, r := range runs {
			for d := range r.Datagrams() {
				// The number is the run's, the last byte the sender's.
				if from := d[len(d)-1]; int(d[2]) != next[from]/10 || d[1] != 0 {
					t.Errorf("sender %d: run %d comes where %d should", from, d[2], next[from]/10)
				} else {
					next[from]++
				}
			}
		}
	})
	run(t, b)
	var sent atomic.Int64 // datagrams, of which no more may wait than the least of buffers holds
	room := func() {
		for end := time.Now().Add(patience); sent.Load()-b.Stats().Received[UTP] > 300 && time.Now().Before(end); {
			time.Sleep(100 * time.Microsecond)
		}
		sent.Add(10)
	}
	var sending sync.WaitGroup
	for i := range senders {
		sending.Go(func() {
			p := utpPacket(0, 0, 100)
			p[len(p)-1] = byte(i)
			for n := range runs {
				p[2] = byte(n)
				room()
				if err := a.Send(at(b, "127.0.0.1"), bytes.Repeat(p, 10), len(p)); err != nil {
					t.Error(err)
				}
				user := fmt.Sprint("punch of ", i)
				if err := b.Routes().AddPunch(user); err != nil {
					t.Error(err)
				}
				b.Routes().RemovePunch(user)
			}
		})
	}
	sending.Wait()
	const all = senders * runs * 10
	for deadline := time.Now().Add(patience); b.Stats().Received[UTP] < all; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d arrived: sent %+v", b.Stats().Received[UTP], all, a.Stats())
		}
	}
	if refused.Load() <= senders*runs/4 {
		t.Error("the kernel took every run: nothing was tried")
	}
}
