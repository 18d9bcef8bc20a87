package swarm

import (
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"simplebit/edgeagent/picker"
	"simplebit/wire/dial"
	"simplebit/wire/peer"
)

const (
	// drainLimit is how long a relayed connection may take to drain. What is outstanding then is asked for elsewhere.
	drainLimit = 5 * time.Second
	// needlessPause is how long a relayed peer is left alone when others have all that it could be asked for.
	needlessPause = time.Second
)

var (
	errDirect  = errors.New("peer is connected directly")
	errDrained = errors.New("peer is connected directly, and nothing is outstanding on the relay")
	errUndone  = errors.New("peer is connected directly, and the relay has had its time")
)

// directs are the peers with a connection that is not relayed. Any goroutine may ask.
type directs struct {
	mu sync.Mutex
	at map[[20]byte]direct
}

// direct is what proves with whom a connection is.
type direct struct {
	conn *dial.Conn
	addr netip.AddrPort
}

func (d *directs) add(p *peerConn) {
	if p.conn.Relayed {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.at == nil {
		d.at = make(map[[20]byte]direct)
	}
	d.at[p.conn.Peer.PeerID] = direct{p.conn, p.addr}
}

func (d *directs) remove(p *peerConn) {
	if p.conn.Relayed {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.at, p.conn.Peer.PeerID)
}

// Direct reports whether the peer with that id, which who relays sees at an address, is connected other than over a relay, so that
// a relayed connection to it would be refused. A peer id is new each time that the peer begins with the torrent, so it is known
// only from its handshake.
func (t *Torrent) Direct(peerID [20]byte, seen netip.AddrPort) bool {
	t.directs.mu.Lock()
	d, ok := t.directs.at[peerID]
	t.directs.mu.Unlock()
	return ok && t.proves(d, seen)
}

// proves reports whether a direct connection is with the peer that who relays sees at an address, not only with somebody who
// shows its id: whoever has met a peer knows that. The connection must come from the host at which the peer is seen, or use a path
// that was punched, which is how private addresses and those of another family become known. It may be punched later than
// it begins.
func (t *Torrent) proves(d direct, seen netip.AddrPort) bool {
	return seen.IsValid() && dial.Host(d.addr.Addr()) == dial.Host(seen.Addr().Unmap()) || t.c.Punched != nil && t.c.Punched(d.conn)
}

// same is proves for a peer of the loop.
func (t *Torrent) same(p *peerConn, seen netip.AddrPort) bool {
	return t.proves(direct{p.conn, p.addr}, seen)
}

// DirectAt reports whether a peer is connected, other than over a relay, from or at an address. It says less than Direct:
// a NAT may show a peer at other addresses to others.
func (t *Torrent) DirectAt(at netip.AddrPort) bool {
	at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	t.directs.mu.Lock()
	defer t.directs.mu.Unlock()
	for _, d := range t.directs.at {
		if d.addr == at && at.IsValid() {
			return true
		}
	}
	return false
}

// supersede has the relayed connection to a peer drain, once the peer has sent a message on a direct one: it has taken that too,
// and does the same. Both are kept while nothing but its id says that the direct one is with the same peer.
func (t *Torrent) supersede(now time.Time, direct *peerConn) {
	p := direct.relay
	if p == nil || !direct.remote.spoke {
		return
	}
	if !p.gone && !t.same(direct, p.addr) {
		return
	}
	direct.relay = nil
	if p.gone || p.draining() {
		return
	}
	p.drains = now.Add(drainLimit)
	t.choking.now = true
	t.touch(p)
	t.log.Debug("relay drains", "addr", p.addr, "client", p.client, "direct", direct.addr, "blocks", p.pick.Requests())
}

// draining reports whether nothing new is to be begun on the connection.
func (p *peerConn) draining() bool { return !p.drains.IsZero() }

// part does what is due on a connection that drains, and returns why it is to be closed, if it is.
func (t *Torrent) part(now time.Time, p *peerConn) error {
	f := farewell{
		owed:   p.pick.Requests() > 0,
		owing:  len(p.serve.requests) > 0 || p.serve.handed > 0,
		wanted: p.remote.interested,
		late:   !now.Before(p.drains),
	}
	if p.interested && f.uninterested() {
		p.interested = false
		p.queue(peer.Message{Type: peer.TypeNotInterested})
	}
	if p.slot.held && f.choke() {
		t.serve(now, p, false)
	}
	return f.end()
}

// A farewell is how far a connection has drained. Either side says that it is not interested when nothing is outstanding that it
// has asked for, and closes when both have said so: then nothing is lost that is on its way, whoever is first.
type farewell struct {
	owed   bool // blocks are outstanding that we have asked for
	owing  bool // blocks are outstanding that the peer has asked for
	wanted bool // the peer is interested
	late   bool
}

func (f farewell) uninterested() bool { return !f.owed }
func (f farewell) choke() bool        { return !f.owing }

// end returns why the connection is to be closed, or nil.
func (f farewell) end() error {
	switch {
	case !f.owed && !f.owing && !f.wanted:
		return errDrained
	case f.late:
		return errUndone
	}
	return nil
}

// needed keeps of the blocks that were picked for a relayed peer those that nobody else would send us, and gives the others
// back: what is relayed costs the surrogate, and there is little of it. The picker hands out rare pieces first, so those that the
// peer alone has are not kept waiting by the others.
func (t *Torrent) needed(now time.Time, p *peerConn, blocks []picker.Block) []picker.Block {
	kept := slices.DeleteFunc(blocks, func(b picker.Block) bool {
		if !slices.ContainsFunc(t.peers, func(q *peerConn) bool { return q.sends(int(b.Piece)) }) {
			return false
		}
		t.pick.Rejected(p.pick, b)
		return true
	})
	if len(kept) < len(blocks) {
		p.flow.pause = now.Add(needlessPause)
	}
	return kept
}

// sends reports whether a piece can be had of the peer, without a relay.
func (p *peerConn) sends(piece int) bool {
	return !p.conn.Relayed && !p.remote.choking && !p.flow.snubbed && p.pick.Has(piece)
}
