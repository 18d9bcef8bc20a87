package picker

import (
	"slices"
	"testing"
)

const pieceLength = 4 * BlockSize

func newPicker(pieces int, have ...int) *Picker {
	bits := make([]byte, (pieces+7)/8)
	for _, i := range have {
		bits[i>>3] |= 0x80 >> (i & 7)
	}
	return New(Config{PieceLength: pieceLength, Length: int64(pieces) * pieceLength, Have: bits, Seed: 1})
}

func withAll(k *Picker) *Peer {
	p := k.Add()
	k.HasAll(p)
	return p
}

func with(k *Picker, pieces ...int) *Peer {
	p := k.Add()
	for _, i := range pieces {
		k.HasPiece(p, i)
	}
	return p
}

func accepts(k *Picker, p *Peer, b Block) bool {
	ok, _ := k.Received(p, b, nil)
	return ok
}

func piecesOf(blocks []Block) []int {
	var out []int
	for _, b := range blocks {
		if len(out) == 0 || out[len(out)-1] != int(b.Piece) {
			out = append(out, int(b.Piece))
		}
	}
	return out
}

func TestBlocksOfAPieceComeInOrderAndTheLastIsShort(t *testing.T) {
	k := New(Config{PieceLength: pieceLength, Length: pieceLength - BlockSize - 1})
	got := k.Pick(withAll(k), 10, nil)
	want := []Block{{0, 0, BlockSize}, {0, BlockSize, BlockSize}, {0, 2 * BlockSize, BlockSize - 1}}
	if !slices.Equal(got, want) {
		t.Fatalf("picked %v, want %v", got, want)
	}
}

func TestPieceLengthNeedNotBeAMultipleOfBlocks(t *testing.T) {
	k := New(Config{PieceLength: BlockSize + 100, Length: 2*BlockSize + 250})
	got := k.Pick(withAll(k), 10, nil)
	slices.SortFunc(got, func(a, b Block) int { return int(a.Piece+a.Begin) - int(b.Piece+b.Begin) })
	want := []Block{{0, 0, BlockSize}, {1, 0, BlockSize}, {0, BlockSize, 100}, {1, BlockSize, 100}, {2, 0, 50}}
	slices.SortFunc(want, func(a, b Block) int { return int(a.Piece+a.Begin) - int(b.Piece+b.Begin) })
	if !slices.Equal(got, want) {
		t.Fatalf("picked %v, want %v", got, want)
	}
}

func TestRarestPiecesGoFirst(t *testing.T) {
	k := newPicker(10, 6, 7, 8, 9)
	with(k, 0, 1, 2, 3)
	with(k, 0, 1, 2)
	with(k, 0, 1, 5)
	p := withAll(k)
	got := piecesOf(k.Pick(p, 6*4, nil))
	if got[0] != 4 {
		t.Fatalf("the piece that only the seed has was picked as number %d: %v", slices.Index(got, 4)+1, got)
	}
	for i := 1; i < len(got); i++ {
		if k.avail[got[i-1]] > k.avail[got[i]] {
			t.Fatalf("piece %d (%d peers) before piece %d (%d peers)", got[i-1], k.avail[got[i-1]], got[i], k.avail[got[i]])
		}
	}
}

func TestEquallyRarePiecesAreChosenDifferentlyByDifferentSeeds(t *testing.T) {
	first := map[uint32]int{}
	for seed := range uint64(400) {
		k := New(Config{PieceLength: pieceLength, Length: 12 * pieceLength, Have: []byte{0, 0xf0}, Seed: seed})
		a := with(k, 0, 1, 2, 3, 4, 5, 6)
		with(k, 7)
		first[k.Pick(a, 1, nil)[0].Piece]++
	}
	for piece := range uint32(7) {
		if n := first[piece]; n < 25 || n > 100 {
			t.Errorf("piece %d was first %d times of 400, want about 57", piece, n)
		}
	}
}

func TestTheFirstPieceIsAnyThatThePeerHas(t *testing.T) {
	first := map[uint32]int{}
	for seed := range uint64(400) {
		k := New(Config{PieceLength: pieceLength, Length: 8 * pieceLength, Have: []byte{0xe0}, Seed: seed})
		a := withAll(k)
		with(k, 3, 4, 5, 6)
		first[k.Pick(a, 1, nil)[0].Piece]++
	}
	for piece := uint32(3); piece < 8; piece++ {
		if n := first[piece]; n < 50 || n > 110 {
			t.Errorf("piece %d was first %d times of 400, want about 80", piece, n)
		}
	}
}

func TestTwoPeersWorkOnDifferentPiecesWhileThereAreFreshOnes(t *testing.T) {
	k := newPicker(4)
	a, b := withAll(k), withAll(k)
	var forA, forB []Block
	for range 8 {
		forA = k.Pick(a, 1, forA)
		forB = k.Pick(b, 1, forB)
	}
	for _, piece := range piecesOf(forA) {
		if slices.Contains(piecesOf(forB), piece) {
			t.Fatalf("both peers were asked for piece %d: %v %v", piece, forA, forB)
		}
	}
}

