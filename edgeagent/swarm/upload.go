package swarm

import (
	"fmt"
	"slices"
	"time"

	"simplebit/edgeagent/choker"
	"simplebit/wire/peer"
)

const (
	// longestRequest is the length in bytes above which a request breaks the protocol in the eyes of all clients.
	longestRequest = 128 << 10
	// What a writer has in hand is a second's worth within these bounds, in bytes: a choke or cancel cannot stop it.
	leastHanded = 2 * peer.BlockSize
	mostHanded  = 2 * maxGather * peer.BlockSize
)

// interested handles INTERESTED and NOT INTERESTED.
func (t *Torrent) interested(now time.Time, p *peerConn, is bool) {
	if is == p.remote.interested {
		return
	}
	p.remote.interested = is
	if is {
		p.slotSince = now
	}
	t.rechokeNow = true
}

// rechoke gives the upload slots to the peers that shall have them now.
func (t *Torrent) rechoke(now time.Time) {
	t.rechoked, t.rechokeNow = now, false
	var waiting []choker.Peer
	for _, p := range t.peers {
		if p.remote.interested {
			waiting = append(waiting, choker.Peer{ID: uint32(p.pick.ID()), Unchoked: !p.choked, Since: p.slotSince})
		}
	}
	chosen := choker.Choose(now, waiting, t.c.UploadSlots, t.seeding())
	for _, p := range t.peers {
		serve := slices.Contains(chosen, uint32(p.pick.ID()))
		if serve != p.choked {
			continue
		}
		p.choked, p.slotSince = !serve, now
		if serve {
			p.queue(peer.Message{Type: peer.TypeUnchoke})
		} else {
			p.queue(peer.Message{Type: peer.TypeChoke})
			p.rejectAll()
		}
		t.touch(p)
	}
}

// rejectAll answers the requests of a peer that has just been choked. Those that the writer has begun with are served.
func (p *peerConn) rejectAll() {
	b := p.sending()
	for _, r := range b.uploads {
		p.handed -= int(r.length)
	}
	for _, r := range slices.Concat(b.uploads, p.requests) {
		p.reject(r)
	}
	b.uploads, p.requests = b.uploads[:0], p.requests[:0]
}

// reject tells the peer that a request will not be served, if it speaks the fast extension (BEP 6); else silence says so.
func (p *peerConn) reject(r request) {
	if p.remote.fast {
		p.queue(peer.Message{Type: peer.TypeReject, Index: r.index, Begin: r.begin, Length: r.length})
	}
}

// requested handles REQUEST. What no honest peer sends ends the connection, what can be due to bad luck is rejected.
func (t *Torrent) requested(p *peerConn, r request) error {
	if int64(r.index) >= int64(t.pieces) || r.length == 0 || r.length > longestRequest ||
		int64(r.begin)+int64(r.length) > int64(t.sizeOf(int(r.index))) {
		return fmt.Errorf("peer asked for bytes %d+%d of piece %d, which do not exist", r.begin, r.length, r.index)
	}
	if r.length > peer.BlockSize && !p.remote.fast {
		// BEP 3: "close connections which request an amount greater than that".
		return fmt.Errorf("peer asked for a block of %d bytes", r.length)
	}
	if !p.remote.fast && len(p.requests) >= muteQueue {
		return fmt.Errorf("peer asked for %d blocks and more", muteQueue)
	}
	full := p.remote.fast && len(p.requests) >= ourQueue
	if p.choked || full || r.length > peer.BlockSize || !t.have.Has(int(r.index)) {
		p.reject(r)
	} else {
		p.requests = append(p.requests, r)
	}
	t.touch(p)
	return nil
}

// cancelled handles CANCEL. With the fast extension every request is answered, this one by a reject (BEP 6).
func (t *Torrent) cancelled(p *peerConn, r request) {
	i := slices.Index(p.requests, r)
	if i < 0 {
		return
	}
	p.requests = slices.Delete(p.requests, i, i+1)
	p.reject(r)
	t.touch(p)
}

// feed hands the writer requests to serve.
func (t *Torrent) feed(now time.Time, p *peerConn) {
	if len(p.requests) == 0 {
		return
	}
	limit := int(min(max(p.up.rate(now), leastHanded), mostHanded))
	if p.handed > limit/2 {
		return
	}
	n := 0
	for n < len(p.requests) && p.handed < limit {
		p.handed += int(p.requests[n].length)
		n++
	}
	b := p.sending()
	b.uploads = append(b.uploads, p.requests[:n]...)
	p.requests = slices.Delete(p.requests, 0, n)
}

// wrote counts payload that the writer has sent.
func (t *Torrent) wrote(now time.Time, p *peerConn, n int) {
	p.handed -= n
	p.payload += int64(n)
	p.up.add(now, n)
	t.uploaded += int64(n)
	t.up.add(now, n)
	t.touch(p)
}
