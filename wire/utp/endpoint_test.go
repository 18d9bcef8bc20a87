package utp

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"simplebit/nat/udpmux"
)

// patience bounds whatever a test waits for.
const patience = time.Minute

var _ net.Listener = (*Endpoint)(nil)

// newEndpoint runs an endpoint on loopback sockets until the test ends.
func newEndpoint(t testing.TB, c Config, addresses ...string) *Endpoint {
	t.Helper()
	e, stop := runEndpoint(t, c, addresses...)
	t.Cleanup(stop)
	return e
}

func runEndpoint(t testing.TB, c Config, addresses ...string) (e *Endpoint, stop func()) {
	t.Helper()
	if len(addresses) == 0 {
		addresses = []string{"127.0.0.1:0"}
	}
	e = New(c)
	var muxes []*udpmux.Socket
	for _, a := range addresses {
		s, err := udpmux.Listen("udp", a, udpmux.Config{Routes: udpmux.NewRoutes(udpmux.Front)})
		if err != nil {
			t.Fatal(err)
		}
		e.Attach(s)
		muxes = append(muxes, s)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, s := range muxes {
		wg.Go(func() {
			if err := s.Run(context.Background()); !errors.Is(err, net.ErrClosed) {
				t.Errorf("a socket ended with %v", err)
			}
		})
	}
	wg.Go(func() {
		if err := e.Run(ctx); err != nil {
			t.Error(err)
		}
		for _, s := range muxes {
			_ = s.Close()
		}
	})
	return e, func() {
		cancel()
		wg.Wait()
	}
}

// dialBetween returns both ends of a connection from one endpoint to the address of another.
func dialBetween(t testing.TB, from, to *Endpoint, address string) (dialled, accepted *Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	a, err := from.DialContext(ctx, "utp", address)
	if err != nil {
		t.Fatal(err)
	}
	// A bare acknowledgement that gets lost is not repeated, what is written is.
	if _, err := a.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	b, err := to.Accept()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{a, b} {
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.ReadFull(b, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return a.(*Conn), b.(*Conn)
}

func newConns(t testing.TB, c Config) (a, b *Conn) {
	to := newEndpoint(t, c)
	return dialBetween(t, newEndpoint(t, c), to, to.Addr().String())
}

// eventually waits for a condition that other goroutines bring about.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not in time: ", what)
		}
	}
}

// exchange sends n bytes each way at once, half-closes both directions, and compares what arrived.
func exchange(t testing.TB, a, b *Conn, n int64) {
	t.Helper()
	var wg sync.WaitGroup
	send := func(c *Conn, seed uint64, sum *[32]byte) {
		h := sha256.New()
		random := io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{byte(seed)}), n), h)
		if _, err := io.CopyBuffer(struct{ io.Writer }{c}, random, make([]byte, 40_000)); err != nil {
			t.Errorf("write: %v", err)
		}
		if err := c.CloseWrite(); err != nil {
			t.Errorf("close write: %v", err)
		}
		h.Sum(sum[:0])
	}
	receive := func(c *Conn, sum *[32]byte) {
		h := sha256.New()
		if got, err := io.CopyBuffer(h, struct{ io.Reader }{c}, make([]byte, 50_000)); err != nil || got != n {
			t.Errorf("read %d of %d bytes: %v", got, n, err)
		}
		h.Sum(sum[:0])
	}
	var sent, received [2][32]byte
	wg.Go(func() { send(a, 1, &sent[0]) })
	wg.Go(func() { send(b, 2, &sent[1]) })
	wg.Go(func() { receive(b, &received[0]) })
	wg.Go(func() { receive(a, &received[1]) })
	wg.Wait()
	if sent != received {
		t.Error("what arrived is not what was sent")
	}
}

func TestManyBytesArriveIntactBothWaysAtOnce(t *testing.T) {
	a, b := newConns(t, Config{})
	exchange(t, a, b, 64<<20)
}

