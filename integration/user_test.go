//go:build linux

package integration

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"simplebit/integration/programs"
)

// ordinaryEnv tells the test binary that it runs as an ordinary user, and where
// our commands are.
const ordinaryEnv = "SIMPLEBIT_TEST_ORDINARY"

func TestASmallDownload(t *testing.T) {
	t.Parallel()
	s := newScene(t, programs.RTorrent)
	attic := s.agent("attic")
	torrent := s.torrent("album", 32<<10, 200_000, 0, 77)
	s.seed(programs.RTorrent, "seeder", torrent)
	s.wait(s.addBy(torrent.Magnet(s.tracker.URL()), "attic").ID, "download", patience, seeding)
	s.same(s.content("album"), filepath.Join(attic.Downloads(), "album"))
}

// TestAnOrdinaryUserCanRunEverything has a user without any rights do the small
// download, with networks, real clients and all.
func TestAnOrdinaryUserCanRunEverything(t *testing.T) {
	t.Parallel()
	programs.Require(t, programs.RTorrent, programs.Opentracker, programs.Mktorrent)
	if os.Getenv(ordinaryEnv) != "" {
		return // this is that user
	}
	if m, err := os.ReadFile("/proc/self/uid_map"); err != nil || !slices.Equal(strings.Fields(string(m)), []string{"0", "0", "4294967295"}) {
		return // not root: an ordinary user runs all the tests
	}
	// The folders of root's binaries need not be open to others.
	dir, err := os.MkdirTemp("", "sbuser")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	names := []string{"/proc/self/exe"}
	for _, command := range []string{"rendezvous", "edgeagent", "simplebit"} {
		names = append(names, filepath.Join(bin(t), command))
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.Base(name)), b, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	tmp := filepath.Join(dir, "tmp")
	if err := os.Mkdir(tmp, 0o777); err != nil || os.Chmod(tmp, 0o777) != nil || os.Chmod(dir, 0o755) != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--",
		filepath.Join(dir, "exe"), "-test.v", "-test.timeout=5m", "-test.run=^TestASmallDownload$")
	cmd.Dir = tmp
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "TMPDIR=" + tmp, "CI=true", ordinaryEnv + "=" + dir}
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestASmallDownload")) {
		t.Fatalf("as an ordinary user: %v\n%s", err, out)
	}
}
