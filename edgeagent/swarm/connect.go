package swarm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"simplebit/wire/dial"
	"simplebit/wire/peer"
)

const (
	// maxBanned bounds the peer ids that are remembered for sending corrupt data.
	maxBanned = 256
	// twinAge is how old a connection must be to be kept when the same peer connects again: two peers that dial each
	// other at once are younger, and must drop the same one of the two connections.
	twinAge = 5 * time.Second
	// usefulAge is how long a connection without payload must have lasted not to count as a failure.
	usefulAge = time.Minute
)

// A dialResult is what came of dialling an address.
type dialResult struct {
	entry *address
	conn  *dial.Conn
	err   error
}

// dialMore dials as many addresses as there is room for.
func (t *Torrent) dialMore(ctx context.Context, now time.Time) {
	for t.dials < maxDials && len(t.peers)+t.dials < t.c.MaxPeers {
		a := t.book.next(now, t.seeding())
		if a == nil {
			return
		}
		t.dials++
		go func() {
			c, err := t.c.Dialer.Dial(ctx, a.at, t.handshake)
			t.dialled <- dialResult{entry: a, conn: c, err: err}
		}()
	}
}

// reached takes the outcome of a dial.
func (t *Torrent) reached(ctx context.Context, now time.Time, r dialResult) {
	if r.err != nil {
		t.book.failed(r.entry, now)
		if errors.Is(r.err, dial.ErrSelf) || errors.Is(r.err, dial.ErrInfoHash) {
			r.entry.banned = true
		}
		t.log.Debug("peer not reached", "addr", r.entry.at, "err", r.err)
		return
	}
	t.join(ctx, now, r.conn, r.entry)
}

// join makes a connection a peer of the swarm, or closes it.
func (t *Torrent) join(ctx context.Context, now time.Time, c *dial.Conn, entry *address) {
	p := newPeerConn(now, c, entry)
	if err := t.admit(now, p); err != nil {
		c.Close()
		if entry != nil {
			t.book.failed(entry, now)
		}
		t.log.Debug("peer refused", "addr", p.addr, "outgoing", c.Outgoing, "why", err)
		return
	}
	if entry == nil {
		// Somebody who dialled us from the port it listens on, as uTP peers do, need not be dialled.
		if a := t.book.index[p.addr]; a != nil && !a.busy {
			a.busy, p.entry = true, a
		}
	}
	p.pick = t.pick.Add()
	if p.entry != nil {
		p.entry.last = p.pick.ID()
	}
	t.peers = append(t.peers, p)
	t.running += 2
	go p.read(ctx, t.c.Pool, t.events)
	go p.write(ctx, t.newWriter(c), t.events)
	t.greet(p)
	t.touch(p)
	t.changed = true
	t.log.Debug("peer connected", "addr", p.addr, "outgoing", c.Outgoing, "client", p.client)
}

// newWriter makes the writer of a connection. All peers that are served at once together use at most a quarter of the
// pool for the blocks they are being sent, so that downloads go on while uploads are slow.
func (t *Torrent) newWriter(c *dial.Conn) *writer {
	share := int(t.c.Pool.Size() / peer.BlockSize / 4 / int64(t.c.UploadSlots))
	return &writer{conn: c.Conn, storage: t.c.Storage, pool: t.c.Pool, gather: max(1, min(share, maxGather))}
}

// admit returns why a connection is not wanted. It may drop another one in its favour.
func (t *Torrent) admit(now time.Time, p *peerConn) error {
	id := p.conn.Peer.PeerID
	switch {
	case p.conn.Peer.InfoHash != t.c.InfoHash:
		return dial.ErrInfoHash
	case id == t.c.PeerID:
		return dial.ErrSelf
	case slices.Contains(t.banned, id):
		return errCorrupt
	}
	for _, q := range t.peers {
		same := q.conn.Peer.PeerID == id
		if !same && (q.addr != p.addr || !p.addr.IsValid()) {
			continue
		}
		if !same || !t.prefer(now, p, q) {
			return errors.New("peer is connected already")
		}
		t.drop(now, q, errors.New("peer connected again"))
		break
	}
	if len(t.peers) >= t.c.MaxPeers {
		return fmt.Errorf("%d peers are connected already", len(t.peers))
	}
	return nil
}

// prefer reports whether a new connection replaces the old one to the same peer. When both sides dialled at once, both
// keep the one that the greater peer id dialled.
func (t *Torrent) prefer(now time.Time, p, old *peerConn) bool {
	if p.conn.Outgoing == old.conn.Outgoing || now.Sub(old.began) >= twinAge {
		return false
	}
	theirs := p.conn.Peer.PeerID
	return p.conn.Outgoing == (bytes.Compare(t.c.PeerID[:], theirs[:]) > 0)
}

// drop ends a connection. Its goroutines end by themselves.
func (t *Torrent) drop(now time.Time, p *peerConn, why error) {
	if p.gone {
		return
	}
	p.gone = true
	p.conn.Close()
	close(p.out.full)
	t.peers = slices.DeleteFunc(t.peers, func(q *peerConn) bool { return q == p })
	t.pick.Remove(p.pick)
	if a := p.entry; a != nil {
		if a.seed = t.pick.Complete(p.pick) || p.remote.ext.UploadOnly; p.payload > 0 || now.Sub(p.began) >= usefulAge {
			t.book.closed(a, now)
		} else {
			t.book.failed(a, now)
		}
	}
	if !p.choked {
		t.rechokeNow = true
	}
	t.wakeAll, t.changed = true, true
	t.log.Debug("peer disconnected", "addr", p.addr, "why", why)
}

// ban drops a peer and makes sure that it is not met again: neither dialled, nor let in under the same peer id.
func (t *Torrent) ban(now time.Time, p *peerConn) {
	if p.entry != nil {
		p.entry.banned = true
	}
	if len(t.banned) == maxBanned {
		t.banned = slices.Delete(t.banned, 0, 1)
	}
	t.banned = append(t.banned, p.conn.Peer.PeerID)
	t.drop(now, p, errCorrupt)
}
