package swarm

import (
	"slices"
	"time"

	"simplebit/edgeagent/picker"
	"simplebit/edgeagent/storage"
	"simplebit/wire/peer"
)

const (
	// rejectPause is how long a peer is left alone after it rejected a request, lest the same is sent again and again.
	rejectPause = 2 * time.Second
	// aheadOfMemory is how many blocks may be in flight for each that the pool holds. What comes faster than the disk
	// takes it waits in the sockets; what is bounded here is how much of it there can be. Transmission looks at its queue
	// of our requests twice a second, so a short queue is slow whatever the line.
	aheadOfMemory = 4
)

// scratch is memory that is used again.
type scratch struct {
	blocks  []picker.Block
	cancels []picker.Cancel
	peers   []*picker.Peer
}

// ask sends the peer requests, as many as are due.
func (t *Torrent) ask(now time.Time, p *peerConn) {
	outstanding := p.pick.Requests()
	memory := int(t.c.Pool.Size() / storage.BlockSize)
	share := memory / 8 / len(t.peers)
	p.wake.Store(wakeAfter(outstanding, share))
	if !p.interested || p.draining() || now.Before(p.flow.pause) {
		return
	}
	room := aheadOfMemory*memory - t.pick.Requested() + outstanding
	limit := p.flow.pipe.limit(p.remote.reqq(), room)
	if p.conn.Relayed {
		limit = p.flow.pipe.relayed(limit)
	}
	if p.flow.snubbed {
		limit = 1
	}
	n := p.flow.pipe.due(limit, outstanding)
	if n <= 0 {
		return
	}
	blocks := t.scratch.blocks[:0]
	if p.remote.choking {
		blocks = t.pick.PickAllowed(p.pick, n, blocks)
	} else {
		blocks = t.pick.Pick(p.pick, n, blocks)
	}
	if p.conn.Relayed {
		blocks = t.needed(now, p, blocks)
	}
	if len(blocks) > 0 && outstanding == 0 {
		p.flow.owing = now
	}
	for _, b := range blocks {
		p.queue(peer.Message{Type: peer.TypeRequest, Index: b.Piece, Begin: b.Begin, Length: b.Length})
	}
	t.scratch.blocks = blocks
	p.wake.Store(wakeAfter(p.pick.Requests(), share))
}

// deliver takes the peer's blocks in its reader's goroutine, which then does what the storage makes of them. Other
// goroutines would have to be woken for it, and on another processor the data is not in the cache: together this costs more
// than the hash.
func (t *Torrent) deliver(p *peerConn) {
	t.turn.Lock()
	now := time.Now()
	if err := t.takeBlocks(now, p, t.c.Storage.Put); err != nil {
		t.drop(now, p, err)
	}
	t.settle(now)
	t.turn.Unlock()
	t.c.Storage.Work()
}

// collect takes the blocks that have come and that the peer's reader has not delivered yet.
func (t *Torrent) collect(now time.Time, p *peerConn) error {
	return t.takeBlocks(now, p, t.c.Storage.Write)
}

// A store hands a block to the storage.
type store func(piece, begin int, b *storage.Block)

// takeBlocks takes blocks, if there are any. What comes of a peer that was dropped meanwhile was not asked for.
func (t *Torrent) takeBlocks(now time.Time, p *peerConn, to store) error {
	in := p.in.take()
	if in == nil {
		return nil
	}
	var err error
	for _, a := range in.list {
		if e := t.block(now, p, a, to); e != nil {
			err = e
		}
	}
	clear(in.list)
	in.list = in.list[:0]
	p.in.giveBack(in)
	return err
}

// block takes the data of a PIECE message.
func (t *Torrent) block(now time.Time, p *peerConn, a arrival, to store) error {
	p.heard = now
	p.remote.talking = true
	n := a.block.N
	asked, others := t.pick.Received(p.pick, picker.Block{Piece: a.index, Begin: a.begin, Length: uint32(n)}, t.scratch.peers[:0])
	if !asked {
		a.block.Release()
		t.total.wasted += int64(n)
		return p.flow.stray("blocks")
	}
	for _, other := range others {
		t.cancel(other, picker.Block{Piece: a.index, Begin: a.begin, Length: uint32(n)})
	}
	t.scratch.peers = others[:0]
	t.watchBlock(p, a)
	to(int(a.index), int(a.begin), a.block)
	p.flow.came(now)
	if p.flow.snubbed {
		t.resumed(p)
	}
	p.tally.receive(now, n)
	t.total.downloaded += int64(n)
	t.total.down.add(now, n)
	t.touch(p)
	return nil
}

// sendCancels tells peers which requests the picker has given up.
func (t *Torrent) sendCancels() {
	t.scratch.cancels = t.pick.Cancels(t.scratch.cancels[:0])
	for _, c := range t.scratch.cancels {
		t.cancel(c.Peer, c.Block)
	}
}

// cancel tells a peer that a block is not needed any more.
func (t *Torrent) cancel(of *picker.Peer, b picker.Block) {
	i := slices.IndexFunc(t.peers, func(p *peerConn) bool { return p.pick == of })
	if i < 0 {
		return
	}
	p := t.peers[i]
	p.flow.cancelled++
	p.queue(peer.Message{Type: peer.TypeCancel, Index: b.Piece, Begin: b.Begin, Length: b.Length})
	t.touch(p)
}

// rejected handles REJECT (BEP 6).
func (t *Torrent) rejected(now time.Time, p *peerConn, m peer.Message) error {
	if !t.pick.Rejected(p.pick, picker.Block{Piece: m.Index, Begin: m.Begin, Length: m.Length}) {
		return p.flow.stray("rejects")
	}
	if !p.remote.choking {
		p.flow.pipe.rejected()
	}
	p.flow.pause = now.Add(rejectPause)
	t.wakeAll = true
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
	first := t.haveBytes == 0
	t.have.Set(piece)
	t.haveBytes += int64(t.sizeOf(piece))
	if t.wants(piece) {
		t.wantedLeft -= int64(t.sizeOf(piece))
	}
	t.pick.Verified(piece)
	t.sendCancels()
	if t.suspects.watching {
		for _, id := range t.suspects.right(piece) {
			t.blame(now, id)
		}
	}
	for _, p := range t.peers {
		if !p.pick.Has(piece) && !p.draining() {
			p.queue(peer.Message{Type: peer.TypeHave, Index: uint32(piece)})
			t.touch(p)
		}
		t.updateInterest(p)
	}
	t.restate(now)
	if first && t.c.First != nil {
		t.publish(now)
		t.c.First()
	}
}
