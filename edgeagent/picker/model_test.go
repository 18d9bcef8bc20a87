package picker

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestAnyHistoryKeepsTheBooks plays random histories against a ledger of its own, and compares every count that the
// picker keeps with one made from scratch.
func TestAnyHistoryKeepsTheBooks(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWorld(t, seed)
			for range 1500 {
				w.step()
				w.audit()
			}
			w.finish()
		})
	}
}

func TestEqualSeedsMakeEqualHistories(t *testing.T) {
	a, b := newWorld(t, 7), newWorld(t, 7)
	for range 1500 {
		a.step()
		b.step()
	}
	if !slices.Equal(a.history, b.history) {
		t.Fatal("the same seed and the same events led to different requests")
	}
}

// A world is a swarm around one picker: a ledger of who owes which blocks, from what the picker said alone.
type world struct {
	t         *testing.T
	k         *Picker
	rng       *rand.Rand
	pieces    int
	peers     []*Peer
	owes      map[*Peer][]Block
	came      map[Block]ID
	verified  map[int]bool
	prio      []Priority
	probation map[int]bool
	alone     map[int][]ID // per piece: who failed it alone
	history   []Block
}

func newWorld(t *testing.T, seed uint64) *world {
	rng := rand.New(rand.NewPCG(seed, 0))
	pieces := 1 + rng.IntN(40)
	return &world{
		t:         t,
		k:         New(Config{PieceLength: pieceLength, Length: int64(pieces)*pieceLength - int64(rng.IntN(pieceLength)), Seed: seed}),
		rng:       rng,
		pieces:    pieces,
		owes:      map[*Peer][]Block{},
		came:      map[Block]ID{},
		verified:  map[int]bool{},
		prio:      make([]Priority, pieces),
		probation: map[int]bool{},
		alone:     map[int][]ID{},
	}
}

func (w *world) step() {
	k, rng := w.k, w.rng
	if len(w.peers) == 0 || len(w.peers) < 12 && rng.IntN(20) == 0 {
		w.join()
	}
	p := w.peers[rng.IntN(len(w.peers))]
	switch rng.IntN(17) {
	case 0:
		k.HasPiece(p, rng.IntN(w.pieces))
	case 1:
		k.Choked(p, false)
		w.owes[p] = nil
	case 2:
		k.Choked(p, true)
	case 3:
		if rng.IntN(4) == 0 {
			w.leave(p)
		}
	case 4:
		if blocks := w.owes[p]; len(blocks) > 0 {
			b := blocks[rng.IntN(len(blocks))]
			if !k.Rejected(p, b) || k.Rejected(p, b) {
				w.t.Fatalf("peer %d: the reject of %v did not count once", p.id, b)
			}
			w.settle(p, b)
		}
	case 5:
		k.Allow(p, rng.IntN(w.pieces))
		w.asked(p, k.PickAllowed(p, rng.IntN(4), nil), false)
	case 6, 7, 8, 9:
		w.pick(p, rng.IntN(6))
	case 10:
		k.SetSnubbed(p, rng.IntN(3) > 0)
		w.cancelled()
	case 11:
		if rng.IntN(5) == 0 {
			w.prioritize()
		}
	case 12:
		k.SetSequential(rng.IntN(2) == 0)
	default:
		for range rng.IntN(5) {
			if len(w.owes[p]) > 0 {
				w.receive(p, w.owes[p][rng.IntN(len(w.owes[p]))])
			}
		}
		w.judge(func() bool { return rng.IntN(4) > 0 })
		if rng.IntN(20) == 0 {
			w.verify(rng.IntN(w.pieces)) // found on the disk
		}
	}
}

func (w *world) join() {
	p := w.k.Add()
	bits := make([]byte, (w.pieces+7)/8)
	for i := range w.pieces {
		if w.rng.IntN(3) == 0 {
			bits[i>>3] |= 0x80 >> (i & 7)
		}
	}
	switch w.rng.IntN(4) {
	case 0:
		w.k.HasAll(p)
	case 1:
	default:
		w.k.HasSome(p, bits)
	}
	w.peers = append(w.peers, p)
}

