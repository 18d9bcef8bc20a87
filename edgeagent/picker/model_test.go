package picker

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestAnyHistoryKeepsTheBooks plays random histories and compares every count with one made from scratch.
func TestAnyHistoryKeepsTheBooks(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0))
			pieces := 1 + rng.IntN(40)
			k := New(Config{PieceLength: pieceLength, Length: int64(pieces)*pieceLength - int64(rng.IntN(pieceLength)), Seed: seed})
			var peers []*Peer
			asked := map[*Peer][]Block{}
			for range 1500 {
				step(k, rng, &peers, asked)
				check(t, k)
			}
			for k.Missing() > 0 {
				p := withAll(k)
				for _, p := range peers {
					k.Remove(p)
				}
				peers = []*Peer{p}
				for _, b := range k.Pick(p, 1000, nil) {
					k.Received(p, b, nil)
				}
				verify(k, func() bool { return true })
				check(t, k)
			}
		})
	}
}

func step(k *Picker, rng *rand.Rand, peers *[]*Peer, asked map[*Peer][]Block) {
	if len(*peers) == 0 || rng.IntN(20) == 0 {
		p := k.Add()
		bits := make([]byte, (k.pieces()+7)/8)
		for i := range k.pieces() {
			if rng.IntN(3) == 0 {
				bits[i>>3] |= 0x80 >> (i & 7)
			}
		}
		switch rng.IntN(4) {
		case 0:
			k.HasAll(p)
		case 1:
		default:
			k.HasSome(p, bits)
		}
		*peers = append(*peers, p)
	}
	at := rng.IntN(len(*peers))
	p := (*peers)[at]
	switch rng.IntN(12) {
	case 0:
		k.HasPiece(p, rng.IntN(k.pieces()))
	case 1:
		k.Choked(p, false)
		delete(asked, p)
	case 2:
		k.Choked(p, true)
	case 3:
		if rng.IntN(4) == 0 {
			k.Remove(p)
			delete(asked, p)
			*peers = slices.Delete(*peers, at, at+1)
		}
	case 4:
		if blocks := asked[p]; len(blocks) > 0 {
			k.Rejected(p, blocks[0])
			asked[p] = blocks[1:]
		}
	case 5:
		k.Allow(p, rng.IntN(k.pieces()))
		asked[p] = k.PickAllowed(p, rng.IntN(4), asked[p])
	case 6, 7, 8:
		asked[p] = k.Pick(p, rng.IntN(6), asked[p])
	default:
		for range min(len(asked[p]), rng.IntN(5)) {
			k.Received(p, asked[p][0], nil)
			asked[p] = asked[p][1:]
		}
		verify(k, func() bool { return rng.IntN(4) > 0 })
	}
}

// verify judges the pieces of which every block was received.
func verify(k *Picker, good func() bool) {
	for _, q := range slices.Clone(k.partials) {
		if slices.ContainsFunc(q.blocks, func(by ID) bool { return by&received == 0 }) {
			continue
		}
		if good() {
			k.Verified(q.piece)
		} else {
			k.Failed(q.piece)
		}
	}
}

// check compares every count the picker keeps with one made from scratch.
func check(t *testing.T, k *Picker) {
	t.Helper()
	if k.missing == 0 {
		return
	}
	fresh, missing, free := 0, 0, 0
	requests := map[ID]int{}
	for piece, state := range k.state {
		avail := 0
		for _, p := range k.peers {
			if !p.all && p.Has(piece) {
				avail++
			}
		}
		if avail != int(k.avail[piece]) {
			t.Fatalf("piece %d: availability %d, want %d", piece, k.avail[piece], avail)
		}
		if state != had {
			missing++
		}
		if state >= 0 {
			fresh++
			first, end := k.bucket(avail)
			if k.order[state] != int32(piece) || state < first || state >= end {
				t.Fatalf("piece %d of availability %d is at %d, outside %d to %d", piece, avail, state, first, end)
			}
		}
		if state <= underway && k.partials[underway-state].piece != piece {
			t.Fatalf("piece %d has the record of piece %d", piece, k.partials[underway-state].piece)
		}
	}
	for at, q := range k.partials {
		n := 0
		for i, by := range q.blocks {
			if by == 0 {
				n++
				if i < q.next {
					t.Fatalf("piece %d: free block %d before %d", q.piece, i, q.next)
				}
			} else if by&received == 0 {
				requests[by]++
			}
		}
		if n != q.free || q.at != at {
			t.Fatalf("piece %d: %d free blocks of %d counted, at %d of %d", q.piece, q.free, n, q.at, at)
		}
		if n == len(q.blocks) && q.owner == nil && !q.alone {
			t.Fatalf("piece %d is under way with nothing of it", q.piece)
		}
		free += n
	}
	if fresh != len(k.order) || missing != k.missing || free != k.free {
		t.Fatalf("fresh %d of %d, missing %d of %d, free %d of %d", len(k.order), fresh, k.missing, missing, k.free, free)
	}
	asked := 0
	for _, p := range k.peers {
		asked += p.requests
	}
	if asked != k.Requested() {
		t.Fatalf("%d blocks requested of %d counted", k.Requested(), asked)
	}
	for _, p := range k.peers {
		wanted, fresh := 0, 0
		for piece, state := range k.state {
			if p.Has(piece) && state != had {
				wanted++
			}
			if p.Has(piece) && state >= 0 {
				fresh++
			}
		}
		if k.Interesting(p) != (wanted > 0) || k.freshFor(p) != fresh || p.requests != requests[p.id] {
			t.Fatalf("peer %d: interesting %v of %d, fresh %d of %d, requests %d of %d", p.id, k.Interesting(p), wanted, k.freshFor(p), fresh, p.requests, requests[p.id])
		}
	}
}
