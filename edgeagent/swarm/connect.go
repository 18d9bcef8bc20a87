package swarm

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"simplebit/wire/dial"
	"simplebit/wire/peer"
)

const (
	// twinAge is how old a connection must be to be kept when the same peer connects again: two peers that dial each
	// other at once are younger, and must drop the same one of the two connections.
	twinAge = 5 * time.Second
	// usefulAge is how long a connection without payload must have lasted not to count as a failure.
	usefulAge = time.Minute
	// answerTime is how long a peer has to be heard of once it is asked whether it is there. uTP lets up to 6 s pass between two
	// tries where the peer had no room for the last, or did not answer.
	answerTime = 8 * time.Second
)

// join makes a connection a peer of the swarm, or closes it. One that we dialled has a place already.
func (t *Torrent) join(ctx context.Context, now time.Time, c *dial.Conn, entry *address) {
	p := newPeerConn(now, c, entry)
	if err := t.admit(now, p); err != nil {
		dial.Abort(c)
		if entry != nil {
			t.c.Shared.give(t.place)
			t.book.failed(entry, now)
		}
		t.log.Debug("peer refused", "addr", p.addr, "outgoing", c.Outgoing, "why", err)
		return
	}
	if entry == nil && !c.Relayed {
		// Somebody who dialled us from the port it listens on, as uTP peers do, need not be dialled.
		if a := t.book.index[p.addr]; a != nil && !a.busy {
			a.busy, p.entry = true, a
		}
	}
	p.pick = t.pick.Add()
	t.peers = append(t.peers, p)
	t.directs.add(p)
	t.running += 2
	go p.read(ctx, t.newReader(), t.events)
	go p.write(ctx, t.newWriter(c), t.events)
	t.greet(p)
	t.touch(p)
	t.changed = true
	t.log.Debug("peer connected", "addr", p.addr, "outgoing", c.Outgoing, "relayed", c.Relayed, "client", p.client)
}

func (t *Torrent) newReader() *reader {
	return &reader{pool: t.c.Pool, rates: rates{&t.c.Shared.down, &t.limits.down}, deliver: t.deliver}
}

func (t *Torrent) newWriter(c *dial.Conn) *writer {
	return &writer{conn: c.Conn, storage: t.c.Storage, pool: t.c.Pool, gather: &t.gather}
}

// admit returns why a connection is not wanted, or has it take a place. It may drop another one in its favour.
func (t *Torrent) admit(now time.Time, p *peerConn) error {
	id := p.conn.Peer.PeerID
	switch {
	case p.conn.Peer.InfoHash != t.c.InfoHash:
		return dial.ErrInfoHash
	case id == t.c.PeerID:
		return dial.ErrSelf
	case t.bans.has(p):
		return errCorrupt
	}
	twin, other := t.twins(p)
	if twin != nil && twin.conn.Peer.PeerID != id && t.deserted(now, twin) {
		t.drop(now, twin, errDeserted)
		twin, other = t.twins(p)
	}
	switch {
	case p.conn.Relayed && other != nil && t.same(other, p.addr):
		return errDirect
	case twin == nil:
	case twin.conn.Peer.PeerID != id || !t.prefer(now, p, twin):
		return errors.New("peer is connected already")
	default:
		t.drop(now, twin, errors.New("peer connected again"))
	}
	if p.entry == nil {
		if err := t.seat(now, p, other); err != nil {
			return err
		}
	}
	switch {
	case other == nil || other.gone:
	case p.conn.Relayed:
		other.relay = p
	default:
		p.relay = other
	}
	return nil
}

// seat has a connection that we did not dial take a place, or says why there is none for it. other is as twins has it.
func (t *Torrent) seat(now time.Time, p, other *peerConn) error {
	host := p.host()
	if !t.c.Shared.invite(host) {
		return errCrowd
	}
	if p.guest = t.takePlace(now) || t.succeed(now, p, other) || t.makeRoom(now, host); !p.guest {
		t.c.Shared.dismiss(host)
		return errNoPlace
	}
	return nil
}

// twins returns the connection that a new one would double, if there is one, and other, which shows the same peer id where one of
// the two is relayed and one is not. An address tells a peer only where it is that of the connection.
func (t *Torrent) twins(p *peerConn) (twin, other *peerConn) {
	for _, q := range t.peers {
		same := q.conn.Peer.PeerID == p.conn.Peer.PeerID
		at := q.addr == p.addr && p.addr.IsValid() && !p.conn.Relayed && !q.conn.Relayed
		switch {
		case !same && !at || q.draining():
		case q.conn.Relayed != p.conn.Relayed:
			other = q
		case twin == nil:
			twin = q
		}
	}
	return twin, other
}

// succeed has a direct connection take over the place of the relayed one to the same peer where there is no other: what is
// outstanding on that is asked for again.
func (t *Torrent) succeed(now time.Time, p, relay *peerConn) bool {
	return relay != nil && !p.conn.Relayed && t.same(p, relay.addr) && t.remove(now, relay, errDirect)
}

// deserted reports whether nobody is left at the other end of a connection from whose address another peer id has come. A uTP client
// keeps its port when it starts again (BEP 29), which a TCP connection does not, and if it was killed the connection that it had would
// keep it out for another minute. But whoever forges the address looks the same, so the claim of a newcomer ends nothing: it has the
// peer asked by a keep-alive, which one that is there acknowledges, however idle. Only a later newcomer is believed, if there was no
// sign of the peer since.
func (t *Torrent) deserted(now time.Time, p *peerConn) bool {
	heard, known := p.conn.Heard()
	switch {
	case !known || now.Sub(p.asked) < answerTime:
		return false
	case !heard.After(p.asked):
		return true
	}
	p.asked = now
	p.queue(peer.Message{KeepAlive: true})
	t.touch(p)
	return false
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

// drop ends a connection and gives its place back. Its goroutines end by themselves.
func (t *Torrent) drop(now time.Time, p *peerConn, why error) {
	if t.remove(now, p, why) {
		t.c.Shared.give(t.place)
	}
}

// remove is drop without giving the place back, which the caller has then: another torrent might take it at once. It reports whether
// there was a connection to end.
func (t *Torrent) remove(now time.Time, p *peerConn, why error) bool {
	if p.gone {
		return false
	}
	p.gone = true
	p.conn.Close()
	close(p.closed)
	close(p.out.full)
	t.peers = slices.DeleteFunc(t.peers, func(q *peerConn) bool { return q == p })
	t.directs.remove(p)
	t.pick.Remove(p.pick)
	if p.guest {
		t.c.Shared.dismiss(p.host())
	}
	if p.serve.grant != nil {
		p.serve.grant.giveUp()
	}
	t.suspects.departed(p)
	broke := isViolation(why)
	if a := p.entry; a != nil {
		a.seed = t.pick.Complete(p.pick) || p.remote.ext.UploadOnly
		if !broke && (p.tally.payload() > 0 || now.Sub(p.began) >= usefulAge) {
			t.book.closed(a, now)
		} else {
			t.book.failed(a, now)
		}
		if broke && p.conn.Outgoing {
			t.judge(a.at, Useless)
		}
	}
	if p.slot.held {
		t.choking.now = true
	}
	t.wakeAll, t.changed = true, true
	t.tell(now, broke, "peer disconnected", "addr", p.addr, "client", p.client, "why", why)
	return true
}

// ban drops a peer for good.
func (t *Torrent) ban(now time.Time, p *peerConn) {
	t.log.Warn("peer sent corrupt data and is banned", "addr", p.addr, "client", p.client)
	t.outlaw(p.identity())
	t.drop(now, p, errCorrupt)
}
