//go:build linux

package integration

import (
	"path/filepath"
	"testing"

	"simplebit/integration/natlab"
	"simplebit/integration/programs"
	"simplebit/rendezvous/apiclient"
)

// midway is a download of 24 MiB at 4 MB/s, a third of it there.
type midway struct {
	*scene
	agent  *programs.Agent
	seeder *natlab.Host
	id     string
}

func newMidway(t *testing.T) *midway {
	t.Helper()
	s := newScene(t, programs.RTorrent)
	torrent := s.torrent("album", 128<<10, 20<<20, 4<<20)
	m := &midway{scene: s, agent: s.agent("attic"), seeder: s.slowly("seeder", torrent, 4_000_000)}
	m.id = s.add(torrent, "attic").ID
	s.wait(m.id, "get a third", patience, func(j apiclient.Job) bool { return j.Have > j.Size/3 })
	return m
}

// underway is what the agent has verified, which is not all yet.
func (m *midway) underway() (have int64) {
	m.Helper()
	st, err := m.agent.Status()
	m.ok(err)
	if have = st.Torrents[0].Have; have == st.Torrents[0].Size {
		m.Fatal("the download is over already")
	}
	return have
}

// finish has the rest come fast, waits for the end of the download and checks what was fetched again: nothing that was verified but
// the last piece, and what was in flight.
func (m *midway) finish(before int64) {
	m.Helper()
	m.ok(m.seeder.Shape(0, 0))
	j := m.wait(m.id, "download", patience, seeding)
	m.same(m.content("album"), filepath.Join(m.agent.Downloads(), "album"))
	const memory, piece = 4 << 20, 128 << 10
	if again := j.Downloaded - (j.Size - before); again > memory+10*piece {
		m.Errorf("%d bytes were there, %d of %d were fetched after the restart: %d too many", before, j.Downloaded, j.Size, again)
	}
}

func TestAKilledAgentResumes(t *testing.T) {
	t.Parallel()
	m := newMidway(t)
	have := m.underway()
	m.ok(m.agent.Kill())
	m.ok(m.agent.Restart(t.Context()))
	st, err := m.agent.Status()
	m.ok(err)
	const piece = 128 << 10
	if len(st.Torrents) != 1 || st.Torrents[0].Have < have-piece {
		t.Errorf("%d bytes were verified before the kill, after it the agent holds %+v", have, st.Torrents)
	}
	m.finish(have)
}

func TestADownloadGoesOnWhileTheSurrogateIsDead(t *testing.T) {
	t.Parallel()
	m := newMidway(t)
	m.ok(m.surrogate.Kill())
	m.underway()
	m.ok(m.seeder.Shape(0, 0))
	m.until("the agent completes the download without the surrogate", patience, func() bool {
		st, err := m.agent.Status()
		m.ok(err)
		return st.Torrents[0].State == "seeding"
	})
	m.ok(m.surrogate.Restart(t.Context()))
	j := m.wait(m.id, "come back", patience, seeding)
	m.same(m.content("album"), filepath.Join(m.agent.Downloads(), "album"))
	if j.Downloaded > j.Size+4<<20 {
		t.Errorf("downloaded %d of %d bytes", j.Downloaded, j.Size)
	}
}

func TestBothKilledAtOnceResume(t *testing.T) {
	t.Parallel()
	m := newMidway(t)
	have := m.underway()
	m.ok(m.agent.Kill())
	m.ok(m.surrogate.Kill())
	m.ok(m.surrogate.Restart(t.Context()))
	m.ok(m.agent.Restart(t.Context()))
	m.finish(have)
}
