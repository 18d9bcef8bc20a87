package storage

import (
	"bytes"
	"crypto/sha1"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

func TestWrongPieceIsReportedAndCanBeFetchedAgain(t *testing.T) {
	r := newRig(t, severalFiles())
	r.writeBytes(position{3, 0}, make([]byte, BlockSize))
	r.write(position{3, BlockSize})
	if e := r.next(); e.Kind != PieceFailed || e.Piece != 3 {
		t.Fatalf("event %+v, want piece 3 failed", e)
	}
	r.wantHave()
	if r.Partial() != 0 {
		t.Errorf("%d bytes partial", r.Partial())
	}
	r.fetch(3)
	r.wantHave(3)
}

func TestBlocksThatFitNowhereOrCameBeforeAreDropped(t *testing.T) {
	r := newRig(t, severalFiles())
	r.fetch(0)
	for _, p := range []position{{-1, 0}, {10, 0}, {1, -BlockSize}, {1, 5}, {1, 2 * BlockSize}, {0, 0}} {
		r.writeBytes(p, make([]byte, BlockSize))
	}
	r.writeBytes(position{1, 0}, make([]byte, BlockSize-1))
	r.write(position{1, 0})
	r.writeBytes(position{1, 0}, make([]byte, BlockSize))
	r.barrier()
	r.writeBytes(position{1, 0}, make([]byte, BlockSize))
	r.write(position{1, BlockSize})
	if e := r.next(); e.Kind != PieceVerified || e.Piece != 1 {
		t.Fatalf("event %+v, want piece 1 verified by the blocks that came first", e)
	}
	r.wantHave(0, 1)
	if free := r.config.Pool.Free(); free != r.config.Pool.Size() {
		t.Errorf("%d bytes of the pool are free, want all", free)
	}
}

func TestOnlyVerifiedPiecesCanBeRead(t *testing.T) {
	r := newRig(t, severalFiles())
	r.fetch(4)
	r.write(position{5, 0})
	r.barrier()
	for _, tt := range []struct{ piece, begin, n int }{
		{5, 0, 1}, {-1, 0, 1}, {10, 0, 1}, {4, -1, 1}, {4, 1, 2 * BlockSize}, {4, 2 * BlockSize, 1},
	} {
		if err := r.ReadBlock(tt.piece, tt.begin, make([]byte, tt.n)); !errors.Is(err, ErrNotVerified) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
	// Across the boundary of two files.
	b := make([]byte, 100)
	if err := r.ReadBlock(4, BlockSize-50, b); err != nil || !bytes.Equal(b, r.content.piece(4)[BlockSize-50:][:100]) {
		t.Errorf("read differently, or %v", err)
	}
}

func TestPaddingReadsAsZerosAndIsNotOnDisk(t *testing.T) {
	c := newContent(1, 2*BlockSize, File{Path: "t/a", Length: 100}, File{Path: ".pad/x", Length: 2*BlockSize - 100, Pad: true},
		File{Path: "t/b", Length: 100})
	r := newRig(t, c)
	r.fetch(0, 1)
	r.wantHave(0, 1)
	r.wantTree("t/a", "t/b")
	r.verified()
	r.wantHave(0, 1)
}

func TestAfterCloseEverythingIsRefused(t *testing.T) {
	r := newRig(t, severalFiles())
	r.fetch(0)
	r.write(position{1, 0})
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	r.write(position{1, BlockSize})
	if err := r.ReadBlock(0, 0, make([]byte, 1)); !errors.Is(err, ErrClosed) {
		t.Errorf("ReadBlock: %v", err)
	}
	if e, ok := <-r.Events(); ok {
		t.Errorf("event %+v, want none", e)
	}
	if n := len(r.config.Pool.watchers); n != 0 {
		t.Errorf("%d torrents are still told of a lack of blocks", n)
	}
	if free := r.config.Pool.Free(); free != r.config.Pool.Size() {
		t.Errorf("%d bytes of the pool are free, want all", free)
	}
}

func TestCloseDoesNotWaitForEventsToBeDrained(t *testing.T) {
	c := newContent(1, 16, File{Path: "a", Length: 16 * 3 * eventBuffer})
	r := newRig(t, c)
	// More than the channel takes: the last ones wait in the queue.
	r.write(c.blocks(c.allPieces()[:eventBuffer+30]...)...)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r.open()
	r.wantHave(c.allPieces()[:eventBuffer+30]...)
}

func TestDeleteLeavesWhatBelongsToOthers(t *testing.T) {
	r := newRig(t, newContent(1, BlockSize, File{Path: "t/a/1", Length: BlockSize}, File{Path: "t/b/2", Length: 2 * BlockSize},
		File{Path: "t/b/empty"}, File{Path: "t/c/3", Length: BlockSize}, File{Path: "t/d/4", Length: BlockSize}))
	r.fetch(0, 1, 3)
	outside := t.TempDir()
	err := errors.Join(os.WriteFile(r.file("t/b/mine"), nil, 0o666), os.Symlink(outside, r.file("t/d")))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Delete(); err != nil {
		t.Fatal(err)
	}
	r.wantTree("t/b/mine", "t/d")
	if got := tree(t, filepath.Dir(r.config.Journal)); len(got) > 0 {
		t.Errorf("of the state is left %v", got)
	}
	if err := r.Delete(); err != nil {
		t.Errorf("second Delete: %v", err)
	}
	if err := r.Verify(t.Context(), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Verify: %v", err)
	}
}

func TestDeleteAfterClose(t *testing.T) {
	r := newRig(t, severalFiles())
	r.fetch(0, 1, 2, 3, 4)
	r.Close()
	if err := r.Delete(); err != nil {
		t.Fatal(err)
	}
	r.wantTree()
	if err := r.Delete(); err != nil {
		t.Error(err)
	}
	r.open()
	r.wantHave()
	if r.NeedsCheck() {
		t.Error("needs a check")
	}
}

func TestReadersAreNotDisturbedByWritesRenamesAndEvictions(t *testing.T) {
	var files []File
	for i := range 4 * maxHandles {
		files = append(files, File{Path: fmt.Sprintf("t/%d", i), Length: BlockSize + int64(i)})
	}
	c := newContent(1, BlockSize, files...)
	before := openDescriptors(t)
	r := newRig(t, c)
	half := c.pieces() / 2
	r.fetch(c.allPieces()[:half]...)
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for n := range 4 {
		readers.Go(func() {
			b := make([]byte, BlockSize)
			for i := n; ; i = (i + 7) % half {
				select {
				case <-stop:
					return
				default:
				}
				if err := r.ReadBlock(i, 0, b); err != nil || !bytes.Equal(b, c.piece(i)) {
					t.Errorf("piece %d: %v", i, err)
					return
				}
			}
		})
	}
	r.fetch(c.allPieces()[half:]...)
	r.verified()
	close(stop)
	readers.Wait()
	if n := len(r.disk.handles); n > maxHandles {
		t.Errorf("%d files are open, want at most %d", n, maxHandles)
	}
	// A read that comes in the midst of Close fails or is right, nothing else.
	for range 4 {
		readers.Go(func() {
			b := make([]byte, BlockSize)
			for i := 0; ; i = (i + 1) % half {
				err := r.ReadBlock(i, 0, b)
				if errors.Is(err, ErrClosed) {
					return
				}
				if err != nil || !bytes.Equal(b, c.piece(i)) {
					t.Errorf("piece %d: %v", i, err)
					return
				}
			}
		})
	}
	r.Close()
	readers.Wait()
	if after := openDescriptors(t); after > before {
		t.Errorf("%d descriptors are open, before it were %d", after, before)
	}
}

func TestFileInUseIsClosedByItsLastUser(t *testing.T) {
	r := newRig(t, severalFiles())
	r.fetch(0)
	h, err := r.disk.acquire(0, false)
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	if _, err := h.f.Stat(); err != nil {
		t.Errorf("closed while in use: %v", err)
	}
	r.disk.release(h)
	if _, err := h.f.Stat(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("still open: %v", err)
	}
}

func openDescriptors(t *testing.T) int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestNothingIsAllocatedPerBlock(t *testing.T) {
	const pieces, blocks = 200, 32
	data := bytes.Repeat([]byte("content "), blocks*BlockSize/8)
	dir := memoryDir(t)
	config := Config{Dir: dir, Journal: filepath.Join(dir, "journal"), Pool: NewPool(0), Layout: Layout{
		PieceLength: len(data), Length: pieces * int64(len(data)),
		Files:  []File{{Path: "a", Length: pieces * int64(len(data))}},
		Hashes: repeated(sha1.Sum(data)),
	}}
	r, err := Open(config)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	piece := 0
	fetch := func() {
		// The second half first: it waits in memory.
		for i := range blocks {
			begin := (i + blocks/2) % blocks * BlockSize
			b, err := config.Pool.Get(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			b.N = copy(b.Bytes(), data[begin:])
			r.Write(piece, begin, b)
		}
		if e := <-r.Events(); e.Kind != PieceVerified || e.Piece != piece {
			t.Fatalf("event %+v, want piece %d verified", e, piece)
		}
		piece++
	}
	for range 90 {
		fetch()
	}
	if n := testing.AllocsPerRun(100, fetch); n > 0 {
		t.Errorf("%v allocations for a piece of %d blocks, want none", n, blocks)
	}
}

func TestPiecesAreSyncedAndMarkedWithin30Seconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, severalFiles())
		r.fetch(0)
		time.Sleep(syncEvery / 2)
		r.fetch(1)
		if got := r.journalOnDisk(); got.durable.count() != 0 || len(got.tail) != 2 {
			t.Errorf("before: durable %08b, tail %v", got.durable, got.tail)
		}
		time.Sleep(syncEvery/2 + time.Second)
		synctest.Wait()
		if got := r.journalOnDisk(); !got.durable.has(0) || !got.durable.has(1) || len(got.tail) != 0 || got.records != 3 {
			t.Errorf("after: durable %08b, tail %v, %d records", got.durable, got.tail, got.records)
		}
		time.Sleep(10 * syncEvery)
		synctest.Wait()
		if got := r.journalOnDisk(); got.records != 3 {
			t.Errorf("%d records although nothing happened", got.records)
		}
		r.fetch(2, 3, 4, 5, 6, 7, 8, 9)
		synctest.Wait()
		if got := r.journalOnDisk(); got.durable.count() != 10 {
			t.Error("a finished torrent is not synced at once")
		}
		r.Close()
	})
}

