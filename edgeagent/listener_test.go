package edgeagent

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"simplebit/wire/dial"
	"simplebit/wire/peer"
)

// gate is a listener of pipes.
type gate chan net.Conn

func (g gate) Accept() (net.Conn, error) {
	if c, open := <-g; open {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (g gate) Close() error   { close(g); return nil }
func (g gate) Addr() net.Addr { return &net.TCPAddr{} }

// guestOf is a connection with the address of its other end.
type guestOf struct {
	net.Conn
	remote netip.AddrPort
}

func (c guestOf) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

func (g gate) dial(ip string) net.Conn {
	near, far := net.Pipe()
	g <- guestOf{far, netip.AddrPortFrom(netip.MustParseAddr(ip), 6881)}
	return near
}

// visit does the handshake, and returns the error of it.
func (g gate) visit(ip string) error {
	c := g.dial(ip)
	defer c.Close()
	if _, err := c.Write(peer.Handshake{InfoHash: infoHash{1}, PeerID: infoHash{2}}.AppendMarshal(nil)); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, peer.HandshakeSize))
	return err
}

func TestStrangersWhoSayNothingKeepNobodyFromEnding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := entrance{log: slog.New(slog.DiscardHandler)}
		ctx, cancel := context.WithCancel(t.Context())
		g := make(gate)
		served := make(chan error)
		go func() { served <- e.serve(ctx, g) }()
		for range maxGreeting + 5 {
			defer g.dial("198.18.0.1").Close()
		}
		synctest.Wait()
		began := time.Now()
		cancel()
		if err := <-served; err != nil || time.Since(began) > 0 {
			t.Errorf("ended after %v: %v", time.Since(began), err)
		}
	})
}

func TestStrangersWhoSayNothingKeepNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var welcome atomic.Int32
		e := entrance{
			door: dial.Acceptor{Answer: func(id infoHash) (peer.Handshake, bool) {
				return peer.Handshake{InfoHash: id, PeerID: infoHash{3}}, id == infoHash{1}
			}},
			take: func(c *dial.Conn) { welcome.Add(1); c.Close() },
			log:  slog.New(slog.DiscardHandler),
		}
		ctx, cancel := context.WithCancel(t.Context())
		g := make(gate)
		served := make(chan error)
		go func() { served <- e.serve(ctx, g) }()

		var silent []net.Conn
		for range 2 * maxGreeting {
			silent = append(silent, g.dial("198.18.0.1"))
		}
		if err := g.visit("198.18.0.2"); err != nil {
			t.Errorf("another host, while one is silent: %v", err)
		}
		if err := g.visit("198.18.0.1"); err != nil {
			t.Errorf("the host of those who are silent: %v", err)
		}
		for i := range 2 * maxGreeting {
			silent = append(silent, g.dial(netip.AddrFrom4([4]byte{198, 18, 1, byte(i)}).String()))
		}
		if err := g.visit("198.18.0.3"); err != nil {
			t.Errorf("another host, while many are silent: %v", err)
		}
		time.Sleep(dial.FirstByte)
		synctest.Wait()
		for _, c := range silent {
			if _, err := c.Write([]byte{0}); !errors.Is(err, io.ErrClosedPipe) {
				t.Fatalf("a silent connection was left open: %v", err)
			}
		}
		if n := welcome.Load(); n != 3 {
			t.Errorf("%d were welcome, want 3", n)
		}
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}
