package link

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/quic-go/quic-go"
)

// ListenQUIC returns a QUIC listener as one of links. It stays the caller's to close.
func ListenQUIC(l *quic.Listener) Listener { return quicListener{l} }

type quicListener struct{ l *quic.Listener }

func (l quicListener) Accept(ctx context.Context) (Conn, error) {
	c, err := l.l.Accept(ctx)
	if err != nil {
		return nil, err
	}
	if leave, ok := c.Context().Value(accepted{}).(func()); ok {
		leave()
	}
	return quicConn{c}, nil
}

func (l quicListener) Addr() netip.AddrPort { return addrPort(l.l.Addr()) }

// ListenTCP takes the connections of l, which stays the caller's to close; that ends it. Handshakes run side by side, each
// within 10 s, so that a client that says nothing keeps nobody waiting. Beyond the limits the client that has been in its
// handshake for longest makes way: see [Crowd].
func ListenTCP(l net.Listener, t *tls.Config, limits Limits) Listener {
	return listenTCP(l, t, limits, surrogateTiming())
}

func listenTCP(l net.Listener, t *tls.Config, limits Limits, timing timing) *tcpListener {
	ln := &tcpListener{
		l: l, tls: t, waiting: newWaiting(limits), timing: timing,
		ready: make(chan Conn), ended: make(chan struct{}),
	}
	go ln.run()
	return ln
}

type tcpListener struct {
	l       net.Listener
	tls     *tls.Config
	waiting *waiting
	timing  timing
	ready   chan Conn
	ended   chan struct{} // closed after err is set
	err     error
}

func (l *tcpListener) Addr() netip.AddrPort { return addrPort(l.l.Addr()) }

func (l *tcpListener) Accept(ctx context.Context) (Conn, error) {
	select {
	case c := <-l.ready:
		return c, nil
	case <-l.ended:
		return nil, l.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *tcpListener) run() {
	ctx, cancel := context.WithCancel(context.Background())
	defer close(l.ended)
	defer cancel()
	for {
		c, err := l.l.Accept()
		if errors.Is(err, net.ErrClosed) {
			l.err = err
			return
		}
		if err != nil { // there are no more file descriptors, for one
			time.Sleep(100 * time.Millisecond)
			continue
		}
		place := l.waiting.enter(addrPort(c.RemoteAddr()).Addr(), func() { c.Close() })
		go func() {
			defer l.waiting.leave(place)
			l.handshake(ctx, c)
		}()
	}
}

// handshake hands on a connection whose client has shown its key.
func (l *tcpListener) handshake(ctx context.Context, raw net.Conn) {
	ctx, cancel := context.WithTimeout(ctx, l.timing.shake)
	defer cancel()
	c := tls.Server(raw, l.tls)
	if err := c.HandshakeContext(ctx); err != nil {
		raw.Close()
		return
	}
	conn, err := newTCP(raw, c, false, l.timing)
	if err != nil {
		return
	}
	select {
	case l.ready <- conn:
	case <-conn.Done():
	case <-ctx.Done():
		conn.Close(0, "")
	}
}
