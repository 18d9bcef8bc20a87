package picker

import (
	"cmp"
	"slices"
)

// maxSpare bounds the records kept for later use.
const maxSpare = 16

// A partial is a piece under way. blocks holds for each block 0 when it is free, the peer's ID when it is requested,
// and the ID with the received bit when it has come.
//
// A second request for a block is in seconds. One whose block is free is late: a snubbed peer owes it.
type partial struct {
	piece   int
	at      int // index in Picker.partials
	blocks  []ID
	seconds []second // by block, at most one each
	free    int      // free blocks
	late    int      // of these, how many a snubbed peer owes
	pending int      // requested blocks that are not free
	next    int      // no block before this one is free
	owner   *Peer    // who works on it; nil when it was left

	probation bool // failed its hash: one peer at a time works on it, so that the next failure has one culprit
	barred    []ID // those who failed it alone
}

type second struct {
	block int
	by    *Peer
}

const received ID = 1 << 31

// begin makes a fresh piece a partial.
func (k *Picker) begin(piece int) *partial {
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
	*q = partial{piece: piece, at: len(k.partials), blocks: blocks, seconds: q.seconds[:0], free: n}
	k.partials = append(k.partials, q)
	k.state[piece] = int32(underway - q.at)
	k.free += n
	return q
}

// retire takes a partial of which nothing is requested off the list and keeps its record for another piece. The piece's
// state is that of one that is skipped.
func (k *Picker) retire(q *partial) {
	last := len(k.partials) - 1
	moved := k.partials[last]
	k.partials[q.at] = moved
	moved.at = q.at
	k.state[moved.piece] = int32(underway - q.at)
	k.partials[last] = nil
	k.partials = k.partials[:last]
	k.state[q.piece] = skipped
	if k.class(q.piece) != unwanted {
		k.free -= q.free
	}
	k.leave(q)
	if len(k.spare) < maxSpare {
		k.spare = append(k.spare, q)
	}
}

// freshAgain makes a partial that holds nothing worth remembering a fresh piece.
func (k *Picker) freshAgain(q *partial) {
	if q.idle() {
		k.retire(q)
		k.putFresh(q.piece)
	}
}

// idle reports whether nothing is known of the piece that its absence from the list would not say.
func (q *partial) idle() bool {
	return q.owner == nil && q.free == len(q.blocks) && len(q.seconds) == 0 && !q.probation
}

// leave has every peer stop working on the piece.
func (k *Picker) leave(q *partial) {
	for _, p := range k.peers {
		q.disown(p)
	}
}

func (q *partial) disown(p *Peer) {
	if q.owner == p {
		q.owner = nil
	}
	if p.current == q {
		p.current = nil
	}
}

// request records that the free block is asked of the peer. A snubbed peer does not keep it from others, unless it is on
// probation.
func (k *Picker) request(p *Peer, q *partial, block int) {
	k.asked++
	p.requests++
	if p.snubbed && !q.probation {
		q.addSecond(block, p)
		q.late++
		return
	}
	if q.second(block) >= 0 {
		q.late--
	}
	k.hold(p, q, block)
}

// hold makes a free block the peer's.
func (k *Picker) hold(p *Peer, q *partial, block int) {
	q.blocks[block] = p.id
	q.free--
	k.free--
	q.pending++
}

// letGo makes a requested block free. Whoever was asked for it as well is now asked alone.
func (k *Picker) letGo(q *partial, block int) {
	q.blocks[block] = 0
	q.next = min(q.next, block)
	q.free++
	k.free++
	q.pending--
	at := q.second(block)
	if at < 0 {
		return
	}
	if p := q.seconds[at].by; p.snubbed {
		q.late++
	} else {
		q.removeSecond(at)
		k.hold(p, q, block)
	}
}

// release ends the peer's request for the block. It reports false if there is none. The partial may be idle afterwards.
func (k *Picker) release(p *Peer, q *partial, block int) bool {
	if q.blocks[block] == p.id {
		k.letGo(q, block)
	} else if at := q.second(block); at >= 0 && q.seconds[at].by == p {
		q.removeSecond(at)
		if q.blocks[block] == 0 {
			q.late--
		}
	} else {
		return false
	}
	k.asked--
	p.requests--
	return true
}

// second returns the index of the second request for the block, or -1.
func (q *partial) second(block int) int {
	if len(q.seconds) == 0 {
		return -1
	}
	if at, ok := q.seekSecond(block); ok {
		return at
	}
	return -1
}

func (q *partial) seekSecond(block int) (int, bool) {
	return slices.BinarySearchFunc(q.seconds, block, func(s second, block int) int { return cmp.Compare(s.block, block) })
}

func (q *partial) addSecond(block int, p *Peer) {
	at, _ := q.seekSecond(block)
	q.seconds = slices.Insert(q.seconds, at, second{block, p})
}

func (q *partial) removeSecond(at int) {
	q.seconds = slices.Delete(q.seconds, at, at+1)
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
