package store

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
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

// A replaced blob loses its chunks, so whoever is reading it waits for them in vain.
func TestPuttingTheSameAgainDoesNotDisturbReaders(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	bl := blobs(t, s, "meta")
	data := content(4*chunkSize, 1)
	check(t, bl.Put(t.Context(), "b", data))
	before := usage(s)
	done := make(chan error, 1)
	go func() {
		var err error
		for range 50 {
			if err == nil {
				err = bl.Put(t.Context(), "b", data)
			}
		}
		done <- err
	}()
	for running := true; running; {
		select {
		case err := <-done:
			check(t, err)
			running = false
		default:
		}
		if got, err := bl.Get(t.Context(), "b"); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("reading meanwhile: %d bytes, %v", len(got), err)
		}
	}
	if after := usage(s); after != before {
		t.Errorf("%d bytes used instead of %d", after, before)
	}
}
