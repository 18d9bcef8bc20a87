package store

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain runs the tests, or in a child process the part named by the environment.
func TestMain(m *testing.M) {
	if part := os.Getenv("STORE_TEST_CHILD"); part != "" {
		if err := runChild(part, os.Getenv("STORE_TEST_DIR")); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// Most of the tests wait: for leases, elections and restarts. The command line overrides it.
	if err := flag.Set("test.parallel", "8"); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	// nats.go 1.55 leaves this goroutine behind when the writing of a blob ends before it has begun to run. A store that was not
	// closed is found by its others.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/nats-io/nats.go/jetstream.(*jetStream).resetPendingAcksOnReconnect"))
}

const patience = time.Minute // for what must happen

type record struct {
	N int    `json:"n"`
	S string `json:"s,omitempty"`
}

func open(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(context.Background(), Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func table(t testing.TB, s *Store, name string) *Table[record] {
	t.Helper()
	tb, err := OpenTable[record](t.Context(), s, name)
	if err != nil {
		t.Fatal(err)
	}
	return tb
}

func blobs(t testing.TB, s *Store, name string) *Blobs {
	t.Helper()
	b, err := s.OpenBlobs(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// crash returns a copy of a folder as a power cut would leave it now, with whatever the server has written so far.
func crash(t *testing.T, dir string) string {
	t.Helper()
	copied := t.TempDir() + "/store"
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return copied
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
