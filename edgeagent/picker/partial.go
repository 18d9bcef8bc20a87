package picker

import "slices"

// maxSpare bounds the records kept for later use.
const maxSpare = 16

// A partial is a piece under way. blocks holds for each block 0 when it is free, the peer's ID when it is requested,
// and the ID with the received bit when it has come.
type partial struct {
	piece  int
	at     int // index in Picker.partials
	blocks []ID
	free   int   // blocks neither requested nor received
	next   int   // no block before this one is free
	owner  *Peer // who works on it; nil when it was left
	alone  bool  // failed its hash before: only one peer may work on it, so that a second failure has one culprit
}

const received ID = 1 << 31

// begin makes a fresh piece a partial of the peer.
func (k *Picker) begin(p *Peer, piece int) *partial {
	k.takeFresh(piece)
	var q *partial
	if n := len(k.spare); n > 0 {
		q, k.spare = k.spare[n-1], k.spare[:n-1]
	} else {
		q = &partial{}
	}
	n := k.blocksIn(piece)
	blocks := slices.Grow(q.blocks[:0], n)[:n]
	clear(blocks)
	*q = partial{piece: piece, at: len(k.partials), blocks: blocks, free: n, owner: p}
	k.partials = append(k.partials, q)
	k.state[piece] = int32(underway - q.at)
	k.free += n
	return q
}

// retire takes a partial off the list and keeps its record for the next piece.
func (k *Picker) retire(q *partial) {
	last := len(k.partials) - 1
	moved := k.partials[last]
	k.partials[q.at] = moved
	moved.at = q.at
	k.state[moved.piece] = int32(underway - q.at)
	k.partials = k.partials[:last]
	k.free -= q.free
	for _, p := range k.peers {
		k.disown(p, q)
	}
	if len(k.spare) < maxSpare {
		k.spare = append(k.spare, q)
	}
}

// release frees a requested block.
func (k *Picker) release(p *Peer, q *partial, block int) {
	q.blocks[block] = 0
	q.next = min(q.next, block)
	q.free++
	k.free++
	k.asked--
	p.requests--
}

// freshAgain makes a partial of which nothing is requested or received a fresh piece.
func (k *Picker) freshAgain(q *partial) {
	if q.free == len(q.blocks) && q.owner == nil && !q.alone {
		k.retire(q)
		k.putFresh(q.piece)
	}
}

// find returns the partial and block index that b names, or nil if b is no block of a piece under way.
func (k *Picker) find(b Block) (*partial, int) {
	if k.missing == 0 || int64(b.Piece) >= int64(len(k.state)) || k.state[b.Piece] > underway {
		return nil, 0
	}
	q := k.partials[underway-k.state[b.Piece]]
	i := int(b.Begin / BlockSize)
	if i >= len(q.blocks) || b != k.block(q, i) {
		return nil, 0
	}
	return q, i
}

func (k *Picker) block(q *partial, i int) Block {
	begin := i * BlockSize
	return Block{
		Piece:  uint32(q.piece),
		Begin:  uint32(begin),
		Length: uint32(min(BlockSize, k.sizeOf(q.piece)-begin)),
	}
}

// Received records that the peer has sent the block. It is not ok when the block was not asked of this peer: then it
// must not be written. Others that were asked for the same block are appended to also and owe it no more: the caller
// sends them a CANCEL.
func (k *Picker) Received(p *Peer, b Block, also []*Peer) (ok bool, cancel []*Peer) {
	q, i := k.find(b)
	if q == nil || q.blocks[i] != p.id {
		return false, also
	}
	q.blocks[i] |= received
	k.asked--
	p.requests--
	return true, also
}

// Rejected records that the peer will not send the block (BEP 6), so that others are asked. It reports false for a
// block that was not asked of this peer.
func (k *Picker) Rejected(p *Peer, b Block) bool {
	q, i := k.find(b)
	if q == nil || q.blocks[i] != p.id {
		return false
	}
	k.release(p, q, i)
	k.disown(p, q)
	k.freshAgain(q)
	return true
}

// Choked records that the peer serves no more for now: its pieces are left to others. Without keep, what was asked of
// it is free again; with keep it stays asked until received or rejected, as the fast extension has it.
func (k *Picker) Choked(p *Peer, keep bool) {
	for at := len(k.partials) - 1; at >= 0; at-- {
		q := k.partials[at]
		for i, by := range q.blocks {
			if by == p.id && !keep {
				k.release(p, q, i)
			}
		}
		k.disown(p, q)
		k.freshAgain(q)
	}
	p.current = nil
}

func (k *Picker) disown(p *Peer, q *partial) {
	if q.owner == p {
		q.owner = nil
	}
	if p.current == q {
		p.current = nil
	}
}

// Failed records that a piece, all of whose blocks were received, has the wrong hash: all its blocks are free again,
// and from now on one peer at a time works on it. It returns the peers that sent them, each once, for the caller to
// judge: a single one is to blame for certain.
func (k *Picker) Failed(piece int) []ID {
	if k.missing == 0 || k.state[piece] > underway {
		return nil
	}
	q := k.partials[underway-k.state[piece]]
	var from []ID
	for i, by := range q.blocks {
		if by&received != 0 {
			from = append(from, by&^received)
			q.blocks[i] = 0
			q.free++
			k.free++
		}
	}
	for _, p := range k.peers {
		k.disown(p, q)
	}
	q.next, q.alone = 0, true
	slices.Sort(from)
	return slices.Compact(from)
}