func TestThousandConnectionsAtOnce(t *testing.T) {
	const conns = 1000
	from, to := newEndpoint(t, Config{}), newEndpoint(t, Config{})
	var wg, accepting, echoing sync.WaitGroup
	var echoed atomic.Int64
	var serving sync.Map // of *Conn. There are more than were dialled where a first packet came once more after the end
	accepting.Go(func() {
		for {
			c, err := to.Accept()
			if err != nil {
				return
			}
			serving.Store(c, nil)
			echoing.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(2 * patience))
				if _, err := io.Copy(c, c); err == nil {
					echoed.Add(1)
					serving.Delete(c)
				}
			})
		}
	})
	begin := make(chan struct{})
	var ready sync.WaitGroup
	ready.Add(conns)
	dialling := make(chan struct{}, 64) // no more than the backlog has room for
	for i := range conns {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			dialling <- struct{}{}
			c, err := from.DialContext(ctx, "utp", to.Addr().String())
			<-dialling
			ready.Done()
			if err != nil {
				t.Error(err)
				_ = to.Close()
				return
			}
			defer c.Close()
			<-begin
			_ = c.SetDeadline(time.Now().Add(patience))
			question := bytes.Repeat([]byte{byte(i), byte(i >> 8)}, 1500)
			go func() {
				_, _ = c.Write(question)
				_ = c.(*Conn).CloseWrite()
			}()
			if answer, err := io.ReadAll(c); err != nil || !bytes.Equal(answer, question) {
				t.Errorf("%d bytes of %d came back: %v", len(answer), len(question), err)
			}
		})
	}
	ready.Wait()
	if s := from.Stats(); s.Conns != conns {
		t.Errorf("%d connections are open, want %d", s.Conns, conns)
	}
	close(begin)
	wg.Wait()
	eventually(t, "every echo ends well", func() bool { return echoed.Load() >= conns })
	_ = to.Close()
	accepting.Wait()
	serving.Range(func(c, _ any) bool { return c.(*Conn).Reset() == nil })
	echoing.Wait()
	eventually(t, "all memory is given back", func() bool { return from.Stats().Memory == 0 && to.Stats().Memory == 0 })
}

func TestEndpointLeavesNothingBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	to, stopTo := runEndpoint(t, Config{})
	from, stopFrom := runEndpoint(t, Config{})
	a, b := dialBetween(t, from, to, to.Addr().String())
	c, d := dialBetween(t, from, to, to.Addr().String())
	exchange(t, a, b, 1<<20)
	for _, c := range []*Conn{a, b, c} { // d is left open
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	_ = d.SetDeadline(time.Now().Add(time.Hour))
	waiting := make(chan error)
	go func() {
		_, err := d.Write(make([]byte, 4<<20))
		waiting <- err
	}()
	stopFrom()
	stopTo()
	if err := <-waiting; err == nil {
		t.Error("a write went on though the endpoint ended")
	}
	_ = d.Close() // the endpoint may have ended it; then what came can still be read until now
	eventually(t, "as many goroutines as before", func() bool { return runtime.NumGoroutine() <= before })
	for _, e := range []*Endpoint{from, to} {
		if s := e.Stats(); s.Conns != 0 || s.Memory != 0 {
			t.Errorf("left behind: %+v", s)
		}
		if len(e.alarms.heap) != 0 {
			t.Errorf("%d alarms are left", len(e.alarms.heap))
		}
		if _, err := e.DialContext(context.Background(), "utp", "127.0.0.1:9"); !errors.Is(err, net.ErrClosed) {
			t.Errorf("dialling from an endpoint that ended: %v", err)
		}
		if _, err := e.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accepting at an endpoint that ended: %v", err)
		}
	}
}

