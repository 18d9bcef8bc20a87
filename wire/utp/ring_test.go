package utp

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// purse is a budget of one.
type purse struct{ held, limit int }

func (a *purse) grow(n int) bool {
	if a.held+n > a.limit {
		return false
	}
	a.held += n
	return true
}

// The ring behaves as a slice would, whatever is written and taken.
func TestRingIsAQueueOfBytes(t *testing.T) {
	const limit = 10_000
	rng := rand.New(rand.NewPCG(1, 1))
	budget := purse{limit: limit}
	var r ring
	var model []byte
	for i := range 20_000 {
		b := make([]byte, rng.IntN(3000))
		for j := range b {
			b[j] = byte(rng.Uint32())
		}
		if ok := r.reserve(len(b), limit, budget.grow); ok != (r.n+len(b) <= limit) {
			t.Fatalf("step %d: room for %d more than %d: %v", i, len(b), r.n, ok)
		} else if ok {
			r.write(b)
			model = append(model, b...)
		}
		if len(model) > 0 {
			from := rng.IntN(len(model))
			got := make([]byte, rng.IntN(len(model)-from+1))
			r.copyTo(got, from)
			if !bytes.Equal(got, model[from:from+len(got)]) {
				t.Fatalf("step %d: other bytes at %d", i, from)
			}
			n := rng.IntN(min(len(model), 3000) + 1)
			r.discard(n)
			model = model[n:]
		}
		if rng.IntN(100) == 0 {
			r.trim(budget.grow)
		}
		if r.n != len(model) || budget.held != len(r.buf) {
			t.Fatalf("step %d: %d bytes of %d, %d of memory of which %d are known", i, r.n, len(model), len(r.buf), budget.held)
		}
	}
	r.drop(budget.grow)
	if budget.held != 0 {
		t.Errorf("%d bytes are kept", budget.held)
	}
}

func TestRingStaysAsItIsWhenTheBudgetCannotDoubleIt(t *testing.T) {
	budget := purse{limit: 5000}
	var r ring
	if !r.reserve(4000, 1<<20, budget.grow) || r.reserve(4500, 1<<20, budget.grow) || len(r.buf) != minRing || budget.held != minRing {
		t.Errorf("it has %d bytes, of which %d are known", len(r.buf), budget.held)
	}
}

func TestRingShrinksWhenLittleOfItWasUsed(t *testing.T) {
	budget := purse{limit: 1 << 20}
	var r ring
	r.reserve(100_000, 1<<20, budget.grow)
	r.write(make([]byte, 100_000))
	r.discard(99_000)
	r.trim(budget.grow)
	if len(r.buf) < 100_000 {
		t.Errorf("it shrank to %d though it was full a moment ago", len(r.buf))
	}
	r.trim(budget.grow)
	if len(r.buf) != minRing {
		t.Errorf("it is %d bytes for 1000", len(r.buf))
	}
	r.discard(1000)
	r.trim(budget.grow)
	r.trim(budget.grow)
	if len(r.buf) != 0 || budget.held != 0 {
		t.Errorf("it is %d bytes for none", len(r.buf))
	}
}
