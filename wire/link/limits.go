package link

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"

	"github.com/quic-go/quic-go"
)

// Limits bounds the connections of a listener that have not been accepted yet, those in their handshake and those behind it.
// Beyond them a connection is refused at once.
type Limits struct {
	Total   int // default 256
	PerHost int // of them from one IPv4 address or IPv6 /64; default 32
}

// LimitQUIC bounds the connections of a transport, before it listens; ListenQUIC's Accept counts them as accepted. Beyond a
// quarter of a limit a client first has to prove its address (RFC 9000 section 8.1.2), so that who forges addresses cannot
// keep others out.
func LimitQUIC(t *quic.Transport, limits Limits) { newWaiting(limits).guard(t) }

var errFull = errors.New("too many are connecting at once")

// waiting counts the connections that have not been accepted yet.
type waiting struct {
	limits Limits

	mu    sync.Mutex
	total int
	from  map[netip.Prefix]int
}

func newWaiting(l Limits) *waiting {
	l.Total, l.PerHost = cmp.Or(l.Total, 256), cmp.Or(l.PerHost, 32)
	return &waiting{limits: l, from: map[netip.Prefix]int{}}
}

// enter counts a connection unless that is one too many.
func (w *waiting) enter(host netip.Prefix) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.total >= w.limits.Total || w.from[host] >= w.limits.PerHost {
		return false
	}
	w.total++
	w.from[host]++
	return true
}

func (w *waiting) leave(host netip.Prefix) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.total--
	if w.from[host]--; w.from[host] == 0 {
		delete(w.from, host)
	}
}

// crowded reports whether a quarter of a limit is taken.
func (w *waiting) crowded(host netip.Prefix) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.total >= (w.limits.Total+3)/4 || w.from[host] >= (w.limits.PerHost+3)/4
}

// accepted is the key of what a QUIC connection's context has to call when it is accepted.
type accepted struct{}

func (w *waiting) guard(t *quic.Transport) {
	t.VerifySourceAddress = func(a net.Addr) bool { return w.crowded(hostOf(a)) }
	t.ConnContext = func(ctx context.Context, c *quic.ClientInfo) (context.Context, error) {
		host := hostOf(c.RemoteAddr)
		if !w.enter(host) {
			return nil, errFull
		}
		leave := sync.OnceFunc(func() { w.leave(host) })
		context.AfterFunc(ctx, leave) // the handshake failed, or the connection was lost
		return context.WithValue(ctx, accepted{}, leave), nil
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
