package utp

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
)

// Packets in any order, of any size, around the end of sequence numbers: the stream is put together and all memory comes back.
func TestPacketsInAnyOrderBecomeTheStream(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 1))
		budget := purse{limit: 1 << 30}
		r := receiver{limit: 1 << 20, next: uint16(-rng.IntN(100)), grow: budget.grow}
		var stream []byte
		payloads := make([][]byte, 300)
		for i := range payloads {
			payloads[i] = make([]byte, rng.IntN(1+1<<rng.IntN(12)))
			for j := range payloads[i] {
				payloads[i][j] = byte(rng.Uint32())
			}
			stream = append(stream, payloads[i]...)
		}
		first := r.next
		order := append(rng.Perm(len(payloads)), rng.Perm(len(payloads))...) // each twice
		seen := make([]bool, len(payloads))
		for _, i := range order {
			fresh := r.accept(first+uint16(i), payloads[i], i == len(payloads)-1)
			if fresh == seen[i] {
				t.Fatalf("seed %d: packet %d was taken: %v, and before: %v", seed, i, fresh, seen[i])
			}
			seen[i] = true
			if missing := slices.Index(seen, false); missing >= 0 && r.next != first+uint16(missing) {
				t.Fatalf("seed %d: %d is missing, not %d", seed, missing, r.next-first)
			}
		}
		got := make([]byte, len(stream)+1)
		got = got[:r.read(got)]
		if !bytes.Equal(got, stream) || !r.finished {
			t.Fatalf("seed %d: %d bytes of %d, finished: %v", seed, len(got), len(stream), r.finished)
		}
		r.early.trim(r.grow)
		r.ring.drop(r.grow)
		if budget.held != 0 {
			t.Fatalf("seed %d: %d bytes are kept", seed, budget.held)
		}
	}
}

// BEP 29: the least significant bit of the first byte is the packet after the one that is missing; lengths are
// multiples of four.
func TestSelectiveAcknowledgementNamesWhatIsHeld(t *testing.T) {
	for _, c := range []struct {
		ahead []int
		want  string
	}{
		{[]int{1}, "01000000"},
		{[]int{2, 9, 32}, "02010080"},
		{[]int{33}, "0000000001000000"},
		{[]int{3, 5000}, "04" + string(bytes.Repeat([]byte("00"), maxSACK-1))}, // the rest is told later
	} {
		r := receiver{limit: 1 << 20, next: 65_530, grow: func(int) bool { return true }}
		for _, a := range c.ahead {
			r.accept(r.next+uint16(a), []byte("x"), false)
		}
		mask := r.early.appendSACK(nil, r.next, maxSACK)
		if !bytes.Equal(mask, unhex(t, c.want)) {
			t.Errorf("%v: %x", c.ahead, mask)
		}
		var named []int
		eachSACKed(mask, r.next-1, func(seq uint16) bool {
			named = append(named, int(seq-r.next))
			return true
		})
		if want := slices.DeleteFunc(slices.Clone(c.ahead), func(a int) bool { return a > 8*maxSACK }); !slices.Equal(named, want) {
			t.Errorf("%v was read as %v", c.ahead, named)
		}
	}
}

func TestPacketThatTheBudgetHasNoRoomForIsAsGoodAsLost(t *testing.T) {
	budget := purse{limit: minRing}
	r := receiver{limit: 1 << 20, next: 1, grow: budget.grow}
	if !r.accept(1, make([]byte, 1000), false) || r.accept(3, make([]byte, 1000), false) || r.accept(2, make([]byte, 4000), false) {
		t.Fatalf("next is %d, %d packets are early", r.next, r.early.count)
	}
	if w := r.window(); w != minRing-1000 {
		t.Errorf("the window is %d", w)
	}
	if !r.accept(2, make([]byte, 3000), false) || r.next != 3 {
		t.Errorf("next is %d", r.next)
	}
}
