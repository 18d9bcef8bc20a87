package storage

import (
	"crypto/sha1"
	"hash"
	"slices"
)

const hashSize = sha1.Size

// An assembly is a piece that is being received. Its blocks are hashed in order while they are in memory: each block that
// comes next in the piece at once, the others when the gap before them is filled, or, if memory ran short meanwhile, by
// reading them back.
type assembly struct {
	piece    int
	size     int
	received int       // bytes
	hashed   int       // the hash covers the bytes before this one, which is where a block begins
	hash     hash.Hash // SHA-1
	onDisk   bitfield  // blocks that have been written
	held     []*Block  // blocks in memory, in the order of the piece
}

// done reports whether the hash covers the whole piece.
func (a *assembly) done() bool { return a.hashed == a.size }

// insert adds a block to those in memory. It returns false when the piece has that block already.
func (a *assembly) insert(b *Block) bool {
	if a.onDisk.has(b.begin / BlockSize) {
		return false
	}
	// Blocks mostly come in order.
	i := len(a.held)
	if i > 0 && a.held[i-1].begin >= b.begin {
		var found bool
		if i, found = slices.BinarySearchFunc(a.held, b.begin, compareBegin); found {
			return false
		}
	}
	a.held = slices.Insert(a.held, i, b)
	a.received += b.N
	return true
}

func compareBegin(b *Block, begin int) int { return b.begin - begin }

// advance hashes as far as there are blocks without a gap. readBack returns n bytes of the piece that are on disk, from the
// given one on.
func (a *assembly) advance(readBack func(piece, begin, n int) ([]byte, error)) error {
	i := a.hashedHeld()
	for !a.done() {
		switch {
		case i < len(a.held) && a.held[i].begin == a.hashed:
			b := a.held[i]
			a.hash.Write(b.data[:b.N])
			a.hashed += b.N
			i++
		case a.onDisk.has(a.hashed / BlockSize):
			b, err := readBack(a.piece, a.hashed, min(BlockSize, a.size-a.hashed))
			if err != nil {
				return err
			}
			a.hash.Write(b)
			a.hashed += len(b)
		default:
			return nil
		}
	}
	return nil
}

// hashedHeld returns how many blocks in memory are hashed: they come first.
func (a *assembly) hashedHeld() int {
	n, _ := slices.BinarySearchFunc(a.held, a.hashed, compareBegin)
	return n
}

// run returns how many of the first blocks in memory follow each other, at most limit. There must be one at least.
func (a *assembly) run(limit int) int {
	n := 1
	for n < min(limit, len(a.held)) && a.held[n].begin == a.held[n-1].begin+BlockSize {
		n++
	}
	return n
}

// written notes that the first n blocks in memory are on disk, and releases them.
func (a *assembly) written(n int) {
	for _, b := range a.held[:n] {
		a.onDisk.set(b.begin / BlockSize)
		b.Release()
	}
	a.held = slices.Delete(a.held, 0, n)
}

// assemblies are the pieces being received. Finished ones are kept for the next pieces, so that nothing is allocated.
type assemblies struct {
	table  *table
	active []*assembly
	spare  []*assembly
}

// find returns the assembly of the piece, beginning it if need be.
func (s *assemblies) find(piece int) *assembly {
	// From the end, where the newest are: there are seldom more than a few dozen.
	for i := len(s.active) - 1; i >= 0; i-- {
		if s.active[i].piece == piece {
			return s.active[i]
		}
	}
	var a *assembly
	if n := len(s.spare); n > 0 {
		a = s.spare[n-1]
		s.spare = s.spare[:n-1]
		a.hash.Reset()
		clear(a.onDisk)
	} else {
		a = &assembly{hash: sha1.New(), onDisk: newBitfield(s.table.maxBlocks())}
	}
	a.piece, a.size, a.received, a.hashed = piece, s.table.pieceSize(piece), 0, 0
	s.active = append(s.active, a)
	return a
}

// end releases what the assembly holds in memory and keeps it for another piece.
func (s *assemblies) end(a *assembly) {
	for _, b := range a.held {
		b.Release()
	}
	clear(a.held)
	a.held = a.held[:0]
	i := slices.Index(s.active, a)
	s.active = slices.Delete(s.active, i, i+1)
	if len(s.spare) < maxSpare {
		s.spare = append(s.spare, a)
	}
}

// maxSpare is how many assemblies are kept. One of a 64 MiB piece takes 1 KiB, and 1 KiB per 128 blocks it held at once.
const maxSpare = 64

// most returns the assembly with the highest positive score, or nil.
func (s *assemblies) most(score func(*assembly) int) *assembly {
	var best *assembly
	top := 0
	for _, a := range s.active {
		if n := score(a); n > top {
			best, top = a, n
		}
	}
	return best
}
