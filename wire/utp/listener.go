package utp

import (
	"net"
	"net/netip"
	"time"
)

// Accept waits for a connection that came in. Its address is proven, as far as 15 bits can: a packet from there acknowledged what we
// had sent there within four minutes before. Who saw that packet can open the connection once more in that time.
// The error is [net.ErrClosed].
func (e *Endpoint) Accept() (net.Conn, error) {
	for {
		if isClosed(e.deaf) {
			return nil, e.closedError("accept")
		}
		select {
		case <-e.deaf:
		case c := <-e.backlog:
			e.counters.accepted.Add(1)
			return c, nil
		}
	}
}

// Close stops accepting: connections that wait are reset, later requests refused. Open connections stay, as with any
// listener, and dialling goes on.
func (e *Endpoint) Close() error {
	e.mu.Lock()
	if isClosed(e.deaf) {
		e.mu.Unlock()
		return e.closedError("close")
	}
	close(e.deaf)
	e.mu.Unlock()
	for {
		select {
		case c := <-e.backlog:
			c.abort(time.Now(), net.ErrClosed)
		default:
			return nil
		}
	}
}

// Addr is the address of the first socket, a *net.UDPAddr.
func (e *Endpoint) Addr() net.Addr {
	sockets := e.attached()
	if len(sockets) == 0 {
		return &net.UDPAddr{}
	}
	return sockets[0].mux.LocalAddr()
}

func (e *Endpoint) closedError(op string) error {
	return &net.OpError{Op: op, Net: "utp", Source: e.Addr(), Err: net.ErrClosed}
}

// admit makes a connection of the first packet after a SYN, for Accept to find, or returns nil where a limit forbids it. e.mu
// is held.
func (s *socket) admit(now time.Time, from netip.AddrPort, first *packet) *Conn {
	e := s.endpoint
	if e.full() {
		return nil
	}
	c := newConn(e, s, from)
	c.id, c.peerID = first.connID, first.connID-1
	c.core = newResponder(now, first, c.coreConfig())
	e.table[key{s, from, c.id}] = c
	e.backlog <- c // has room; only here it is filled
	return c
}

// full reports whether nobody can come in at the moment. e.mu is held.
func (e *Endpoint) full() bool {
	return len(e.backlog) == cap(e.backlog) || len(e.table) >= e.config.MaxConns
}

// firstWindow is the room to tell somebody of who is no connection yet.
func (e *Endpoint) firstWindow() int {
	nothing := allotment{budget: &e.memory}
	r := receiver{limit: e.config.PerConn, spare: nothing.spare}
	return r.window()
}
