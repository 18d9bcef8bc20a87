package utp

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"simplebit/nat/udpmux"
)

// newEndpoint runs an endpoint on a loopback socket until the test ends.
func newEndpoint(t testing.TB, c Config) *Endpoint {
	t.Helper()
	e := New(c)
	s, err := udpmux.Listen("udp4", "127.0.0.1:0", udpmux.Config{Routes: udpmux.NewRoutes(udpmux.Front)})
	if err != nil {
		t.Fatal(err)
	}
	e.Attach(s)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Run(context.Background()); err == nil {
			t.Error("a socket ended without an error")
		}
	})
	wg.Go(func() {
		if err := e.Run(ctx); err != nil {
			t.Error(err)
		}
		_ = s.Close()
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return e
}

// dialBetween returns both ends of a connection from one endpoint to another.
func dialBetween(t testing.TB, from, to *Endpoint) (dialled, accepted *Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	a, err := from.DialContext(ctx, "utp", to.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := to.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return a.(*Conn), b.(*Conn)
}

func newPairOfConns(t testing.TB, c Config) (a, b *Conn) {
	return dialBetween(t, newEndpoint(t, c), newEndpoint(t, c))
}

var _ net.Listener = (*Endpoint)(nil)
