package picker

import "testing"

// check compares every count the picker keeps with one made from scratch.
func check(t *testing.T, k *Picker) {
	t.Helper()
	if k.missing == 0 {
		return
	}
	checkPieces(t, k)
	checkPartials(t, k)
	for _, p := range k.peers {
		wanted, fresh := 0, [classes]int{}
		for piece, state := range k.state {
			c := k.class(piece)
			if p.Has(piece) && state != had && c != unwanted {
				wanted++
			}
			if p.Has(piece) && state >= 0 {
				fresh[c]++
			}
		}
		for c := range classes {
			if k.freshFor(p, class(c)) != fresh[c] {
				t.Fatalf("peer %d: %d fresh pieces of class %d, %d counted", p.id, fresh[c], c, k.freshFor(p, class(c)))
			}
		}
		if k.Interesting(p) != (wanted > 0) || !p.all && p.wanted != wanted {
			t.Fatalf("peer %d: interesting %v, %d wanted pieces, %d counted", p.id, k.Interesting(p), wanted, p.wanted)
		}
		if q := p.current; q != nil && (q.at >= len(k.partials) || k.partials[q.at] != q) {
			t.Fatalf("peer %d works on piece %d, which is not under way", p.id, q.piece)
		}
	}
}

// checkPieces checks the state of every piece, and the orders.
func checkPieces(t *testing.T, k *Picker) {
	t.Helper()
	missing, wanted, seeds, fresh := 0, 0, 0, 0
	for piece, state := range k.state {
		avail := 0
		for _, p := range k.peers {
			if !p.all && p.Has(piece) {
				avail++
			}
		}
		if avail != int(k.avail[piece]) {
			t.Fatalf("piece %d: availability %d, %d counted", piece, avail, k.avail[piece])
		}
		c := k.class(piece)
		switch {
		case state == had:
			continue
		case state >= 0:
			fresh++
			o := &k.orders[c]
			first, end := o.bucket(avail)
			if o.pieces[state] != int32(piece) || state < first || state >= end || piece < o.first {
				t.Fatalf("piece %d of availability %d is at %d, outside %d to %d", piece, avail, state, first, end)
			}
		case state <= underway && k.partials[underway-state].piece != piece:
			t.Fatalf("piece %d has the record of piece %d", piece, k.partials[underway-state].piece)
		case state == skipped && c != unwanted:
			t.Fatalf("piece %d is wanted and in no order", piece)
		}
		missing++
		if c != unwanted {
			wanted++
		}
	}
	for _, p := range k.peers {
		if p.all {
			seeds++
		}
	}
	for _, o := range k.orders {
		fresh -= len(o.pieces)
	}
	if fresh != 0 || missing != k.missing || wanted != k.wanted || seeds != k.seeds {
		t.Fatalf("missing %d of %d, wanted %d of %d, seeds %d of %d, %d too many fresh pieces",
			k.missing, missing, k.wanted, wanted, k.seeds, seeds, -fresh)
	}
}

// checkPartials checks the records of pieces under way.
func checkPartials(t *testing.T, k *Picker) {
	t.Helper()
	free, asked := 0, 0
	requests := map[ID]int{}
	for at, q := range k.partials {
		freeHere, pending, late := 0, 0, 0
		for i, by := range q.blocks {
			switch {
			case by == 0:
				freeHere++
				if q.second(i) >= 0 {
					late++
				}
				if i < q.next {
					t.Fatalf("piece %d: free block %d before %d", q.piece, i, q.next)
				}
			case by&received == 0:
				requests[by]++
				pending++
			case q.second(i) >= 0:
				t.Fatalf("piece %d: block %d has come and is still owed", q.piece, i)
			}
		}
		asked += pending + len(q.seconds)
		for _, s := range q.seconds {
			requests[s.by.id]++
			if q.blocks[s.block] == s.by.id || q.blocks[s.block] == 0 && !s.by.snubbed || q.probation {
				t.Fatalf("piece %d: block %d has no reason for a second request", q.piece, s.block)
			}
		}
		if freeHere != q.free || pending != q.pending || late != q.late || q.at != at {
			t.Fatalf("piece %d: %d free blocks of %d counted, %d late of %d, %d pending of %d, at %d of %d",
				q.piece, freeHere, q.free, late, q.late, pending, q.pending, at, q.at)
		}
		if q.idle() {
			t.Fatalf("piece %d is under way with nothing of it", q.piece)
		}
		if k.class(q.piece) != unwanted {
			free += freeHere
		} else if pending+len(q.seconds) > 0 || q.owner != nil {
			t.Fatalf("piece %d is skipped and worked on", q.piece)
		}
	}
	if free != k.free || asked != k.asked {
		t.Fatalf("%d free blocks of %d counted, %d requests of %d", free, k.free, asked, k.asked)
	}
	for _, p := range k.peers {
		if p.requests != requests[p.id] {
			t.Fatalf("peer %d: %d requests of %d counted", p.id, requests[p.id], p.requests)
		}
	}
}