func TestAPeerWithoutFreshPiecesSharesTheLeastAdvanced(t *testing.T) {
	k := newPicker(2)
	a, b, c := withAll(k), withAll(k), withAll(k)
	inA := k.Pick(a, 3, nil)
	inB := k.Pick(b, 1, nil)
	got := k.Pick(c, 4, nil)
	if len(got) != 4 || got[0].Piece != inB[0].Piece || got[3].Piece != inA[0].Piece {
		t.Fatalf("third peer got %v after %v and %v", got, inA, inB)
	}
	if !k.Endgame() {
		t.Fatal("every block is asked for, and it is not the endgame")
	}
}

func TestBlocksOfAPeerThatLeftGoElsewhereBeforeAnythingFresh(t *testing.T) {
	for _, leave := range []struct {
		name string
		f    func(*Picker, *Peer)
	}{
		{"removed", (*Picker).Remove},
		{"choked", func(k *Picker, p *Peer) { k.Choked(p, false) }},
	} {
		t.Run(leave.name, func(t *testing.T) {
			k := newPicker(8)
			a, b := withAll(k), withAll(k)
			blocks := k.Pick(a, 3, nil)
			accepts(k, a, blocks[1])
			leave.f(k, a)
			if a.Requests() != 0 {
				t.Errorf("%d requests left at a peer that cannot answer", a.Requests())
			}
			got := k.Pick(b, 3, nil)
			if want := []Block{blocks[0], blocks[2], {blocks[0].Piece, 3 * BlockSize, BlockSize}}; !slices.Equal(got, want) {
				t.Fatalf("the other peer was asked for %v, want %v", got, want)
			}
		})
	}
}

func TestAPieceOfWhichNothingCameIsFreshAgain(t *testing.T) {
	k := newPicker(3)
	a := withAll(k)
	b := with(k, 0)
	k.Pick(a, 3, nil)
	k.Choked(a, false)
	if len(k.partials) != 0 || len(k.orders[normal].pieces) != 3 || b.fresh[normal] != 1 {
		t.Fatalf("%d partial, %d fresh pieces, %d for the other peer", len(k.partials), len(k.orders[normal].pieces), b.fresh[normal])
	}
	check(t, k)
}

// BEP 6: "choke no longer implicitly rejects all pending requests".
func TestRequestsSurviveAChokeWithTheFastExtension(t *testing.T) {
	k := newPicker(1)
	a, b := withAll(k), withAll(k)
	blocks := k.Pick(a, 2, nil)
	k.Choked(a, true)
	if got := k.Pick(b, 2, nil); slices.Contains(got, blocks[0]) || slices.Contains(got, blocks[1]) {
		t.Fatalf("the other peer was asked for %v, want the two blocks nobody was asked for", got)
	}
	if !accepts(k, a, blocks[0]) {
		t.Error("a block that was in flight when the choke came was refused")
	}
	if !k.Rejected(a, blocks[1]) || k.Rejected(a, blocks[1]) {
		t.Error("a reject must count once")
	}
	if got := k.Pick(b, 4, nil); !slices.Equal(got, blocks[1:2]) {
		t.Fatalf("the rejected block went nowhere: %v", got)
	}
}

func TestOnlyAllowedPiecesAreAskedOfAPeerThatChokes(t *testing.T) {
	k := newPicker(9, 5)
	a := withAll(k)
	for _, piece := range []int{3, 5, 7, 3} {
		k.Allow(a, piece)
	}
	if got := piecesOf(k.PickAllowed(a, 99, nil)); !slices.Equal(got, []int{3, 7}) {
		t.Fatalf("asked for pieces %v, want 3 and 7", got)
	}
	b := k.Add()
	k.Allow(b, 1)
	if got := k.PickAllowed(b, 99, nil); len(got) != 0 {
		t.Fatalf("asked for %v of a peer that has nothing", got)
	}
	for i := range 100 {
		k.Allow(b, i%9)
	}
	if len(b.allowed) > 9 {
		t.Fatalf("%d allowed pieces kept", len(b.allowed))
	}
}

func TestABlockThatWasNotAskedForIsRefused(t *testing.T) {
	k := newPicker(2)
	a, b := withAll(k), withAll(k)
	asked := k.Pick(a, 1, nil)[0]
	other := asked
	other.Begin = BlockSize
	for name, got := range map[string]bool{
		"from another peer":   accepts(k, b, asked),
		"another block":       accepts(k, a, other),
		"an untouched piece":  accepts(k, a, Block{1 - asked.Piece, 0, BlockSize}),
		"a piece out of it":   accepts(k, a, Block{2, 0, BlockSize}),
		"the largest piece":   accepts(k, a, Block{1<<32 - 1, 0, BlockSize}),
		"a crooked offset":    accepts(k, a, Block{asked.Piece, 1, BlockSize}),
		"an offset beyond":    accepts(k, a, Block{asked.Piece, 1<<32 - BlockSize, BlockSize}),
		"a short one":         accepts(k, a, Block{asked.Piece, asked.Begin, BlockSize - 1}),
		"rejected by another": k.Rejected(b, asked),
	} {
		if got {
			t.Errorf("block accepted: %s", name)
		}
	}
	if !accepts(k, a, asked) || accepts(k, a, asked) {
		t.Error("the block that was asked for must count once")
	}
}

