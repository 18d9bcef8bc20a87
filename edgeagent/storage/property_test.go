package storage

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// randomFiles returns files with every peculiarity there is: empty ones, padding, deep folders, names beside each other.
func randomFiles(rng *rand.Rand, n int, maxLength int64) []File {
	files := make([]File, n)
	for i := range files {
		f := File{Path: fmt.Sprintf("t/%c/f%d", 'a'+rng.IntN(3), i), Length: rng.Int64N(maxLength + 1)}
		switch rng.IntN(6) {
		case 0:
			f.Length = 0
		case 1:
			f.Pad = true
		case 2:
			f.Path = fmt.Sprintf("t/%d/%d/%d", rng.IntN(3), rng.IntN(3), i)
		}
		files[i] = f
	}
	files[rng.IntN(n)] = File{Path: "t/one", Length: 1 + rng.Int64N(maxLength)}
	return files
}

func TestAnyLayoutInAnyOrderGivesTheRightFiles(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 7))
			files := randomFiles(rng, 1+rng.IntN(30), []int64{100, 40000, 300000}[rng.IntN(3)])
			c := newContent(seed, []int{1000, BlockSize, 3*BlockSize + 77, 2 << 20}[rng.IntN(4)], files...)
			r := newRig(t, c)
			order := c.blocks(c.allPieces()...)
			shuffle(rng, order, []int{1, 10, len(order)}[rng.IntN(3)])
			// A part comes twice, and one piece is wrong at first.
			bad := rng.IntN(c.pieces())
			for _, p := range c.blocks(bad) {
				r.writeBytes(p, make([]byte, len(c.piece(bad))-p.begin))
			}
			order = append(order, order[:len(order)/4]...)
			events := collect(r, c.pieces())
			r.write(order...)
			verified := <-events
			if len(verified) != c.pieces() {
				t.Fatalf("%d pieces verified, want %d", len(verified), c.pieces())
			}
			r.wantHave(c.allPieces()...)
			r.wantFiles()
			if got := r.Partial(); got != 0 {
				t.Fatalf("%d bytes of unfinished pieces after all are finished", got)
			}
			r.reopen()
			r.wantHave(c.allPieces()...)
			if free := r.config.Pool.Free(); free != r.config.Pool.Size() {
				t.Fatalf("%d bytes of the pool are free, want all", free)
			}
		})
	}
}

// shuffle changes the order among neighbours that are at most that far apart.
func shuffle(rng *rand.Rand, order []position, reach int) {
	for i := range order {
		j := min(i+rng.IntN(reach), len(order)-1)
		order[i], order[j] = order[j], order[i]
	}
}

// collect drains the events until that many different pieces are verified, or one says that the disk failed.
func collect(r *rig, pieces int) <-chan map[int]int {
	result := make(chan map[int]int, 1)
	go func() {
		verified := make(map[int]int)
		for len(verified) < pieces {
			e, ok := <-r.Events()
			if !ok || e.Kind == DiskFailed {
				r.t.Errorf("event %+v, want all pieces verified", e)
				break
			}
			if e.Kind == PieceVerified {
				verified[e.Piece]++
			}
		}
		result <- verified
	}()
	return result
}

func TestPieceLargerThanThePoolInRandomOrder(t *testing.T) {
	c := newContent(3, 64<<20, File{Path: "a", Length: 10<<20 + 5}, File{Path: "b", Length: 10 << 20})
	r := newRig(t, c)
	order := c.blocks(0)
	shuffle(rand.New(rand.NewPCG(3, 3)), order, len(order))
	events := collect(r, 1)
	r.write(order...)
	<-events
	r.wantFiles()
}

func TestManyPeersAndTorrentsShareTheSmallestPool(t *testing.T) {
	pool := NewPool(0)
	var torrents, peers sync.WaitGroup
	for n := range uint64(3) {
		c := newContent(n, 1<<20, File{Path: "a", Length: 8 << 20})
		r := newRig(t, c)
		r.Close()
		r.config.Pool = pool
		r.open()
		events := collect(r, c.pieces())
		torrents.Go(func() { <-events })
		// Each peer delivers a part of every piece, backwards, so that no piece can be hashed before the last peer's part.
		for peer := range 8 {
			peers.Go(func() {
				for piece := range c.pieces() {
					blocks := c.blocks(piece)
					for i := len(blocks) - 1 - peer; i >= 0; i -= 8 {
						r.write(blocks[i])
					}
				}
			})
		}
	}
	peers.Wait()
	torrents.Wait()
	if pool.Free() != pool.Size() {
		t.Fatalf("%d bytes of the pool are free, want all %d", pool.Free(), pool.Size())
	}
}

func TestBlocksWrittenWhileSomebodyWaitsAreGivenBack(t *testing.T) {
	r := newRig(t, newContent(1, 4<<20, File{Path: "a", Length: 4 << 20}))
	blocks := take(r.config.Pool)
	got := make(chan *Block)
	go func() {
		b, err := r.config.Pool.Get(t.Context())
		if err != nil {
			t.Error(err)
		}
		got <- b
	}()
	r.waitFor(func() bool { return r.config.Pool.waiters() == 1 })
	r.waitFor(func() bool { return len(r.own.squeeze) == 0 }) // the storage has looked, and holds nothing
	for i, b := range blocks {
		b.N = copy(b.Bytes(), r.content.bytes[(i+1)*BlockSize:])
		r.Write(0, (i+1)*BlockSize, b)
	}
	(<-got).Release()
}

func TestWaitingForABlockMakesAnIdleTorrentGiveOneBack(t *testing.T) {
	r := newRig(t, newContent(1, 4<<20, File{Path: "a", Length: 4 << 20}))
	r.write(r.content.blocks(0)[1:63]...)
	r.waitFor(func() bool { return r.Partial() == 62*BlockSize })
	if err := r.do(t.Context(), func() {}); err != nil { // it has nothing left to do
		t.Fatal(err)
	}
	slow := take(r.config.Pool) // wait for a peer's data
	b, err := r.config.Pool.Get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range append(slow, b) {
		b.Release()
	}
}

func (p *Pool) waiters() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waiting
}

func (r *rig) waitFor(done func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatal("it did not happen")
		}
	}
}

func TestIdleTorrentGivesItsMemoryToABusyOne(t *testing.T) {
	pool := NewPool(0)
	idle := newRig(t, newContent(1, 4<<20, File{Path: "idle", Length: 4 << 20}))
	busy := newRig(t, newContent(2, 1<<20, File{Path: "busy", Length: 4 << 20}))
	for _, r := range []*rig{idle, busy} {
		r.Close()
		r.config.Pool = pool
		r.open()
	}
	// Every block but the first, up to the last one of the pool: nothing of this can be hashed.
	idle.write(idle.content.blocks(0)[1:65]...)
	busy.fetch(0, 1, 2, 3)
	rest := idle.content.blocks(0)
	idle.write(append(rest[65:], rest[0])...)
	if e := idle.next(); e.Kind != PieceVerified {
		t.Fatalf("event %+v, want the piece verified", e)
	}
}
