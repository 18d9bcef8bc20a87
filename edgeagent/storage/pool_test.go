package storage

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
)

func TestPoolHandsOutItsBudgetAndNoMore(t *testing.T) {
	p := NewPool(1<<20 + BlockSize + 1)
	if got, want := p.Size(), int64(1<<20+BlockSize); got != want {
		t.Fatalf("size %d, want %d", got, want)
	}
	var blocks []*Block
	for b := p.TryGet(); b != nil; b = p.TryGet() {
		if len(b.Bytes()) != BlockSize || b.N != 0 {
			t.Fatalf("a block of %d bytes with N %d", len(b.Bytes()), b.N)
		}
		blocks = append(blocks, b)
	}
	if len(blocks) != 65 || p.Free() != 0 {
		t.Fatalf("%d blocks, %d bytes free, want 65 and 0", len(blocks), p.Free())
	}
	last := blocks[len(blocks)-1]
	last.N = 5
	for _, b := range blocks {
		b.Release()
	}
	if p.Free() != p.Size() {
		t.Fatalf("%d bytes free after all were released, want %d", p.Free(), p.Size())
	}
	if b := p.TryGet(); b != last || b.N != 0 {
		t.Fatal("the block used last does not come first, or not empty")
	}
}

func TestPoolIsOneMebibyteAtLeast(t *testing.T) {
	if got := NewPool(-5).Size(); got != 1<<20 {
		t.Fatalf("size %d, want 1 MiB", got)
	}
}

func TestGetWaitsForARelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(0)
		blocks := take(p)
		got := make(chan *Block)
		go func() {
			b, err := p.Get(t.Context())
			if err != nil {
				t.Error(err)
			}
			got <- b
		}()
		synctest.Wait()
		select {
		case <-got:
			t.Fatal("a block came although none was free")
		default:
		}
		blocks[7].Release()
		if b := <-got; b != blocks[7] {
			t.Fatal("another block than the released one")
		}
	})
}

func TestGetTellsTorrentsThatItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(0)
		w, other := p.watch(), p.watch()
		p.unwatch(other)
		blocks := take(p)
		if len(w) != 0 {
			t.Fatal("told although nobody waited")
		}
		go p.Get(t.Context())
		synctest.Wait()
		if len(w) != 1 || len(other) != 0 {
			t.Fatalf("told %d and %d times, want 1 and 0", len(w), len(other))
		}
		blocks[0].Release()
	})
}

func TestCancelledGetLosesNoBlock(t *testing.T) {
	p := NewPool(0)
	for range 2000 {
		blocks := take(p)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				b, err := p.Get(ctx)
				switch {
				case err == nil:
					b.Release()
				case !errors.Is(err, context.Canceled):
					t.Error(err)
				}
			})
		}
		wg.Go(cancel)
		for _, b := range blocks {
			b.Release()
		}
		wg.Wait()
		if p.Free() != p.Size() {
			t.Fatalf("%d bytes free, want all %d", p.Free(), p.Size())
		}
	}
}

func take(p *Pool) (blocks []*Block) {
	for b := p.TryGet(); b != nil; b = p.TryGet() {
		blocks = append(blocks, b)
	}
	return blocks
}
