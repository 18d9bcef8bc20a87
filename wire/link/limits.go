package link

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"

	"github.com/quic-go/quic-go"
)

// LimitQUIC bounds the connections of a transport that are in their handshake or have not been accepted, before it listens.
// Beyond a quarter of a limit a client first has to prove its address (RFC 9000 section 8.1.2), so that who forges addresses
// cannot keep others out; beyond a limit, or when it has as many places as are free, it
// is refused at once, as quic-go ends no handshake.
func LimitQUIC(t *quic.Transport, limits Limits) { newWaiting(limits).guard(t) }

var errFull = errors.New("too many are connecting at once")

// waiting is the connections that have not been accepted yet, those in their handshake and those behind it.
type waiting struct {
	mu    sync.Mutex
	crowd *Crowd
}

func newWaiting(l Limits) *waiting { return &waiting{crowd: NewCrowd(l)} }

// enter gives a connection a place, and calls giveWay when another needs it; nil: there is none. With no giveWay it is kept.
func (w *waiting) enter(addr netip.Addr, giveWay func()) *Place {
	w.mu.Lock()
	if giveWay == nil && w.crowd.Greedy(addr) {
		w.mu.Unlock()
		return nil
	}
	p, out := w.crowd.Enter(addr, giveWay)
	if p != nil {
		p.Keep(giveWay == nil)
	}
	w.mu.Unlock()
	if out != nil {
		out.GiveWay()
	}
	return p
}

func (w *waiting) leave(p *Place) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.crowd.Leave(p)
}

// crowded reports whether a quarter of a limit is taken.
func (w *waiting) crowded(addr netip.Addr) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.crowd.Crowded(addr, 4)
}

// accepted is the key of what a QUIC connection's context has to call when it is accepted.
type accepted struct{}

func (w *waiting) guard(t *quic.Transport) {
	t.VerifySourceAddress = func(a net.Addr) bool { return w.crowded(addrPort(a).Addr()) }
	t.ConnContext = func(ctx context.Context, c *quic.ClientInfo) (context.Context, error) {
		place := w.enter(addrPort(c.RemoteAddr).Addr(), nil)
		if place == nil {
			return nil, errFull
		}
		leave := func() { w.leave(place) }
		context.AfterFunc(ctx, leave) // the handshake failed, or the connection was lost
		return context.WithValue(ctx, accepted{}, leave), nil
	}
}
