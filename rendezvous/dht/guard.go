package dht

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Why datagrams are refused.
const (
	becauseAddress = "its sender's address may not be contacted"
	becauseFlood   = "too many queries"
	becauseUnasked = "it answers no question of ours"
	becauseToken   = "announces a peer without a valid token"
	becausePeer    = "announces a peer at a port that may not be contacted"
	becauseFull    = "announces a peer for which there is no room"
)

// readPause keeps a socket that fails from taking a whole processor.
const readPause = 100 * time.Millisecond

// guard is the socket as the library sees it. The library reads nothing but answers to questions of its own, written anew
// from what was understood: v2.23.0 panics on strings of one byte in values and ip and on announce_peer without arguments,
// counts transactions up, so that answers can be forged, and keeps a counter for every query name that it hears of. Queries
// are answered here.
//
// ReadFrom is called by one goroutine, the library's; the other methods by any.
type guard struct {
	conn      net.PacketConn
	is6       bool
	self      [20]byte
	dialable  func(netip.AddrPort) bool
	other     func([20]byte, time.Time) []node // nodes of the other family for those who want them; nil: there is none
	maybeNode func(netip.AddrPort)             // told addresses of either family at which there may be a node; must not wait
	firstNode func()                           // told when there is a good node and was none; must not wait
	buf       []byte                           // the reader's
	tokens    tokens
	closing   chan struct{}
	close     func() error
	reading   sync.Mutex // held while the library reads

	mu        sync.Mutex
	quota     quota
	asked     asked
	contacts  contacts
	announced announced
	votes     votes
	refused   refused
}

// ReadFrom waits for an answer to a question of the library's. It returns an error only after Close, because the library
// takes any other for the end of the world.
func (g *guard) ReadFrom(b []byte) (int, net.Addr, error) {
	g.reading.Lock()
	defer g.reading.Unlock()
	for {
		n, source, err := g.conn.ReadFrom(g.buf)
		if err != nil {
			pause := time.After(readPause)
			if errors.Is(err, net.ErrClosed) {
				pause = nil
			}
			select {
			case <-pause:
				continue
			case <-g.closing:
				return 0, nil, net.ErrClosed
			}
		}
		from := addrPort(source)
		if m, ok := g.receive(g.buf[:n], from, time.Now()); ok {
			return copy(b, m.appendMarshal(nil)), net.UDPAddrFromAddrPort(from), nil
		}
	}
}

// addrPort converts an address of a packet. IPv4 addresses have one form only.
func addrPort(a net.Addr) netip.AddrPort {
	u, ok := a.(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := u.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// receive takes a datagram and returns what the library is to read of it, if anything.
func (g *guard) receive(b []byte, from netip.AddrPort, now time.Time) (message, bool) {
	if len(b) == 0 || b[0] != 'd' {
		return message{}, false // of another protocol on the same port
	}
	if !g.contactable(from) {
		g.refuse(becauseAddress, from, now)
		return message{}, false
	}
	m, err := parseMessage(b)
	if err != nil {
		g.refuse("it "+err.Error(), from, now)
		return message{}, false
	}
	if m.kind == kindQuery {
		g.answer(m, len(b), from, now)
		return message{}, false
	}
	return g.answered(m, from, now)
}

// contactable reports whether datagrams may be sent to an address from this socket.
func (g *guard) contactable(a netip.AddrPort) bool {
	return a.IsValid() && a.Port() != 0 && a.Addr().Is6() == g.is6 && g.dialable(a)
}

func (g *guard) refuse(reason string, from netip.AddrPort, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refused.note(reason, from, now)
}

// answered takes an answer. Nodes of our own family go on to the library, if they may be contacted; those of the other
// family are for the other socket. The sender is marked as one that answers no queries unless it may enter the table.
func (g *guard) answered(m message, from netip.AddrPort, now time.Time) (message, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	t, ok := g.asked.take(question{from, m.t}, now)
	if !ok {
		g.refused.note(becauseUnasked, from, now)
		return m, false
	}
	if m.kind == kindError {
		return message{kind: kindError, t: t, code: m.code, text: m.text}, true
	}
	if m.seen.IsValid() && m.seen.Addr().Is6() == g.is6 {
		g.votes.vote(from.Addr(), m.seen.Addr())
	}
	none := g.contacts.good(now) == 0
	enters := g.contacts.met(node{m.id, from}, now)
	if none && enters {
		g.firstNode()
	}
	r := message{kind: kindResponse, t: t, id: m.id, token: m.token, readOnly: !enters || m.readOnly}
	hosts := make(map[netip.Prefix]bool)
	for _, n := range m.nodes {
		switch h := host(n.addr.Addr()); {
		case n.addr.Port() == 0 || n.id == g.self || hosts[h] || !g.dialable(n.addr):
		case n.addr.Addr().Is6() != g.is6:
			g.maybeNode(n.addr)
		default:
			hosts[h] = true
			r.nodes = append(r.nodes, n)
		}
	}
	for _, v := range m.values {
		if v.Port() != 0 && g.dialable(v) {
			r.values = append(r.values, v)
		}
	}
	return r, true
}

// WriteTo sends a question of the library's, under a transaction id that cannot be guessed.
func (g *guard) WriteTo(b []byte, to net.Addr) (int, error) {
	m, err := parseMessage(b)
	a := addrPort(to)
	switch {
	case err != nil || m.kind != kindQuery:
		return 0, fmt.Errorf("dht: the library sent what is no query: %v", err)
	case !g.contactable(a):
		return 0, fmt.Errorf("dht: %v may not be contacted", to)
	}
	t := m.t
	m.t = rand.Text()[:8]
	g.mu.Lock()
	ok := g.asked.add(question{a, m.t}, t, time.Now())
	g.mu.Unlock()
	if !ok {
		return 0, errors.New("dht: too many questions are open")
	}
	_, err = g.conn.WriteTo(m.appendMarshal(nil), net.UDPAddrFromAddrPort(a))
	return len(b), err
}

// awaitReader returns after Close when the library reads no more, or is about to find out that it cannot.
func (g *guard) awaitReader() {
	g.reading.Lock()
	defer g.reading.Unlock()
}

// Close closes the socket, which ends ReadFrom.
func (g *guard) Close() error { return g.close() }

// LocalAddr returns the socket's address.
func (g *guard) LocalAddr() net.Addr { return g.conn.LocalAddr() }

// SetDeadline and its kin do nothing: the library has no use for them.
func (g *guard) SetDeadline(time.Time) error      { return nil }
func (g *guard) SetReadDeadline(time.Time) error  { return nil }
func (g *guard) SetWriteDeadline(time.Time) error { return nil }

// good counts the nodes that have answered lately.
func (g *guard) good() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.contacts.good(time.Now())
}

// knows reports whether a node at an address has answered lately, or another of its host.
func (g *guard) knows(a netip.Addr) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.contacts.has(a)
}

// closest returns the nodes closest to a target that have answered lately.
func (g *guard) closest(target [20]byte, now time.Time) []node {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.contacts.closest(target, now)
}

// peers returns what others have announced to us of a torrent.
func (g *guard) peers(hash [20]byte, now time.Time) []netip.AddrPort {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.announced.peers(hash, maxValues, now)
}
