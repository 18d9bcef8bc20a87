package dht

import (
	"net"
	"net/netip"
	"time"
)

// answer answers a query of size bytes. Who may not be answered any more gets nothing.
func (g *guard) answer(m message, size int, from netip.AddrPort, now time.Time) {
	g.mu.Lock()
	ok := g.quota.take(from.Addr(), now)
	if !ok {
		g.refused.note(becauseFlood, from, now)
	}
	stranger := ok && !m.readOnly && !g.contacts.has(from.Addr())
	g.mu.Unlock()
	if !ok {
		return
	}
	if stranger {
		// BEP 5: a node enters the table when it has answered a question of ours.
		g.maybeNode(from)
	}
	r := g.reply(m, from, now)
	r.t, r.seen = m.t, from
	// An answer that is lost is asked for again.
	g.conn.WriteTo(r.fit(min(answerFactor*size, maxAnswer)), net.UDPAddrFromAddrPort(from))
}

// reply decides what is said to a query.
func (g *guard) reply(m message, from netip.AddrPort, now time.Time) message {
	r := message{kind: kindResponse, id: g.self}
	switch m.method {
	case methodPing:
		return r
	case methodFindNode:
		if m.target == nil {
			return protocolError("find_node without a target")
		}
		r.nodes = g.nodesFor(*m.target, m, now)
		return r
	case methodGetPeers:
		if m.infoHash == nil {
			return protocolError("get_peers without an info_hash")
		}
		r.nodes = g.nodesFor(*m.infoHash, m, now)
		r.values = g.peers(*m.infoHash, now)
		r.token = g.tokens.issue(from.Addr(), now)
		return r
	case methodAnnouncePeer:
		return g.announce(m, from, now)
	}
	return message{kind: kindError, code: codeUnknownMethod, text: "Method Unknown"}
}

func protocolError(text string) message {
	return message{kind: kindError, code: codeProtocol, text: text}
}

// nodesFor returns nodes close to a target, of the families that the query wants (BEP 32).
func (g *guard) nodesFor(target [20]byte, m message, now time.Time) []node {
	own, others := m.want4, m.want6
	if g.is6 {
		own, others = m.want6, m.want4
	}
	var nodes []node
	if own || !others {
		nodes = g.closest(target, now)
	}
	if others && g.other != nil {
		nodes = append(nodes, g.other(target, now)...)
	}
	return nodes
}

// announce takes a peer. Its address is the query's, so nobody can announce somebody else.
func (g *guard) announce(m message, from netip.AddrPort, now time.Time) message {
	peer := netip.AddrPortFrom(from.Addr(), m.port)
	if m.impliedPort {
		peer = from
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	reason := ""
	switch {
	case m.infoHash == nil:
		return protocolError("announce_peer without an info_hash")
	case !g.tokens.valid(m.token, from.Addr(), now):
		reason = becauseToken
	case peer.Port() == 0 || !g.dialable(peer):
		reason = becausePeer
	case !g.announced.add(*m.infoHash, peer, now):
		reason = becauseFull
	default:
		return message{kind: kindResponse, id: g.self}
	}
	g.refused.note(reason, from, now)
	return protocolError(reason)
}

// fit marshals the answer and leaves out peers, then nodes, until it has at most the given number of bytes.
func (m message) fit(most int) []byte {
	b := m.appendMarshal(nil)
	for len(b) > most && len(m.values)+len(m.nodes) > 0 {
		excess := len(b) - most
		if len(m.values) > 0 {
			size := 2 + len(appendCompact(nil, m.values[0]))
			m.values = m.values[:max(0, len(m.values)-(excess+size-1)/size)]
		} else {
			m.nodes = m.nodes[:len(m.nodes)-1]
		}
		b = m.appendMarshal(b[:0])
	}
	return b
}
