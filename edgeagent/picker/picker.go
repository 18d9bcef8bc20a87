// Package picker decides which block of which piece to ask a peer for next. It does no I/O, keeps no time and is
// deterministic for a given seed; one goroutine owns a [Picker] and everything it hands out.
//
// The order for one peer is: the piece it is working on; a piece that somebody began and left; a fresh piece, rarest
// first, at random among equally rare ones; and only when it has no fresh piece to offer, a share of a piece that
// another peer is working on. So a piece normally comes from one peer, front to back, which lets the storage hash it
// as it arrives and tells whom to blame when the hash is wrong. A block is asked of one peer at a time.
//
// Fresh pieces are kept sorted by availability in one array, in buckets of equal availability:
//
//	order  [ 7 2 9 | 4 | 1 8 3 0 ]      ends[a] = number of fresh pieces with availability ≤ a
//	avail    0 0 0   1   2 2 2 2        ends    = 3, 4, 8
//
// One HAVE moves one piece across one boundary, a swap. Peers with every piece are counted nowhere: they raise all
// availabilities alike. An untouched piece costs ten bytes; only pieces under way have a record with four bytes a
// block, and records are used again.
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

// Values of Picker.state other than a position in order; partial i of the list is at underway - i.
const (
	had      = -1
	underway = -2
)

// Picker holds the state of one torrent's pieces and of the peers that offer them. It is not safe for concurrent use.
type Picker struct {
	pieceLength int
	length      int64
	rng         *rand.Rand

	state   []int32  // per piece: its position in order, had, or underway and below. Nil once nothing is missing
	avail   []uint16 // per piece: peers that have it, without those that have everything
	order   []int32
	ends    []int32
	missing int

	partials []*partial
	spare    []*partial // records to use again
	free     int        // blocks in partials that are neither requested nor received
	asked    int        // blocks that are requested

	peers  []*Peer
	lastID ID
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
			k.order = append(k.order, int32(i))
		}
	}
	k.rng.Shuffle(len(k.order), func(i, j int) { k.order[i], k.order[j] = k.order[j], k.order[i] })
	for i, piece := range k.order {
		k.state[piece] = int32(i)
	}
	k.ends = append(k.ends, int32(len(k.order)))
	k.missing = len(k.order)
	k.forgetWhenDone()
	return k
}

// Missing returns the number of pieces that are not verified yet.
func (k *Picker) Missing() int { return k.missing }

// Requested returns the number of blocks asked of all peers and not received, rejected or released.
func (k *Picker) Requested() int { return k.asked }

// Verified records that the piece is held and correct. Peers that have it lose one reason for our interest.
func (k *Picker) Verified(piece int) {
	if k.missing == 0 || k.state[piece] == had {
		return
	}
	if k.state[piece] >= 0 {
		k.takeFresh(piece)
	} else {
		k.retire(k.partials[underway-k.state[piece]])
	}
	k.state[piece] = had
	k.missing--
	for _, p := range k.peers {
		if !p.all && has(p.bits, piece) {
			p.wanted--
		}
	}
	k.forgetWhenDone()
}

// forgetWhenDone gives the memory per piece back when a torrent is complete: a seed picks nothing.
func (k *Picker) forgetWhenDone() {
	if k.missing == 0 {
		k.state, k.avail, k.order, k.ends = nil, nil, nil, nil
		k.partials, k.spare = nil, nil
	}
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