func TestPieceVerifiedDuringASyncIsSyncedByTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, severalFiles())
		r.fetch(0)
		r.write(r.content.blocks(1)...)
		err := r.do(t.Context(), func() {
			r.startSync()
			r.takeBlocks()
		})
		if err != nil {
			t.Fatal(err)
		}
		if e := r.next(); e.Kind != PieceVerified || e.Piece != 1 {
			t.Fatalf("event %+v, want piece 1 verified", e)
		}
		r.fetch(2)
		time.Sleep(syncEvery + time.Second)
		synctest.Wait()
		if got := r.journalOnDisk(); got.durable.count() != 3 {
			t.Errorf("durable %08b, tail %v", got.durable, got.tail)
		}
		r.Close()
	})
}

func TestCloseWaitsForTheRunningSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, severalFiles())
		r.fetch(0)
		result := make(chan error)
		err := r.do(t.Context(), func() {
			r.own.sync.disarm()
			r.own.sync.done, r.own.sync.running, r.own.sync.records, r.own.sync.pieces = result, true, 1, 1
		})
		if err != nil {
			t.Fatal(err)
		}
		go r.Close()
		synctest.Wait()
		select {
		case <-r.stopped:
			t.Fatal("it did not wait")
		case result <- nil:
		}
		r.Close()
		if got := r.journalOnDisk(); !got.durable.has(0) {
			t.Error("the result is not in the journal")
		}
	})
}

func (r *rig) journalOnDisk() *journalState {
	r.t.Helper()
	s, damage, err := readJournal(r.config.Journal, r.content.pieces(), r.own.header.layout)
	if err != nil || damage != nil {
		r.t.Fatal(err, damage)
	}
	return s
}

// The kernel forgets pages that it could not write, so what a failed sync covered cannot be trusted.
func TestPiecesOfAFailedSyncAreTakenBack(t *testing.T) {
	r := newRig(t, severalFiles())
	r.fetch(0, 1, 2)
	r.reopen()
	r.fetch(3, 4, 5)
	failure := r.disk.fail("syncing", "t/a", unix.EIO)
	if err := r.do(t.Context(), func() { r.endSync(failure) }); err != nil {
		t.Fatal(err)
	}
	if failed, _ := r.wantDiskFailed(); !errors.Is(failed, unix.EIO) {
		t.Errorf("%v", failed)
	}
	r.wantHave(0, 1, 2)
	r.reopen()
	r.wantHave(0, 1, 2)
	if r.NeedsCheck() {
		t.Error("needs a check")
	}
	r.fetch(r.missing()...)
	r.wantFiles()
}
