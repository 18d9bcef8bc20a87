package utp

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"simplebit/nat/udpmux"
)

// attachLater gives a running endpoint one more socket.
func attachLater(t *testing.T, e *Endpoint) *udpmux.Socket {
	t.Helper()
	s, err := udpmux.Listen("udp", "127.0.0.1:0", udpmux.Config{Routes: udpmux.NewRoutes(udpmux.Front)})
	if err != nil {
		t.Fatal(err)
	}
	e.Attach(s)
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Run(context.Background()) })
	t.Cleanup(func() {
		_ = s.Close()
		wg.Wait()
	})
	return s
}

// call opens a connection by one socket, and returns both ends.
func call(t *testing.T, by Via, to *Endpoint) (a, b *Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := by.DialContext(ctx, "utp", to.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	d, err := to.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(d, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return c.(*Conn), d.(*Conn)
}

func addrOf(s *udpmux.Socket) netip.AddrPort { return s.LocalAddr().(*net.UDPAddr).AddrPort() }

func TestASocketCanComeAndGoWhileConnectionsAreOpen(t *testing.T) {
	from, to := newEndpoint(t, Config{}), newEndpoint(t, Config{})
	stays, other := dialBetween(t, from, to, to.Addr().String())
	further := attachLater(t, from)
	a, b := call(t, from.Via(further), to)
	if a.Via() != further || b.RemoteAddr().String() != further.LocalAddr().String() {
		t.Errorf("the call by %s came from %s", further.LocalAddr(), b.RemoteAddr())
	}
	exchange(t, a, b, 100_000)
	_ = a.Close()
	_ = b.Close()

	// Others can call there too.
	back, err := to.DialContext(context.Background(), "utp", further.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := back.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	came, err := from.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if came.(*Conn).Via() != further {
		t.Errorf("the call to %s came by %s", further.LocalAddr(), came.LocalAddr())
	}

	from.Detach(further)
	for _, c := range []net.Conn{came, back} {
		_ = c.SetDeadline(time.Now().Add(patience))
		var err error
		for err == nil {
			_, err = c.Read(make([]byte, 1))
		}
		if errors.Is(err, os.ErrDeadlineExceeded) || err == io.EOF {
			t.Errorf("a connection of a socket that is gone ended with %v", err)
		}
	}
	if from.Carries(further, to.Addr().(*net.UDPAddr).AddrPort()) {
		t.Error("connections are left")
	}
	if _, err := from.Via(further).DialContext(context.Background(), "utp", to.Addr().String()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("dialling by a socket that is gone: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if c, err := to.DialContext(ctx, "utp", further.LocalAddr().String()); err == nil {
		_ = c.Close()
		t.Error("a socket that is gone answers")
	}
	exchange(t, stays, other, 100_000)
}

func TestOnlyTheConnectionsOfAPathAreCut(t *testing.T) {
	from, to := newEndpoint(t, Config{}), newEndpoint(t, Config{})
	further := attachLater(t, from)
	target := to.Addr().(*net.UDPAddr).AddrPort()
	stays, other := dialBetween(t, from, to, target.String())
	var cut [2]*Conn
	for i := range cut {
		cut[i], _ = call(t, from.Via(further), to)
	}
	if !from.Carries(further, target) || from.Carries(further, addrOf(further)) {
		t.Error("it is not known what a path carries")
	}
	from.Cut(further, target)
	for _, c := range cut {
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a connection that was cut ended with %v", err)
		}
	}
	if from.Carries(further, target) {
		t.Error("connections are left")
	}
	exchange(t, stays, other, 100_000)
}

func TestItIsKnownWhenAPathWasHeardLast(t *testing.T) {
	from, to := newEndpoint(t, Config{}), newEndpoint(t, Config{})
	further := attachLater(t, from)
	target := to.Addr().(*net.UDPAddr).AddrPort()
	if at := from.Heard(further, target); !at.IsZero() {
		t.Errorf("heard at %v without a connection", at)
	}
	began := time.Now()
	a, b := call(t, from.Via(further), to)
	first := from.Heard(further, target)
	if first.Before(began) || first.After(time.Now()) {
		t.Errorf("heard %s after the beginning", first.Sub(began))
	}
	if at := from.Heard(further, addrOf(further)); !at.IsZero() {
		t.Errorf("heard at %v on another path", at)
	}
	again := time.Now()
	if _, err := b.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(a, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if at := from.Heard(further, target); at.Before(again) {
		t.Errorf("heard %s before what was read", again.Sub(at))
	}
	from.Cut(further, target)
	if at := from.Heard(further, target); !at.IsZero() {
		t.Errorf("heard at %v once it is cut", at)
	}
}

// Neither an end that has not answered nor one that makes numbers up is heard.
func TestAPathIsNotHeardByWhatIsMadeUp(t *testing.T) {
	if silent := newInitiator(time.Now(), coreConfig{Seq: 100, RecvID: 7}); !silent.lastHeard().IsZero() {
		t.Error("it was heard before it answered")
	}
	c := newCouple(t)
	was := c.a.lastHeard()
	c.now = c.now.Add(time.Minute)
	c.a.receive(c.now, &packet{typ: stState, connID: 7, seq: c.a.recv.next, ack: c.a.send.next + 100})
	if at := c.a.lastHeard(); at != was || was.IsZero() {
		t.Errorf("an acknowledgement of what was never sent is heard %s later", at.Sub(was))
	}
	c.a.receive(c.now, &packet{typ: stState, connID: 7, seq: c.a.recv.next, ack: c.a.send.next - 1})
	if at := c.a.lastHeard(); at != c.now {
		t.Errorf("it is heard %s before it came", c.now.Sub(at))
	}
}

func TestAConnectionTellsWhenItsPeerWasHeardLast(t *testing.T) {
	began := time.Now()
	to := newEndpoint(t, Config{})
	from := newEndpoint(t, Config{})
	a, b := dialBetween(t, from, to, to.Addr().String())
	other, further := dialBetween(t, from, to, to.Addr().String())
	for _, c := range []*Conn{a, b} {
		if at := c.Heard(); at.Before(began) || at.After(time.Now()) {
			t.Errorf("heard %s after the beginning", at.Sub(began))
		}
	}
	// To acknowledge is enough: a's user has nothing to say.
	again := time.Now()
	if _, err := b.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "hearing what is acknowledged", func() bool { return b.Heard().After(again) })
	if at := a.Heard(); at.Before(again) {
		t.Errorf("heard %s before the packet was sent", again.Sub(at))
	}
	if err := b.Reset(); err != nil {
		t.Fatal(err)
	}
	if at := b.Heard(); !at.IsZero() {
		t.Errorf("heard at %v once it is reset", at)
	}
	eventually(t, "failing", func() bool { return a.Heard().IsZero() })
	if other.Heard().IsZero() {
		t.Error("the end of one connection is that of another")
	}
	for _, c := range []*Conn{other, further} {
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []*Conn{other, further} {
		if rest, err := io.ReadAll(c); len(rest) > 0 || err != nil {
			t.Fatalf("%d bytes: %v", len(rest), err)
		}
	}
	eventually(t, "ending in both directions", func() bool { return other.Heard().IsZero() && further.Heard().IsZero() })
}
