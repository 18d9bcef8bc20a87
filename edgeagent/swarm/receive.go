package swarm

import (
	"net/netip"
	"time"

	"simplebit/wire/peer"
)

// message handles one message of a peer. An error means that the peer is to be dropped for it.
func (t *Torrent) message(now time.Time, p *peerConn, m peer.Message) error {
	if m.KeepAlive {
		return nil
	}
	switch m.Type {
	case peer.TypeSuggest, peer.TypeHaveAll, peer.TypeHaveNone, peer.TypeReject, peer.TypeAllowedFast:
		// BEP 6: "when the fast extension is disabled, if a peer receives any of these messages it should close the
		// connection".
		if !p.remote.fast {
			return violates("peer sent %s without the fast extension", m.Type)
		}
	}
	switch m.Type {
	case peer.TypeBitfield, peer.TypeHaveAll, peer.TypeHaveNone:
		return t.opening(p, m)
	case peer.TypeExtended:
		// Extension handshakes may come first, as Transmission sends them.
		return t.extended(p, m)
	case peer.TypePort:
		return nil
	}
	p.remote.talking = true
	switch m.Type {
	case peer.TypeChoke:
		return t.choke(p)
	case peer.TypeUnchoke:
		p.remote.choking = false
		p.flow.pause = time.Time{}
		p.flow.pipe = pipeline{want: p.flow.pipe.want}
		t.touch(p)
	case peer.TypeInterested:
		t.interested(now, p, true)
	case peer.TypeNotInterested:
		t.interested(now, p, false)
	case peer.TypeHave:
		if err := t.inRange(m); err != nil {
			return err
		}
		t.pick.HasPiece(p.pick, int(m.Index))
		return t.offers(p)
	case peer.TypeAllowedFast:
		if err := t.inRange(m); err != nil {
			return err
		}
		t.pick.Allow(p.pick, int(m.Index))
		t.touch(p)
	case peer.TypeReject:
		return t.rejected(now, p, m)
	case peer.TypeRequest:
		return t.requested(p, request{m.Index, m.Begin, m.Length})
	case peer.TypeCancel:
		t.cancelled(p, request{m.Index, m.Begin, m.Length})
	}
	return nil
}

// opening handles the messages that say what the peer has. BEP 3 and 6 allow one of them, before any other but those of
// extensions; but aria2 sends a later BITFIELD or HAVE ALL in place of many HAVEs.
func (t *Torrent) opening(p *peerConn, m peer.Message) error {
	late := p.remote.talking
	p.remote.talking = true
	has := peer.Bitfield(m.Payload)
	switch {
	case m.Type == peer.TypeBitfield && !has.Valid(t.pieces):
		return violates("peer sent a bitfield of %d bytes that does not fit %d pieces", len(m.Payload), t.pieces)
	case m.Type == peer.TypeHaveNone && late:
		return violates("peer sent %s after other messages", m.Type)
	case m.Type == peer.TypeHaveNone:
	case late:
		for i := range t.pieces {
			if m.Type == peer.TypeHaveAll || has.Has(i) {
				t.pick.HasPiece(p.pick, i)
			}
		}
	case m.Type == peer.TypeHaveAll:
		t.pick.HasAll(p.pick)
	default:
		t.pick.HasSome(p.pick, has)
	}
	return t.offers(p)
}

// offers draws the conclusions from what a peer has now.
func (t *Torrent) offers(p *peerConn) error {
	if t.useless(p) {
		return errBothSeeds
	}
	t.updateInterest(p)
	return nil
}

// useless reports whether neither side can ever want anything of the other.
func (t *Torrent) useless(p *peerConn) bool {
	return t.seeding() && (t.pick.Complete(p.pick) || p.remote.ext.UploadOnly)
}

// updateInterest tells the peer whether we want something of it, if that has changed.
func (t *Torrent) updateInterest(p *peerConn) {
	if p.draining() {
		return
	}
	want := t.pick.Interesting(p.pick)
	if want == p.interested {
		if want {
			t.touch(p)
		}
		return
	}
	p.interested = want
	if want {
		p.queue(peer.Message{Type: peer.TypeInterested})
	} else {
		p.queue(peer.Message{Type: peer.TypeNotInterested})
	}
	t.touch(p)
}

// choke handles CHOKE. Without the fast extension it rejects all requests; with it, each is answered (BEP 6).
func (t *Torrent) choke(p *peerConn) error {
	if p.remote.choking {
		return nil
	}
	p.remote.choking = true
	t.pick.Choked(p.pick, p.remote.fast)
	t.wakeAll = true
	return nil
}

func (t *Torrent) inRange(m peer.Message) error {
	if int64(m.Index) >= int64(t.pieces) {
		return violates("peer sent %s for piece %d of %d", m.Type, m.Index, t.pieces)
	}
	return nil
}

// greet sends what comes first on a connection (BEP 3, 6, 10).
func (t *Torrent) greet(p *peerConn) {
	have := t.pieces - t.pick.Missing()
	switch {
	case p.remote.fast && t.complete():
		p.queue(peer.Message{Type: peer.TypeHaveAll})
	case p.remote.fast && have == 0:
		p.queue(peer.Message{Type: peer.TypeHaveNone})
	case have > 0:
		p.queue(peer.Message{Type: peer.TypeBitfield, Payload: t.have})
	}
	t.sendExtensions(p)
}

// sendExtensions sends our extension handshake (BEP 10).
func (t *Torrent) sendExtensions(p *peerConn) {
	if !p.remote.extended {
		return
	}
	ours := peer.Extensions{
		ReqQ:       ourQueue,
		Port:       t.c.Port,
		Version:    t.c.Software,
		YourIP:     p.addr.Addr(),
		UploadOnly: t.seeding(),
	}
	p.queue(peer.Message{Type: peer.TypeExtended, ExtID: peer.ExtHandshake, Payload: ours.AppendMarshal(nil)})
}

// extended handles the extension handshake, of which a peer may send several. We give out no ids, so other extended
// messages are not for us.
func (t *Torrent) extended(p *peerConn, m peer.Message) error {
	if !p.remote.extended {
		return violates("peer sent %s without the extension protocol", m.Type)
	}
	if m.ExtID != peer.ExtHandshake {
		return nil
	}
	ext, err := p.remote.ext.Update(m.Payload)
	if err != nil {
		return err
	}
	p.remote.ext = ext
	p.client = peer.ClientName(p.conn.Peer.PeerID, ext.Version)
	t.changed = true
	if p.entry == nil && ext.Port != 0 && p.addr.IsValid() && !p.conn.Relayed {
		// An accepted peer tells where it can be dialled, should this connection end.
		if a := t.book.add(netip.AddrPortFrom(p.addr.Addr(), ext.Port), false); a != nil && !a.busy {
			a.busy, p.entry = true, a
		}
	}
	return t.offers(p)
}
