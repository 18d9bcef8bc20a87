package storage

import (
	"encoding/binary"
	"math/bits"
	"sync/atomic"
)

// A bitfield holds a bit for each of a number of things, in the order of BEP 3: the first one is the high bit of the first
// byte.
type bitfield []byte

func newBitfield(n int) bitfield { return make(bitfield, (n+7)/8) }

func (b bitfield) has(i int) bool { return b[i/8]&(0x80>>(i%8)) != 0 }

// includes is has for a bitfield that may be too short.
func (b bitfield) includes(i int) bool { return i/8 < len(b) && b.has(i) }

func (b bitfield) set(i int) { b[i/8] |= 0x80 >> (i % 8) }

func (b bitfield) clear(i int) { b[i/8] &^= 0x80 >> (i % 8) }

func (b bitfield) count() int {
	n := 0
	for _, v := range b {
		n += bits.OnesCount8(v)
	}
	return n
}

// A sharedBitfield is a bitfield that one goroutine changes and any may read. Its words hold the bits in the order of BEP 3.
type sharedBitfield struct {
	words []atomic.Uint32
	n     int
}

func newSharedBitfield(n int) *sharedBitfield {
	return &sharedBitfield{words: make([]atomic.Uint32, (n+31)/32), n: n}
}

func (s *sharedBitfield) has(i int) bool { return s.words[i/32].Load()&(1<<31>>(i%32)) != 0 }

func (s *sharedBitfield) set(i int) { s.words[i/32].Or(1 << 31 >> (i % 32)) }

func (s *sharedBitfield) clear(i int) { s.words[i/32].And(^uint32(1 << 31 >> (i % 32))) }

func (s *sharedBitfield) copy() bitfield {
	b := make([]byte, 0, 4*len(s.words))
	for i := range s.words {
		b = binary.BigEndian.AppendUint32(b, s.words[i].Load())
	}
	return b[:(s.n+7)/8]
}
