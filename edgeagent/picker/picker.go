// Package picker decides which block of which piece to ask a peer for next. It does no I/O, keeps no time and is
// deterministic for a given seed; one goroutine owns a [Picker] and everything it hands out.
//
// The order for one peer is, within each class of priority: the piece it is working on; a piece that somebody began and
// left; a fresh piece. Only when it has nothing fresh to offer does it share a piece that another works on. So a piece
// normally comes from one peer, front to back, which lets the storage hash it as it arrives and tells whom to blame
// when the hash is wrong. The first four pieces are chosen at random, so that there is soon something to trade, and
// those after them rarest first, at random among equally rare ones; or all by position, in sequential mode.
//
// A block is asked of one peer at a time, but for two cases. What a snubbed peer owes may be asked of one other. And in
// the endgame (BEP 3), when nothing else is left to ask for, a peer is asked for blocks that another owes already. When
// one has sent the block, the other is sent a CANCEL. A piece that failed its hash is on probation: one peer at a time works on it.
//
// The fresh pieces of a class are kept sorted by availability in one array, in buckets of equal availability:
//
//	pieces [ 7 2 9 | 4 | 1 8 3 0 ]      ends[a] = number of fresh pieces with availability ≤ a
//	avail    0 0 0   1   2 2 2 2        ends    = 3, 4, 8
//
// One HAVE moves one piece across one boundary, a swap. Peers with every piece are counted nowhere: they raise all
// availabilities alike. An untouched piece costs ten bytes, eleven when not all have the same priority; only pieces
// under way have a record with four bytes a block, and records are used again.
package picker

import (
	"math/rand/v2"
)

// BlockSize is the unit of requests in bytes; only the last block of a torrent's last piece is shorter, or of each
// piece when the piece length is no multiple of it (BEP 3).
const BlockSize = 16 << 10

// Block names a block as REQUEST and PIECE messages do: piece index, offset in the piece in bytes, length in bytes.
type Block struct{ Piece, Begin, Length uint32 }

// Config describes the torrent to pick from.
type Config struct {
	// PieceLength in bytes, at least 1.
	PieceLength int
	// Length of the torrent's content in bytes, at least 1.
	Length int64
	// Have is the BEP 3 bitfield of the pieces held already. Nil means none. It is not kept.
	Have []byte
	// Seed of the random source that breaks ties. Zero is as good as any other.
	Seed uint64
}

// Values of Picker.state other than a position in an order; partial i of the list is at underway - i.
const (
	had      = -1
	skipped  = -2
	underway = -3
)

// Picker holds the state of one torrent's pieces and of the peers that offer them. It is not safe for concurrent use.
type Picker struct {
	pieceLength int
	length      int64
	rng         *rand.Rand

	state   []int32    // per piece: its position in its order, had, skipped, or underway and below. Nil once nothing is missing
	avail   []uint16   // per piece: peers that have it, without those that have everything
	prio    []Priority // per piece; nil when all are normal
	orders  [classes]order
	missing int // pieces not verified
	wanted  int // of these, how many are not skipped

	sequential bool

	partials []*partial
	spare    []*partial // records to use again
	free     int        // free blocks in partials that are wanted
	asked    int        // requests

	peers    []*Peer // by ID
	lastID   ID
	seeds    int    // peers that have every piece
	arrivals uint32 // blocks received; wraps

	cancels []Cancel
	owed    []owed // scratch of double
}

// New returns a Picker for the torrent that c describes.
func New(c Config) *Picker {
	n := int((c.Length + int64(c.PieceLength) - 1) / int64(c.PieceLength))
	k := &Picker{
		pieceLength: c.PieceLength,
		length:      c.Length,
		rng:         rand.New(rand.NewPCG(c.Seed, 0x9e3779b97f4a7c15)),
		state:       make([]int32, n),
		avail:       make([]uint16, n),
	}
	for i := range n {
		if has(c.Have, i) {
			k.state[i] = had
		} else {
			k.missing++
		}
	}
	k.wanted = k.missing
	k.sortAll()
	k.forgetWhenDone()
	return k
}

// Missing returns the number of pieces that are not verified yet, skipped or not.
func (k *Picker) Missing() int { return k.missing }

// Wanted returns the number of pieces that are neither verified nor skipped.
func (k *Picker) Wanted() int { return k.wanted }

// Requested returns the number of requests to all peers that are not received, rejected or given up. A block that two
// peers owe counts twice.
func (k *Picker) Requested() int { return k.asked }

// Verified records that the piece is held and correct. Peers that have it lose one reason for our interest. What is
// still asked for of the piece is given up: see Cancels.
func (k *Picker) Verified(piece int) {
	if k.missing == 0 || k.state[piece] == had {
		return
	}
	switch {
	case k.state[piece] >= 0:
		k.takeFresh(piece)
	case k.state[piece] <= underway:
		q := k.partials[underway-k.state[piece]]
		k.withdraw(q)
		k.retire(q)
	}
	k.state[piece] = had
	k.missing--
	if k.class(piece) != unwanted {
		k.wanted--
		for _, p := range k.peers {
			if !p.all && has(p.bits, piece) {
				p.wanted--
			}
		}
	}
	k.forgetWhenDone()
}

// forgetWhenDone gives the memory per piece back when a torrent is complete: a seed picks nothing.
func (k *Picker) forgetWhenDone() {
	if k.missing == 0 {
		k.state, k.avail, k.prio, k.orders = nil, nil, nil, [classes]order{}
		k.partials, k.spare, k.owed = nil, nil, nil
	}
}

// pieces returns the number of pieces of the torrent.
func (k *Picker) pieces() int {
	return int((k.length + int64(k.pieceLength) - 1) / int64(k.pieceLength))
}

// blocksIn returns the number of blocks of the piece.
func (k *Picker) blocksIn(piece int) int {
	return (k.sizeOf(piece) + BlockSize - 1) / BlockSize
}

// sizeOf returns the piece's length in bytes.
func (k *Picker) sizeOf(piece int) int {
	return int(min(int64(k.pieceLength), k.length-int64(piece)*int64(k.pieceLength)))
}

func has(bits []byte, i int) bool {
	return i>>3 < len(bits) && bits[i>>3]&(0x80>>(i&7)) != 0
}