func (w *world) leave(p *Peer) {
	w.k.Remove(p)
	delete(w.owes, p)
	w.peers = slices.DeleteFunc(w.peers, func(o *Peer) bool { return o == p })
}

func (w *world) pick(p *Peer, n int) {
	endgame := w.k.Endgame()
	blocks := w.k.Pick(p, n, nil)
	if len(blocks) > n {
		w.t.Fatalf("%d blocks picked of %d", len(blocks), n)
	}
	w.asked(p, blocks, endgame || w.k.Endgame())
}

// asked enters new requests and holds them against the rules.
func (w *world) asked(p *Peer, blocks []Block, endgame bool) {
	for _, b := range blocks {
		piece := int(b.Piece)
		var others []*Peer
		sharing := false
		for _, o := range w.peers {
			if slices.Contains(w.owes[o], b) {
				others = append(others, o)
			}
			sharing = sharing || o != p && slices.ContainsFunc(w.owes[o], func(c Block) bool { return c.Piece == b.Piece })
		}
		switch _, came := w.came[b]; {
		case came || w.verified[piece]:
			w.t.Fatalf("%v was asked for and is there", b)
		case !p.Has(piece) || w.prio[piece] == Skip:
			w.t.Fatalf("%v was asked for: had %v, priority %d", b, p.Has(piece), w.prio[piece])
		case slices.Contains(others, p) || len(others) > 1:
			w.t.Fatalf("%v was asked of peer %d and is owed by %d already", b, p.id, len(others))
		case len(others) == 1 && !endgame && !p.snubbed && !others[0].snubbed:
			w.t.Fatalf("%v was asked of two good peers before the endgame", b)
		case w.probation[piece] && sharing:
			w.t.Fatalf("%v is on probation and was asked of a second peer", b)
		case slices.Contains(w.alone[piece], p.id) && slices.ContainsFunc(w.peers, func(o *Peer) bool {
			return o.Has(piece) && !slices.Contains(w.alone[piece], o.id)
		}):
			w.t.Fatalf("%v was asked of the peer that failed it, and others have it", b)
		}
		w.owes[p] = append(w.owes[p], b)
		w.history = append(w.history, b)
	}
}

func (w *world) settle(p *Peer, b Block) {
	w.owes[p] = slices.DeleteFunc(w.owes[p], func(c Block) bool { return c == b })
}

func (w *world) receive(p *Peer, b Block) {
	ok, others := w.k.Received(p, b, nil)
	if !ok || len(others) > 1 {
		w.t.Fatalf("%v of peer %d: accepted %v, %d to cancel", b, p.id, ok, len(others))
	}
	w.settle(p, b)
	for _, o := range others {
		if !slices.Contains(w.owes[o], b) {
			w.t.Fatalf("%v is cancelled at peer %d, which does not owe it", b, o.id)
		}
		w.settle(o, b)
		if again, _ := w.k.Received(o, b, nil); again {
			w.t.Fatalf("%v was accepted twice", b)
		}
	}
	w.came[b] = p.id
	for _, o := range w.peers {
		if slices.Contains(w.owes[o], b) {
			w.t.Fatalf("%v has come and is still owed by peer %d", b, o.id)
		}
	}
}

func (w *world) cancelled() {
	for _, c := range w.k.Cancels(nil) {
		if !slices.Contains(w.owes[c.Peer], c.Block) {
			w.t.Fatalf("%v is cancelled at peer %d, which does not owe it", c.Block, c.Peer.id)
		}
		w.settle(c.Peer, c.Block)
	}
}

