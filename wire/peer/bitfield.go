package peer

import (
	"math/bits"
)

// Bitfield says which pieces somebody has, as the BITFIELD message does: the high bit of the first byte is piece 0, spare
// bits at the end are zero (BEP 3). It is a slice: copies share their bits.
type Bitfield []byte

// NewBitfield returns a Bitfield of n pieces without any set.
func NewBitfield(n int) Bitfield { return make(Bitfield, (n+7)/8) }

// Has reports whether bit i is set; a bit outside of the bitfield is not.
func (b Bitfield) Has(i int) bool {
	return i >= 0 && i>>3 < len(b) && b[i>>3]&(0x80>>(i&7)) != 0
}

// Set sets bit i. The caller has checked that it is a piece of the torrent; outside of the bitfield Set does nothing.
func (b Bitfield) Set(i int) {
	if i >= 0 && i>>3 < len(b) {
		b[i>>3] |= 0x80 >> (i & 7)
	}
}

// Count returns the number of set bits.
func (b Bitfield) Count() int {
	n := 0
	for _, x := range b {
		n += bits.OnesCount8(x)
	}
	return n
}

// Valid reports whether b is the bitfield of a torrent of n pieces: of the right length and without spare bits set.
func (b Bitfield) Valid(n int) bool {
	if n < 0 || len(b) != (n+7)/8 {
		return false
	}
	return n&7 == 0 || b[len(b)-1]&(0xff>>(n&7)) == 0
}
