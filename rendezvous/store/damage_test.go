package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// filled returns the folder of a closed store with 20 records, and its block.
func filled(t *testing.T) (dir, block string) {
	t.Helper()
	dir = t.TempDir()
	s := open(t, dir)
	tb := table(t, s, "jobs")
	for i := range 20 {
		check(t, tb.Put(t.Context(), fmt.Sprint("k", i), record{N: i, S: strings.Repeat("x", 100)}))
	}
	s.Close()
	return dir, filepath.Join(dir, "jetstream/$G/streams/KV_jobs/msgs/1.blk")
}

func TestTornLastWriteIsDropped(t *testing.T) {
	for name, tear := range map[string]func(b []byte) []byte{
		"half a record":                func(b []byte) []byte { return b[:len(b)-60] },
		"one byte short":               func(b []byte) []byte { return b[:len(b)-1] },
		"zeros in its place":           func(b []byte) []byte { clear(b[len(b)-100:]); return b },
		"space that was never written": func(b []byte) []byte { return append(b, make([]byte, 5000)...) },
	} {
		dir, block := filled(t)
		check(t, os.Remove(filepath.Join(filepath.Dir(block), "index.db"))) // is written by a clean stop only
		b, err := os.ReadFile(block)
		check(t, err)
		check(t, os.WriteFile(block, tear(b), 0o600))
		s, err := Open(t.Context(), Config{Dir: dir})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		defer s.Close()
		tb := table(t, s, "jobs")
		if all, err := tb.All(t.Context()); err != nil || len(all) < 19 {
			t.Errorf("%s: %d records, %v", name, len(all), err)
		}
		check(t, tb.Put(t.Context(), "new", record{}))
	}
}

func TestBucketThatCannotBeLoadedIsDamage(t *testing.T) {
	for name, harm := range map[string]func(bucket string) error{
		"no description":      func(b string) error { return os.Remove(b + "/meta.inf") },
		"no checksum":         func(b string) error { return os.Remove(b + "/meta.sum") },
		"changed description": func(b string) error { return os.WriteFile(b+"/meta.inf", []byte("{}"), 0o600) },
	} {
		dir, block := filled(t)
		check(t, harm(filepath.Dir(filepath.Dir(block))))
		for range 2 { // it is no better the second time
			if _, err := Open(t.Context(), Config{Dir: dir}); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "KV_jobs") {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestBucketWhoseCreationWasCutOffIsCreatedAnew(t *testing.T) {
	for _, have := range []string{"nothing", "msgs", "meta.inf"} {
		dir := t.TempDir()
		open(t, dir).Close()
		bucket := streamsDir(dir) + "/KV_jobs"
		check(t, os.MkdirAll(bucket+"/msgs", 0o700))
		switch have {
		case "nothing":
			check(t, os.Remove(bucket+"/msgs"))
		case "meta.inf":
			check(t, os.WriteFile(bucket+"/meta.inf", []byte(`{"name":"KV_jobs"}`), 0o600))
			check(t, os.WriteFile(bucket+"/msgs/1.blk", nil, 0o600))
		}
		s := open(t, dir)
		check(t, table(t, s, "jobs").Put(t.Context(), "k", record{N: 1}))
		s.Close()
		if got, err := table(t, open(t, dir), "jobs").Get(t.Context(), "k"); err != nil || got.N != 1 {
			t.Errorf("%s: %v, %v", have, got, err)
		}
	}
}

// TestReplacedValueDoesNotComeBack guards the reason for keeping deletion markers: the server writes nothing about a value
// that was replaced, and finds it again when it reads its blocks after a crash.
func TestReplacedValueDoesNotComeBack(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	tb := table(t, s, "jobs")
	check(t, tb.Put(t.Context(), "other", record{})) // keeps the block in use
	check(t, tb.Put(t.Context(), "k", record{N: 1}))
	check(t, tb.Put(t.Context(), "k", record{N: 2}))
	check(t, tb.Delete(t.Context(), "k"))
	dir = crash(t, dir)
	tb = table(t, open(t, dir), "jobs")
	if got, err := tb.Get(t.Context(), "k"); !errors.Is(err, ErrNotFound) {
		t.Errorf("after the crash: %v, %v", got, err)
	}
}
