package storage

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// put is write for a caller of Work.
func (r *rig) put(blocks ...position) {
	r.t.Helper()
	for _, p := range blocks {
		b, err := r.config.Pool.Get(context.Background())
		if err != nil {
			r.t.Fatal(err)
		}
		b.N = copy(b.Bytes(), r.content.piece(p.piece)[p.begin:])
		r.Put(p.piece, p.begin, b)
	}
}

func TestWhatWasPutIsDoneInTheGoroutineThatCallsWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, severalFiles())
		r.put(r.content.blocks(0)...)
		synctest.Wait()
		if got := r.Partial(); got != 0 || len(r.Events()) > 0 {
			t.Fatalf("%d bytes were taken before Work", got)
		}
		r.Work()
		select {
		case e := <-r.Events():
			if e != (Event{Kind: PieceVerified}) {
				t.Errorf("event %+v, want piece 0 verified", e)
			}
		default:
			t.Error("no event when Work had returned")
		}
		r.wantHave(0)
		r.Close()
	})
}

func TestWorkBesideSomebodyWhoIsAtItIsLeftToTheOwnGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, severalFiles())
		release := make(chan struct{})
		go r.do(t.Context(), func() { <-release })
		synctest.Wait()
		r.put(r.content.blocks(0)...)
		r.Work() // does not wait: in a bubble that would be a deadlock
		if got := r.Partial(); got != 0 {
			t.Errorf("%d bytes were taken by two at a time", got)
		}
		close(release)
		if e := r.next(); e != (Event{Kind: PieceVerified}) {
			t.Errorf("event %+v, want piece 0 verified", e)
		}
		r.Close()
	})
}

func TestPiecesThatAreVerifiedInWorkAreSyncedLikeOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, severalFiles())
		for _, at := range []struct {
			pieces []int
			wait   time.Duration
		}{
			{[]int{0}, syncEvery + time.Second}, // the own goroutine has been waiting since before there was anything to sync
			{r.content.allPieces()[1:], 0},      // all is there: at once
		} {
			r.put(r.content.blocks(at.pieces...)...)
			r.Work()
			time.Sleep(at.wait)
			synctest.Wait()
			if got := r.journalOnDisk(); got.durable.count() != 1+at.pieces[len(at.pieces)-1] {
				t.Errorf("after pieces %v durable is %08b, tail %v", at.pieces, got.durable, got.tail)
			}
		}
		r.Close()
	})
}
