package peer

import (
	"math/rand/v2"
	"testing"
)

// "The high bit in the first byte corresponds to piece index 0." (BEP 3)
func TestPieceZeroIsTheHighBitOfTheFirstByte(t *testing.T) {
	b := NewBitfield(10)
	b.Set(0)
	b.Set(9)
	if b[0] != 0x80 || b[1] != 0x40 {
		t.Errorf("pieces 0 and 9 of ten are %x, want 8040", []byte(b))
	}
}

func TestBitfieldAgreesWithASetOfIntegers(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for n := range 70 {
		b, model := NewBitfield(n), map[int]bool{}
		for range n {
			if i := rnd.IntN(2*n + 1); i < n {
				b.Set(i)
				model[i] = true
			}
		}
		for i := range n {
			if b.Has(i) != model[i] {
				t.Errorf("%d pieces: Has(%d) is %v", n, i, b.Has(i))
			}
		}
		if b.Count() != len(model) {
			t.Errorf("%d pieces: Count is %d, want %d", n, b.Count(), len(model))
		}
		if !b.Valid(n) {
			t.Errorf("%d pieces: %x is not valid", n, []byte(b))
		}
	}
}

func TestIndexesOutsideOfABitfieldAreHarmless(t *testing.T) {
	b := NewBitfield(3)
	for _, i := range []int{-1, 8, 1 << 30} {
		b.Set(i)
		if b.Has(i) {
			t.Errorf("Has(%d) of three pieces", i)
		}
	}
	if b[0] != 0 {
		t.Errorf("bits set: %x", []byte(b))
	}
}

// "Spare bits at the end are set to zero." (BEP 3)
func TestBitfieldOfTheWrongLengthOrWithSpareBitsIsInvalid(t *testing.T) {
	for _, c := range []struct {
		b    Bitfield
		n    int
		want bool
	}{
		{Bitfield{0xff}, 8, true},
		{Bitfield{0xff}, 7, false},
		{Bitfield{0xfe}, 7, true},
		{Bitfield{0x80}, 1, true},
		{Bitfield{0xc0}, 1, false},
		{Bitfield{0xff, 0}, 8, false},
		{Bitfield{0xff}, 9, false},
		{Bitfield{}, 0, true},
		{nil, 1, false},
		{Bitfield{}, -1, false},
	} {
		if got := c.b.Valid(c.n); got != c.want {
			t.Errorf("%x for %d pieces: valid is %v, want %v", []byte(c.b), c.n, got, c.want)
		}
	}
}
