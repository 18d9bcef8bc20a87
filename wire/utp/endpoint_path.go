package utp

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"time"

	"simplebit/nat/udpmux"
)

// A path is a socket and a remote address: what is punched through NATs works from that socket alone.

// Via is a dialer that uses one of the endpoint's sockets.
type Via struct {
	endpoint *Endpoint
	mux      *udpmux.Socket
}

// Via returns a dialer that uses mux alone, which is attached; once it is not any more, dialling fails with [net.ErrClosed].
func (e *Endpoint) Via(mux *udpmux.Socket) Via { return Via{e, mux} }

// DialContext is [Endpoint.DialContext] by this socket.
func (v Via) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	s := v.endpoint.socketOf(v.mux)
	if s == nil {
		return nil, v.endpoint.closedError("dial")
	}
	return v.endpoint.dial(ctx, network, address, func(a netip.Addr) *socket {
		if !v.mux.Reaches(a) {
			return nil
		}
		return s
	})
}

// Via is the socket that the connection is on, also once it is closed.
func (c *Conn) Via() *udpmux.Socket { return c.socket.mux }

// Carries reports whether there are connections between mux and the remote address: such that were opened, that are being
// opened, or that were closed and are not done with what they have to send.
func (e *Endpoint) Carries(mux *udpmux.Socket, remote netip.AddrPort) bool {
	return len(e.between(mux, remote)) > 0
}

// Heard is when a packet last came from the remote address to mux that belongs to an open connection between the two, by the
// numbers that it acknowledges; zero: there is none. Whoever sees the packets can forge such a one.
func (e *Endpoint) Heard(mux *udpmux.Socket, remote netip.AddrPort) (last time.Time) {
	for _, c := range e.between(mux, remote) {
		c.mu.Lock()
		if at := c.core.lastHeard(); at.After(last) {
			last = at
		}
		c.mu.Unlock()
	}
	return last
}

// Heard is when a packet of the peer last came that belongs to the connection, as [Endpoint.Heard] has it; zero: none did, or the
// connection has ended or failed. Any goroutine may call it, as often as it likes.
func (c *Conn) Heard() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return time.Time{}
	}
	return c.core.lastHeard()
}

// Cut resets the connections between mux and the remote address. Who uses them gets [net.ErrClosed].
func (e *Endpoint) Cut(mux *udpmux.Socket, remote netip.AddrPort) {
	now := time.Now()
	for _, c := range e.between(mux, remote) {
		c.abort(now, net.ErrClosed)
	}
}

// between is the connections of a path.
func (e *Endpoint) between(mux *udpmux.Socket, remote netip.AddrPort) (list []*Conn) {
	remote = netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
	return e.which(func(c *Conn) bool { return c.socket.mux == mux && c.remote == remote })
}

func (e *Endpoint) which(wanted func(*Conn) bool) (list []*Conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.table {
		if wanted(c) {
			list = append(list, c)
		}
	}
	return list
}

// Detach ends what Attach began: the connections on mux are reset, and what arrives there is ignored. It is for a socket that
// is to be closed while the endpoint goes on.
func (e *Endpoint) Detach(mux *udpmux.Socket) {
	s := e.socketOf(mux)
	if s == nil {
		return
	}
	e.mu.Lock()
	s.detached = true
	e.sockets = slices.DeleteFunc(slices.Clone(e.sockets), func(o *socket) bool { return o == s })
	e.mu.Unlock()
	now := time.Now()
	left := e.which(func(c *Conn) bool { return c.socket == s })
	for _, c := range left {
		c.abort(now, net.ErrClosed)
	}
	for _, c := range left {
		for c.busy() { // who is sending has been left the RESET
			time.Sleep(time.Millisecond)
		}
	}
}

// attached is the sockets of the moment, not to be changed.
func (e *Endpoint) attached() []*socket {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.sockets
}

// socketOf is nil for a mux that is not attached.
func (e *Endpoint) socketOf(mux *udpmux.Socket) *socket {
	for _, s := range e.attached() {
		if s.mux == mux {
			return s
		}
	}
	return nil
}
