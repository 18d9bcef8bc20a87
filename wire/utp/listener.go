package utp

import (
	"net"
	"net/netip"
	"time"
)

const (
	halfOpenPerIP = 16
	halfOpenTime  = 10 * time.Second // as long as a SYN's second repetition may take
)

// Accept waits for a connection that came in. Its address is proven: a packet from there acknowledged what we had sent there.
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
	if len(e.sockets) == 0 {
		return &net.UDPAddr{}
	}
	return e.sockets[0].mux.LocalAddr()
}

func (e *Endpoint) closedError(op string) error {
	return &net.OpError{Op: op, Net: "utp", Source: e.Addr(), Err: net.ErrClosed}
}

// halfOpen is the incoming connections whose address is not proven, oldest first. A flood of requests pushes the oldest out
// instead of keeping everybody else from getting in: an honest peer needs one round trip, which it has as long as fewer
// than limit requests come in that time. e.mu guards it.
type halfOpen struct {
	limit       int
	n           int
	first, last *Conn
	from        map[netip.Addr]int
}

// waiting is a connection's place among the half-open ones.
type waiting struct {
	in           bool
	older, newer *Conn
}

// source is what is counted as one sender: an IPv4 address, or an IPv6 /64, of which every customer has many addresses.
func source(a netip.Addr) netip.Addr {
	if a.Is4() {
		return a
	}
	p, _ := a.WithZone("").Prefix(64) // 64 bits are there
	return p.Addr()
}

func (h *halfOpen) add(c *Conn) {
	c.half = waiting{in: true, older: h.last}
	if h.last != nil {
		h.last.half.newer = c
	} else {
		h.first = c
	}
	h.last = c
	h.n++
	h.from[source(c.remote.Addr())]++
}

func (h *halfOpen) remove(c *Conn) {
	w := c.half
	if !w.in {
		return
	}
	if w.older != nil {
		w.older.half.newer = w.newer
	} else {
		h.first = w.newer
	}
	if w.newer != nil {
		w.newer.half.older = w.older
	} else {
		h.last = w.older
	}
	c.half = waiting{}
	h.n--
	if s := source(c.remote.Addr()); h.from[s] > 1 {
		h.from[s]--
	} else {
		delete(h.from, s)
	}
}

// admit makes a connection of a SYN, or returns nil where a limit forbids it. Where the half-open ones are too many, it
// takes the oldest out of the table, for the caller to put an end to. e.mu is held.
func (s *socket) admit(now time.Time, from netip.AddrPort, syn *packet) (c, evicted *Conn) {
	e := s.endpoint
	if len(e.backlog) == cap(e.backlog) || e.half.from[source(from.Addr())] >= halfOpenPerIP {
		return nil, nil
	}
	if e.half.n >= e.half.limit || len(e.table) >= e.config.MaxConns {
		if evicted = e.half.first; evicted == nil {
			return nil, nil
		}
		e.half.remove(evicted)
		delete(e.table, key{evicted.socket, evicted.remote, evicted.id})
	}
	c = newConn(e, s, from)
	c.id, c.peerID = syn.connID+1, syn.connID
	c.unproven, c.limit = true, now.Add(halfOpenTime)
	c.core = newResponder(now, syn, c.coreConfig())
	e.table[key{s, from, c.id}] = c
	e.half.add(c)
	return c, evicted
}

// prove takes c, whose address is proven now, from the half-open ones to those that wait to be accepted. False: there is no
// room, or nobody who accepts. The caller holds c's mutex.
func (e *Endpoint) prove(c *Conn) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.half.remove(c)
	if isClosed(e.deaf) {
		return false
	}
	select {
	case e.backlog <- c:
		return true
	default:
		return false
	}
}
