package swarm

import (
	"fmt"
	"slices"
	"time"

	"simplebit/edgeagent/picker"
	"simplebit/edgeagent/storage"
	"simplebit/wire/peer"
)

const (
	// maxStrays is how many blocks and rejects that were not asked for a peer may send.
	maxStrays = 64
	// rejectPause is how long a peer is left alone after it rejected a request, lest the same is sent again and again.
	rejectPause = 2 * time.Second
	// aheadOfMemory is how many blocks may be in flight for each that the pool holds. What comes faster than the disk
	// takes it waits in the sockets; what is bounded here is how much of it there can be. Transmission looks at its queue
	// of our requests twice a second, so a short queue is slow whatever the line.
	aheadOfMemory = 4
)

// ask sends the peer requests, as many as are due.
func (t *Torrent) ask(now time.Time, p *peerConn) {
	outstanding := p.pick.Requests()
	memory := int(t.c.Pool.Size() / storage.BlockSize)
	share := memory / 8 / len(t.peers)
	p.wake.Store(wakeAfter(outstanding, share))
	if !p.interested || now.Before(p.pause) {
		return
	}
	room := aheadOfMemory*memory - t.pick.Requested() + outstanding
	n := p.pipe.due(p.pipe.limit(p.remote.reqq(), room), outstanding)
	if n <= 0 {
		return
	}
	if p.remote.choking {
		t.blocks = t.pick.PickAllowed(p.pick, n, t.blocks[:0])
	} else {
		t.blocks = t.pick.Pick(p.pick, n, t.blocks[:0])
	}
	if len(t.blocks) > 0 && outstanding == 0 {
		p.owing = now
	}
	for _, b := range t.blocks {
		p.queue(peer.Message{Type: peer.TypeRequest, Index: b.Piece, Begin: b.Begin, Length: b.Length})
	}
	p.wake.Store(wakeAfter(p.pick.Requests(), share))
}

// collect takes the blocks that have come from the peer. What comes of a peer that was dropped meanwhile was not asked for.
func (t *Torrent) collect(now time.Time, p *peerConn) error {
	in := p.in.take()
	if in == nil {
		return nil
	}
	var err error
	for _, a := range in.list {
		if e := t.block(now, p, a); e != nil {
			err = e
		}
	}
	clear(in.list)
	in.list, in.announced = in.list[:0], false
	p.in.giveBack(in)
	return err
}

// block takes the data of a PIECE message.
func (t *Torrent) block(now time.Time, p *peerConn, a arrival) error {
	p.heard = now
	p.remote.talking = true
	n := a.block.N
	b := picker.Block{Piece: a.index, Begin: a.begin, Length: uint32(n)}
	if ok, _ := t.pick.Received(p.pick, b, nil); !ok {
		a.block.Release()
		return p.stray("blocks")
	}
	t.c.Storage.Write(int(a.index), int(a.begin), a.block)
	p.pipe.received()
	p.owing = now
	p.payload += int64(n)
	p.down.add(now, n)
	t.downloaded += int64(n)
	t.down.add(now, n)
	t.touch(p)
	return nil
}

// rejected handles REJECT (BEP 6).
func (t *Torrent) rejected(now time.Time, p *peerConn, m peer.Message) error {
	if !t.pick.Rejected(p.pick, picker.Block{Piece: m.Index, Begin: m.Begin, Length: m.Length}) {
		return p.stray("rejects")
	}
	if !p.remote.choking {
		p.pipe.rejected()
	}
	p.pause = now.Add(rejectPause)
	t.wakeAll = true
	return nil
}

func (p *peerConn) stray(what string) error {
	if p.strays++; p.strays > maxStrays {
		return fmt.Errorf("peer keeps sending %s that were not asked for", what)
	}
	return nil
}

// stored takes a result of the storage.
func (t *Torrent) stored(now time.Time, ev storage.Event) {
	switch ev.Kind {
	case storage.PieceVerified:
		t.verified(now, ev.Piece)
	case storage.PieceFailed:
		t.corrupt(now, ev.Piece)
	case storage.DiskFailed:
		t.failed = ev.Err
	}
}

func (t *Torrent) verified(now time.Time, piece int) {
	t.have.Set(piece)
	t.haveBytes += int64(t.sizeOf(piece))
	t.pick.Verified(piece)
	for _, p := range slices.Clone(t.peers) {
		if !p.pick.Has(piece) {
			p.queue(peer.Message{Type: peer.TypeHave, Index: uint32(piece)})
			t.touch(p)
		}
		t.updateInterest(p)
		if t.seeding() {
			t.completed(now, p)
		}
	}
	if t.seeding() {
		t.rechokeNow = true
		t.publish(now)
		t.log.Debug("torrent complete", "uploaded", t.uploaded, "downloaded", t.downloaded)
	}
}

// completed tells a peer that we have everything, or drops it if it has too.
func (t *Torrent) completed(now time.Time, p *peerConn) {
	if t.useless(p) {
		t.drop(now, p, errBothSeeds)
		return
	}
	t.sendExtensions(p)
	t.touch(p)
}

// corrupt deals with a piece whose hash is wrong: a peer that sent all of it is to blame for certain.
func (t *Torrent) corrupt(now time.Time, piece int) {
	from := t.pick.Failed(piece)
	t.wakeAll = true
	t.log.Warn("piece has the wrong hash and is fetched again", "piece", piece, "peers", len(from))
	if len(from) != 1 {
		return
	}
	for _, p := range t.peers {
		if p.pick.ID() == from[0] {
			t.log.Warn("peer sent corrupt data and is banned", "addr", p.addr, "client", p.client)
			t.ban(now, p)
			return
		}
	}
	if a := t.book.lastOf(from[0]); a != nil {
		a.banned = true
	}
}