func TestAFailedPieceNamesItsSendersAndIsWorkedOnByOnePeerAtATime(t *testing.T) {
	k := newPicker(1)
	a, b := withAll(k), withAll(k)
	for _, block := range k.Pick(a, 2, nil) {
		accepts(k, a, block)
	}
	for _, block := range k.Pick(b, 2, nil) {
		accepts(k, b, block)
	}
	if got := k.Failed(0); !slices.Equal(got, []ID{a.ID(), b.ID()}) {
		t.Fatalf("blamed %v", got)
	}
	blocks := k.Pick(b, 2, nil)
	if got := k.Pick(a, 4, nil); len(got) != 0 {
		t.Fatalf("a second peer was asked for %v of a piece that failed", got)
	}
	for _, block := range k.Pick(b, 4, blocks) {
		accepts(k, b, block)
	}
	if got := k.Failed(0); !slices.Equal(got, []ID{b.ID()}) {
		t.Fatalf("blamed %v, want %v alone", got, b.ID())
	}
	k.Remove(b)
	if got := k.Pick(a, 9, nil); len(got) != 4 {
		t.Fatalf("after the culprit left, the other was asked for %v", got)
	}
	check(t, k)
}

func TestInterestEndsWithTheLastPieceThePeerOffers(t *testing.T) {
	k := newPicker(4, 3)
	a, b := with(k, 1, 3), withAll(k)
	if !k.Interesting(a) || k.Interesting(with(k, 3)) || k.Interesting(k.Add()) {
		t.Fatal("interest does not follow from what is missing")
	}
	k.Verified(1)
	if k.Interesting(a) || !k.Interesting(b) {
		t.Fatal("a peer with nothing left is interesting, or one with much is not")
	}
	k.Verified(0)
	k.Verified(2)
	if k.Interesting(b) || k.Missing() != 0 || len(k.Pick(b, 1, nil)) != 0 {
		t.Fatal("a complete torrent still wants something")
	}
	// A seed follows its peers' pieces without any memory of its own.
	k.HasPiece(a, 0)
	k.HasPiece(a, 2)
	if !k.Complete(a) {
		t.Error("peer with every piece not seen as complete")
	}
	k.Remove(b)
}

func TestAPieceCostsTenBytesAndElevenWithPriorities(t *testing.T) {
	const pieces = 1000
	k := newPicker(pieces)
	a := withAll(k)
	bytes := func() int {
		n := 4*cap(k.state) + 2*cap(k.avail) + cap(k.prio)
		for _, o := range k.orders {
			n += 4 * cap(o.pieces)
		}
		return n / pieces
	}
	list := make([]Priority, pieces)
	for i := range list {
		list[i] = Priority(i % 4)
	}
	for round := range 3 {
		k.SetPriorities(nil)
		k.Pick(a, 400, nil)
		if n := bytes(); n > 10 {
			t.Errorf("%d bytes a piece in round %d", n, round)
		}
		k.SetPriorities(list)
		k.Choked(a, false)
		if n := bytes(); n > 11 {
			t.Errorf("%d bytes a piece in round %d, with priorities", n, round)
		}
	}
	for piece := range pieces {
		k.Verified(piece)
	}
	k.SetPriorities(list)
	if k.state != nil || k.prio != nil || k.orders[high].pieces != nil || k.partials != nil {
		t.Error("a complete torrent keeps memory for its pieces")
	}
}

// BEP 3 has CANCEL for the endgame; the slowest are relieved first.
func TestTheEndgameTakesFromTheSlowest(t *testing.T) {
	k := newPicker(60)
	fast, slow, idle := withAll(k), withAll(k), withAll(k)
	for k.Missing() > 2 {
		blocks := k.Pick(fast, 4, nil)
		for _, b := range blocks {
			k.Received(fast, b, nil)
		}
		k.Verified(int(blocks[0].Piece))
	}
	ofFast, ofSlow := k.Pick(fast, 4, nil), k.Pick(slow, 4, nil)
	k.Received(slow, ofSlow[0], nil)
	got := k.Pick(idle, 4, nil)
	if want := []Block{ofSlow[3], ofSlow[2], ofSlow[1], ofFast[3]}; !slices.Equal(got, want) {
		t.Fatalf("the idle peer was asked for %v, want %v", got, want)
	}
}

func TestNothingIsAllocatedPerBlock(t *testing.T) {
	const pieces = 1000
	k := newPicker(pieces)
	a := withAll(k)
	dst := make([]Block, 0, 8)
	n := testing.AllocsPerRun(pieces/2, func() {
		dst = k.Pick(a, 4, dst[:0])
		for _, b := range dst {
			accepts(k, a, b)
		}
		k.Verified(int(dst[0].Piece))
	})
	if n != 0 {
		t.Errorf("%v allocations a piece, want none", n)
	}
}
