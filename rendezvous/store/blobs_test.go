package store

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

func content(size int, seed byte) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

func TestBlobsComeBackWhole(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	bl := blobs(t, s, "meta")
	sizes := []int{0, 1, chunkSize - 1, chunkSize, chunkSize + 1, 3*chunkSize + 5, MaxBlob}
	name := func(i int) string { return strings.Repeat("../* >", i+1) }
	for i, size := range sizes {
		check(t, bl.Put(t.Context(), name(i), content(size, byte(i))))
	}
	s.Close()
	bl = blobs(t, open(t, dir), "meta")
	for i, size := range sizes {
		got, err := bl.Get(t.Context(), name(i))
		if err != nil || !bytes.Equal(got, content(size, byte(i))) {
			t.Errorf("a blob of %d bytes came back with %d, %v", size, len(got), err)
		}
	}
	if _, err := bl.Get(t.Context(), "none"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

func TestBlobsThatAreRefused(t *testing.T) {
	bl := blobs(t, open(t, t.TempDir()), "meta")
	if err := bl.Put(t.Context(), "b", make([]byte, MaxBlob+1)); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	for _, name := range []string{"", strings.Repeat("n", MaxKey+1)} {
		_, err := bl.Get(t.Context(), name)
		for _, err := range []error{err, bl.Put(t.Context(), name, nil), bl.Delete(t.Context(), name)} {
			if !errors.Is(err, ErrInvalid) {
				t.Error(err)
			}
		}
	}
}

func TestReplacedAndDeletedBlobsFreeTheirSpace(t *testing.T) {
	s := open(t, t.TempDir())
	bl := blobs(t, s, "meta")
	for i := range byte(4) {
		check(t, bl.Put(t.Context(), "b", content(2<<20, i)))
	}
	if got, err := bl.Get(t.Context(), "b"); err != nil || !bytes.Equal(got, content(2<<20, 3)) {
		t.Errorf("not the last content: %v", err)
	}
	if used := usage(s); used > 2<<20+2000 {
		t.Errorf("%d bytes used for a blob of 2 MiB", used)
	}
	check(t, bl.Delete(t.Context(), "b"))
	check(t, bl.Delete(t.Context(), "b"))
	if used := usage(s); used > 2000 {
		t.Errorf("%d bytes used for a deleted blob", used)
	}
	if _, err := bl.Get(t.Context(), "b"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

func usage(s *Store) uint64 { return s.server.GlobalAccount().JetStreamUsage().Store }

func TestBlobWriteThatIsCutOffLeavesTheOldContent(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	bl := blobs(t, s, "meta")
	old := content(chunkSize*2, 1)
	check(t, bl.Put(t.Context(), "b", old))
	// The send is cut off after a part of the chunks, as by a kill: nothing is cleaned up.
	check(t, bl.send(t.Context(), "CUTOFF", content(chunkSize*3, 2)))
	if got, err := bl.Get(t.Context(), "b"); err != nil || !bytes.Equal(got, old) {
		t.Errorf("old content: %v", err)
	}
	s.Close()

	s = open(t, dir)
	if used := usage(s); used > chunkSize*2+2000 {
		t.Errorf("%d bytes used for a blob of %d after the next start", used, chunkSize*2)
	}
	bl = blobs(t, s, "meta")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := bl.Put(ctx, "b", make([]byte, MaxBlob)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("32 MiB within 20 ms: %v", err)
	}
	if got, err := bl.Get(t.Context(), "b"); err != nil || !bytes.Equal(got, old) {
		t.Errorf("old content: %v", err)
	}
	if used := usage(s); used > chunkSize*2+2000 {
		t.Errorf("%d bytes used for a blob of %d after a failed write", used, chunkSize*2)
	}
}

func TestBlobWithALostChunkIsDamage(t *testing.T) {
	bl := blobs(t, open(t, t.TempDir()), "meta")
	check(t, bl.Put(t.Context(), "b", content(chunkSize*3, 1)))
	m, err := bl.stream.GetMsg(t.Context(), 2)
	check(t, err)
	check(t, bl.stream.DeleteMsg(t.Context(), m.Sequence))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := bl.Get(ctx, "b"); !errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
	check(t, bl.Put(t.Context(), "b", []byte("new")))
	if got, err := bl.Get(ctx, "b"); err != nil || string(got) != "new" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestReaderSeesOneOfTheContentsWhileABlobIsReplaced(t *testing.T) {
	t.Parallel()
	bl := blobs(t, open(t, t.TempDir()), "meta")
	contents := [][]byte{content(chunkSize*2, 0), content(chunkSize*3, 1)}
	check(t, bl.Put(t.Context(), "b", contents[0]))
	var wg sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	wg.Go(func() {
		for i := 1; ctx.Err() == nil; i++ {
			check(t, bl.Put(t.Context(), "b", contents[i%2]))
		}
	})
	for range 8 {
		got, err := bl.Get(t.Context(), "b")
		if err != nil || !bytes.Equal(got, contents[0]) && !bytes.Equal(got, contents[1]) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
	stop()
	wg.Wait()
}

func TestBlobsAreAStandardObjectStore(t *testing.T) {
	s := open(t, t.TempDir())
	bl := blobs(t, s, "meta")
	data := content(chunkSize+1, 1)
	check(t, bl.Put(t.Context(), "ours", data))
	other, err := s.js.ObjectStore(t.Context(), "meta")
	check(t, err)
	if got, err := other.GetBytes(t.Context(), "ours"); err != nil || !bytes.Equal(got, data) {
		t.Errorf("the library reads %d bytes, %v", len(got), err)
	}
	_, err = other.PutBytes(t.Context(), "theirs", data)
	check(t, err)
	if got, err := bl.Get(t.Context(), "theirs"); err != nil || !bytes.Equal(got, data) {
		t.Errorf("we read %d bytes, %v", len(got), err)
	}
	check(t, bl.Delete(t.Context(), "ours"))
	if _, err := other.GetInfo(t.Context(), "ours"); !errors.Is(err, jetstream.ErrObjectNotFound) {
		t.Errorf("the library finds what we deleted: %v", err)
	}
}
