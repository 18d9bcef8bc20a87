//go:build linux

package integration

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"simplebit/integration/programs"
	"simplebit/rendezvous/apiclient"
)

func TestATorrentOfATakenNameHarmsNobodysFiles(t *testing.T) {
	t.Parallel()
	s := newScene(t, programs.RTorrent)
	agent := s.agent("attic")
	first := s.torrent("album", 64<<10, 1<<20, 50_000)
	s.seed(programs.RTorrent, "seeder", first)

	// A person's own file has the name of one of the torrent's.
	mine := bytes.Repeat([]byte("mine"), 1<<20)
	own := filepath.Join(agent.Downloads(), "album", "folder 0", "file 0")
	s.ok(os.MkdirAll(filepath.Dir(own), 0o755))
	s.ok(os.WriteFile(own, mine, 0o644))
	id := s.add(first, "attic").ID
	s.wait(id, "download", patience, seeding)
	if got, err := os.ReadFile(own + ".old"); err != nil || !bytes.Equal(got, mine) {
		t.Errorf("the person's file: %d bytes, %v", len(got), err)
	}
	s.ok(os.Remove(own + ".old"))
	s.same(s.content("album"), filepath.Join(agent.Downloads(), "album"))

	// Another torrent has the name of the first.
	s.ok(os.Rename(s.content("album"), s.content("original")))
	second := s.torrent("album", 64<<10, 2<<20, 70_000, 3)
	meta, err := os.ReadFile(second.File)
	s.ok(err)
	added, err := s.surrogate.API().Add(t.Context(), apiclient.NewJob{Torrent: meta, Target: "device:attic"})
	s.ok(err)
	j := s.wait(added.ID, "be paused by the clash", patience, func(j apiclient.Job) bool { return j.Error != "" })
	if j.State != apiclient.StatePaused || !strings.Contains(j.Error, `named "album" too`) {
		t.Errorf("the second job is %s: %s", j.State, j.Error)
	}
	s.ok(s.surrogate.API().Remove(t.Context(), added.ID, true))
	s.until("the second job is gone", patience, func() bool { return s.jobs() == 1 })
	s.same(s.content("original"), filepath.Join(agent.Downloads(), "album"))
	s.wait(id, "seed still", patience, seeding)
}

// jobs is how many there are.
func (s *scene) jobs() int {
	all, err := s.surrogate.API().Jobs(s.Context())
	s.ok(err)
	return len(all)
}