func (w *world) prioritize() {
	for i := range w.prio {
		if w.rng.IntN(3) == 0 {
			w.prio[i] = Priority(w.rng.IntN(4))
		}
	}
	if w.rng.IntN(5) == 0 {
		clear(w.prio)
		w.k.SetPriorities(nil)
	} else {
		w.k.SetPriorities(w.prio)
	}
	w.cancelled()
	for p, blocks := range w.owes {
		for _, b := range blocks {
			if w.prio[b.Piece] == Skip {
				w.t.Fatalf("%v is skipped and still owed by peer %d", b, p.id)
			}
		}
	}
}

// judge decides upon the pieces of which every block has come.
func (w *world) judge(good func() bool) {
	for piece := range w.pieces {
		var authors []ID
		for i := range w.k.blocksIn(piece) {
			if by, ok := w.came[w.k.block(&partial{piece: piece}, i)]; ok && !w.verified[piece] {
				authors = append(authors, by)
			}
		}
		if len(authors) < w.k.blocksIn(piece) {
			continue
		}
		if good() {
			w.verify(piece)
			continue
		}
		slices.Sort(authors)
		authors = slices.Compact(authors)
		if got := w.k.Failed(piece); !slices.Equal(got, authors) {
			w.t.Fatalf("piece %d: blamed %v of %v", piece, got, authors)
		}
		for b := range w.came {
			if int(b.Piece) == piece {
				delete(w.came, b)
			}
		}
		w.probation[piece] = true
		if len(authors) == 1 {
			w.alone[piece] = append(w.alone[piece], authors[0])
		}
		w.cancelled()
	}
}

func (w *world) verify(piece int) {
	w.k.Verified(piece)
	w.verified[piece] = true
	w.cancelled()
}

// finish shows that everything that some peer has is asked for in the end.
func (w *world) finish() {
	snubbed := w.rng.IntN(4)
	for _, p := range w.peers {
		w.k.SetSnubbed(p, w.rng.IntN(3) < snubbed)
		w.cancelled()
	}
	w.drain()
	for _, p := range w.peers {
		if w.k.Interesting(p) {
			w.t.Fatalf("peer %d has wanted pieces that it is not asked for", p.id)
		}
	}
	w.join()
	w.k.HasAll(w.peers[len(w.peers)-1])
	w.drain()
	if w.k.Wanted() != 0 {
		w.t.Fatalf("%d wanted pieces left with a seed", w.k.Wanted())
	}
	w.prio = make([]Priority, w.pieces)
	w.k.SetPriorities(nil)
	w.drain()
	if w.k.Missing() != 0 || w.k.Requested() != 0 || w.k.state != nil {
		w.t.Fatalf("%d pieces and %d requests left", w.k.Missing(), w.k.Requested())
	}
}

// drain has every peer send what it is asked for, until nobody is asked for anything.
func (w *world) drain() {
	for busy := true; busy; {
		busy = false
		for _, p := range w.peers {
			n := 7
			if p.snubbed {
				n = 1 - min(1, p.Requests())
			}
			w.pick(p, n)
			w.audit()
		}
		for _, p := range w.peers {
			for len(w.owes[p]) > 0 {
				busy = true
				w.receive(p, w.owes[p][0])
			}
			w.judge(func() bool { return true })
			w.audit()
		}
	}
}

// audit compares what the ledger says with what the picker says.
func (w *world) audit() {
	sum := 0
	for _, p := range w.peers {
		sum += len(w.owes[p])
		if p.Requests() != len(w.owes[p]) {
			w.t.Fatalf("peer %d owes %d blocks of %d counted", p.id, len(w.owes[p]), p.Requests())
		}
	}
	if w.k.Requested() != sum || w.k.Missing() != w.pieces-len(w.verified) {
		w.t.Fatalf("%d requests of %d counted, %d pieces missing of %d", sum, w.k.Requested(), w.pieces-len(w.verified), w.k.Missing())
	}
	check(w.t, w.k)
}
