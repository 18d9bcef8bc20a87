package store

import (
	"bytes"
	"encoding/hex"
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

func TestDamageBeforeAcknowledgedRecordsIsRefusedAndLeftAlone(t *testing.T) {
	for _, stopped := range []string{"cleanly", "by a crash"} {
		dir, block := filled(t)
		if stopped == "by a crash" {
			check(t, os.Remove(filepath.Join(filepath.Dir(block), "index.db")))
		}
		b, err := os.ReadFile(block)
		check(t, err)
		for _, at := range []int{0, 3, 100, len(b) / 2, len(b) - 300} {
			bad := bytes.Clone(b)
			bad[at] ^= 0x80
			check(t, os.WriteFile(block, bad, 0o600))
			_, err := Open(t.Context(), Config{Dir: dir})
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), block) {
				t.Errorf("stopped %s, byte %d flipped: %v", stopped, at, err)
			}
			if now, err := os.ReadFile(block); err != nil || !bytes.Equal(now, bad) {
				t.Errorf("the damaged file was changed: %v", err)
			}
		}
		check(t, os.WriteFile(block, b, 0o600))
		if all, err := table(t, open(t, dir), "jobs").All(t.Context()); err != nil || len(all) != 20 {
			t.Errorf("with the file restored: %d records, %v", len(all), err)
		}
	}
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
		var log logBuffer
		s, err := Open(t.Context(), Config{Dir: dir, Log: log.logger()})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		defer s.Close()
		if !strings.Contains(log.String(), "never acknowledged") {
			t.Errorf("%s: nothing about it in the log: %s", name, log.String())
		}
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

// One record: key "k" of table "jobs" with the value {"n":1}, first of its block, as nats-server 2.15.2 writes it.
const recordHex = "2f000000" + "0100000000000000" + "80fda4a67c6fea18" + "0a00" + // length, sequence, time, subject length
	"244b562e6a6f62732e6b" + "7b226e223a317d" + "27ee0948c088e995" // $KV.jobs.k, {"n":1}, check

func block(t testing.TB) []byte {
	b, err := hex.DecodeString(recordHex)
	check(t, err)
	return b
}

func TestRecordAsTheServerWritesIt(t *testing.T) {
	c, err := newBlockCheck("KV_jobs", 1)
	check(t, err)
	b := block(t)
	if n := c.record(b); n != len(b) {
		t.Errorf("%d of %d bytes", n, len(b))
	}
	for i := range b {
		if n := c.record(b[:i]); n != 0 {
			t.Errorf("the first %d bytes are taken for a record of %d", i, n)
		}
		if i >= 4 && i != 20 && i != 21 { // the lengths are not part of the hash
			bad := bytes.Clone(b)
			bad[i] ^= 1
			if c.record(bad) != 0 {
				t.Errorf("byte %d flipped, and it is still a record", i)
			}
		}
	}
	other, err := newBlockCheck("KV_jobs", 2)
	check(t, err)
	if other.record(b) != 0 {
		t.Error("a record of another block is taken for one of this")
	}
}

func FuzzBlock(f *testing.F) {
	b := block(f)
	f.Add(b)
	f.Add(append(bytes.Clone(b), b...))
	f.Add(append([]byte{0xff}, b...))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := newBlockCheck("KV_jobs", 1)
		check(t, err)
		bad := c.firstBad(data)
		if bad < 0 || bad > len(data) || bad < len(data) && c.record(data[bad:]) != 0 {
			t.Fatalf("first bad record at %d of %d", bad, len(data))
		}
		c.goodAfter(data, bad)
		// Whatever precedes a good record, it is found.
		if bad == 0 && len(data) > 0 && !c.goodAfter(append(bytes.Clone(data), b...), 0) {
			t.Fatal("the record behind is not found")
		}
	})
}
