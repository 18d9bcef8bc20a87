package link

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
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
	return quicConn{c}, nil
}

func (l quicListener) Addr() netip.AddrPort { return addrPort(l.l.Addr()) }

// Limits bounds the connections of a TCP listener that have not been accepted yet, those in their handshake and those
// behind it. Beyond them a connection is closed at once.
type Limits struct {
	Total   int // default 256
	PerHost int // of them from one IPv4 address or IPv6 /64; default 32
}

// ListenTCP takes the connections of l, which stays the caller's to close; that ends it. Handshakes run side by side, each
// within 10 s, so that a client that says nothing keeps nobody waiting.
func ListenTCP(l net.Listener, t *tls.Config, limits Limits) Listener {
	return listenTCP(l, t, limits, surrogateTiming())
}

func listenTCP(l net.Listener, t *tls.Config, limits Limits, timing timing) *tcpListener {
	if limits.Total == 0 {
		limits.Total = 256
	}
	if limits.PerHost == 0 {
		limits.PerHost = 32
	}
	ln := &tcpListener{
		l: l, tls: t, limits: limits, timing: timing,
		ready: make(chan Conn), ended: make(chan struct{}), from: map[netip.Prefix]int{},
	}
	go ln.run()
	return ln
}

type tcpListener struct {
	l      net.Listener
	tls    *tls.Config
	limits Limits
	timing timing
	ready  chan Conn
	ended  chan struct{} // closed after err is set
	err    error

	mu    sync.Mutex
	total int
	from  map[netip.Prefix]int
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
		host := hostOf(c.RemoteAddr())
		if !l.enter(host) {
			c.Close()
			continue
		}
		go func() {
			defer l.leave(host)
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

func (l *tcpListener) enter(host netip.Prefix) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total >= l.limits.Total || l.from[host] >= l.limits.PerHost {
		return false
	}
	l.total++
	l.from[host]++
	return true
}

func (l *tcpListener) leave(host netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total--
	if l.from[host]--; l.from[host] == 0 {
		delete(l.from, host)
	}
}

// hostOf is what one client has: an IPv4 address, or an IPv6 /64.
func hostOf(a net.Addr) netip.Prefix {
	addr := addrPort(a).Addr()
	bits := 64
	if addr.Is4() {
		bits = 32
	}
	p, _ := addr.Prefix(bits)
	return p
}