func TestDialGoesOutOfTheSocketThatReachesTheFamily(t *testing.T) {
	both := []string{"127.0.0.1:0", "[::1]:0"}
	from, to := newEndpoint(t, Config{}, both...), newEndpoint(t, Config{}, both...)
	for i := range both {
		want := from.sockets[i].mux.LocalAddr().String()
		a, b := dialBetween(t, from, to, to.sockets[i].mux.LocalAddr().String())
		if got := b.RemoteAddr().String(); got != want {
			t.Errorf("the call came from %s, want %s", got, want)
		}
		if got := a.LocalAddr().String(); got != want {
			t.Errorf("the call says to come from %s, want %s", got, want)
		}
		exchange(t, a, b, 100_000)
	}
	four := newEndpoint(t, Config{})
	if _, err := four.DialContext(context.Background(), "utp", "[::1]:9"); !errors.Is(err, errNoSocket) {
		t.Errorf("dialling IPv6 without a socket for it: %v", err)
	}
}

func TestDialTakesOnlyAddressesOfUTP(t *testing.T) {
	e := newEndpoint(t, Config{})
	for _, c := range [][2]string{{"tcp", "127.0.0.1:1"}, {"utp", "localhost:1"}, {"utp", "127.0.0.1:0"}, {"utp", "127.0.0.1"}} {
		if _, err := e.DialContext(context.Background(), c[0], c[1]); !errors.Is(err, errNotLiteral) {
			t.Errorf("dial %s %s: %v", c[0], c[1], err)
		}
	}
}

func TestDialToSilentAddressEndsWithItsContext(t *testing.T) {
	silent := listenUDP(t, "127.0.0.1")
	e := newEndpoint(t, Config{})
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	_, err := e.DialContext(ctx, "utp", silent.LocalAddr().String())
	var timeout net.Error
	if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("dialling silence: %v", err)
	}
	ctx, cancel = context.WithCancel(context.Background())
	time.AfterFunc(30*time.Millisecond, cancel)
	if _, err := e.DialContext(ctx, "utp", silent.LocalAddr().String()); !errors.Is(err, context.Canceled) {
		t.Errorf("a dial that was called off: %v", err)
	}
	if _, err := e.DialContext(ctx, "utp", silent.LocalAddr().String()); !errors.Is(err, context.Canceled) {
		t.Errorf("a dial that was called off before: %v", err)
	}
	if s := e.Stats(); s.Conns != 0 || s.Memory != 0 {
		t.Errorf("left behind: %+v", s)
	}
}

func TestDialIsRefusedByWhoDoesNotListen(t *testing.T) {
	to := newEndpoint(t, Config{})
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	if err := to.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closing twice: %v", err)
	}
	from := newEndpoint(t, Config{})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := from.DialContext(ctx, "utp", to.Addr().String()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dialling who does not listen: %v", err)
	}
}

func TestDialFailsAtOnceWhereNothingCanBeSent(t *testing.T) {
	e := newEndpoint(t, Config{})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var errno syscall.Errno
	if _, err := e.DialContext(ctx, "utp", "192.0.2.1:9"); !errors.As(err, &errno) || errno.Timeout() {
		t.Errorf("dialling the world from a loopback address: %v", err)
	}
	if s := e.Stats(); s.Conns != 0 || s.Memory != 0 {
		t.Errorf("left behind: %+v", s)
	}
}

func TestEndOfConnectionIsTraced(t *testing.T) {
	var log bytes.Buffer
	to := newEndpoint(t, Config{})
	from := newEndpoint(t, Config{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	a, _ := dialBetween(t, from, to, to.Addr().String())
	if err := a.Reset(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"utp connection ended", "remote=" + to.Addr().String(), "rtt=", "mtu="} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%q is not in the trace: %s", want, log.String())
		}
	}
}

func TestDialKeepsTheLimitOfConnections(t *testing.T) {
	from, to := newEndpoint(t, Config{MaxConns: 2}), newEndpoint(t, Config{})
	address := to.Addr().String()
	dialBetween(t, from, to, address)
	a, _ := dialBetween(t, from, to, address)
	if _, err := from.DialContext(context.Background(), "utp", address); !errors.Is(err, errTooMany) {
		t.Errorf("one connection too many: %v", err)
	}
	if err := a.Reset(); err != nil {
		t.Fatal(err)
	}
	dialBetween(t, from, to, address)
}

// listenUDP opens a plain socket on an address of the loopback network.
func listenUDP(t testing.TB, ip string) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(ip), 0)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}
