package link

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/quic-go/quic-go"
)

func (w *waiting) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.crowd.Len()
}

// limited is a surrogate over QUIC with other limits.
func limited(t *testing.T, k keys, l Limits) (*waiting, Listener) {
	t.Helper()
	w := newWaiting(l)
	server := &quic.Transport{Conn: udp(t)}
	t.Cleanup(func() { server.Close() })
	w.guard(server)
	ln, err := server.Listen(k.surrogate, &quic.Config{MaxIncomingStreams: 1, HandshakeIdleTimeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	return w, ListenQUIC(ln)
}

// deaf is a socket that hears nothing, as one whose address is forged.
type deaf struct{ net.PacketConn }

func (d deaf) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		if _, _, err := d.PacketConn.ReadFrom(b); err != nil {
			return 0, nil, err
		}
	}
}

func TestForgedAddressesKeepNobodyOut(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	w, ln := limited(t, k, Limits{PerHost: 8, Total: 16})
	flood, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	for range 12 {
		forger := &quic.Transport{Conn: deaf{udp(t)}}
		t.Cleanup(func() { forger.Close() })
		go func() {
			DialQUIC(flood, forger, ln.Addr(), k.agent, nil)
			done <- struct{}{}
		}()
	}
	until(t, "forgers are in their handshake", func() bool { return w.count() == 2 })
	client := &quic.Transport{Conn: udp(t)}
	t.Cleanup(func() { client.Close() })
	for range 3 {
		c, err := DialQUIC(soon(t), client, ln.Addr(), k.agent, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ln.Accept(soon(t)); err != nil {
			t.Fatal(err)
		}
		c.Close(0, "")
	}
	if n := w.count(); n > 2 {
		t.Errorf("%d wait", n)
	}
	stop()
	for range 12 {
		<-done
	}
}

func TestHandshakesOverQUICAreLimited(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	w, ln := limited(t, k, Limits{PerHost: 4, Total: 8})
	dial := func() (Conn, error) { // from a port of its own, by which it is known when it is accepted
		client := &quic.Transport{Conn: udp(t)}
		t.Cleanup(func() { client.Close() })
		return DialQUIC(soon(t), client, ln.Addr(), k.agent, nil)
	}
	conns := map[uint16]Conn{}
	for range 4 {
		c, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close(0, "")
		conns[c.Local().Port()] = c
	}
	if n := w.count(); n != 4 {
		t.Errorf("%d wait", n)
	}
	var refused *quic.TransportError
	if _, err := dial(); !errors.As(err, &refused) || refused.ErrorCode != quic.ConnectionRefused {
		t.Errorf("one too many was told %v", err)
	}
	accepted, err := ln.Accept(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	delete(conns, accepted.Remote().Port())
	for _, c := range conns {
		c.Close(0, "") // before it is accepted
		break
	}
	until(t, "two wait", func() bool { return w.count() == 2 })
	c, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	c.Close(0, "")
}

func TestAFewHostsDoNotTakeAllHandshakes(t *testing.T) {
	w := newWaiting(Limits{})
	for range 100 {
		for host := range byte(8) {
			w.enter(netip.AddrFrom4([4]byte{198, 18, 10, host}), nil)
		}
	}
	for range 4 {
		if w.enter(netip.MustParseAddr("192.0.2.1"), nil) == nil {
			t.Fatalf("another is kept out by %d", w.count())
		}
	}
}
