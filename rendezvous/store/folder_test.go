package store

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestSecondOpenInOneProcessIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if _, err := Open(t.Context(), Config{Dir: dir}); !errors.Is(err, ErrInUse) {
		t.Error(err)
	}
	s.Close()
	open(t, dir)
}

func TestFolderIsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "store")
	open(t, dir).Close()
	old := t.TempDir()
	check(t, os.Chmod(old, 0o755))
	open(t, old).Close()
	for _, dir := range []string{dir, old} {
		fi, err := os.Stat(dir)
		check(t, err)
		if fi.Mode().Perm() != 0o700 {
			t.Errorf("%s has mode %v", dir, fi.Mode())
		}
	}
}

func TestFolderThatIsAFileIsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(file, nil, 0o600))
	for _, dir := range []string{file, filepath.Join(file, "store")} {
		_, err := Open(t.Context(), Config{Dir: dir})
		if err == nil || !strings.Contains(err.Error(), "the store folder "+dir+" is not a folder: choose another") {
			t.Error(err)
		}
	}
	if _, err := Open(t.Context(), Config{}); err == nil {
		t.Error("no folder was accepted")
	}
}

func TestEveryWriteIsSynced(t *testing.T) {
	s := open(t, t.TempDir())
	if c := s.server.JetStreamConfig(); !c.SyncAlways || !strings.HasPrefix(c.StoreDir, s.dir) {
		t.Errorf("JetStream runs with %+v", c)
	}
	if addr := s.server.Addr(); addr != nil {
		t.Errorf("the server listens on %v", addr)
	}
}

func TestClosedStoreSaysSo(t *testing.T) {
	s := open(t, t.TempDir())
	tb, bl := table(t, s, "jobs"), blobs(t, s, "meta")
	s.Close()
	s.Close()
	_, get := tb.Get(t.Context(), "k")
	_, blob := bl.Get(t.Context(), "b")
	_, table := OpenTable[record](t.Context(), s, "jobs")
	for what, err := range map[string]error{"Get": get, "Put": tb.Put(t.Context(), "k", record{}), "Delete": tb.Delete(t.Context(), "k"), "Blobs.Get": blob, "Blobs.Put": bl.Put(t.Context(), "b", nil), "OpenTable": table} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestServerThatGaveUpIsToldFromASlowOne stops JetStream as the server itself does when the disk refuses a write.
func TestServerThatGaveUpIsToldFromASlowOne(t *testing.T) {
	s := open(t, t.TempDir())
	tb, bl := table(t, s, "jobs"), blobs(t, s, "meta")
	check(t, s.server.ShutdownJetStream())
	_, get := tb.Get(t.Context(), "k")
	_, blob := bl.Get(t.Context(), "b")
	for what, err := range map[string]error{"Get": get, "Put": tb.Put(t.Context(), "k", record{}), "Delete": tb.Delete(t.Context(), "k"), "Blobs.Get": blob, "Blobs.Put": bl.Put(t.Context(), "b", nil)} {
		if !errors.Is(err, ErrFailed) || !strings.Contains(err.Error(), "see the log, then restart") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestFullStoreStillDeletes(t *testing.T) {
	s, err := Open(t.Context(), Config{Dir: t.TempDir(), MaxStore: 100 << 10})
	check(t, err)
	defer s.Close()
	tb, bl := table(t, s, "jobs"), blobs(t, s, "meta")
	n := 0
	for ; err == nil; n++ {
		err = tb.Put(t.Context(), strconv.Itoa(n), record{S: strings.Repeat("x", 10<<10)})
	}
	if !errors.Is(err, ErrFull) || n < 9 || n > 11 {
		t.Fatalf("after %d records of 10 KiB: %v", n, err)
	}
	if err := bl.Put(t.Context(), "b", make([]byte, 10<<10)); !errors.Is(err, ErrFull) {
		t.Error(err)
	}
	for i := range n {
		check(t, tb.Delete(t.Context(), strconv.Itoa(i)))
	}
	check(t, tb.Put(t.Context(), "k", record{S: strings.Repeat("x", 10<<10)}))
}
