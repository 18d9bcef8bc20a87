//go:build linux

package integration

import (
	"path/filepath"
	"testing"
	"time"

	"simplebit/integration/programs"
	"simplebit/rendezvous/apiclient"
)

// midway is a download of 24 MiB at about 4 MB/s, a third of it there.
func midway(t *testing.T) (s *scene, agent *programs.Agent, id string) {
	s = newScene(t, programs.TransmissionDaemon)
	torrent := s.torrent("album", 128<<10, 20<<20, 4<<20)
	agent = s.agent("attic")
	seeder := s.host("seeder")
	s.ok(seeder.Shape(0, 32_000_000))
	c, err := programs.StartTransmission(s.Context(), programs.Config{Host: seeder, Dir: filepath.Join(s.dir, "seeder")})
	s.ok(err)
	s.ok(c.Seed(s.Context(), torrent.File, filepath.Join(s.dir, "content")))
	s.ok(s.tracker.Await(s.Context(), torrent.InfoHash, 1, 0))
	id = s.add(torrent, "attic").ID
	s.wait(id, "get a third", time.Minute, func(j apiclient.Job) bool { return j.Have > j.Size/3 })
	return s, agent, id
}

// finish waits for the end of the download and checks what was fetched again:
// nothing that was verified but the last piece, and what was in flight.
func finish(s *scene, agent *programs.Agent, id string, before int64) {
	s.Helper()
	j := s.wait(id, "download", time.Minute, seeding)
	s.same(s.content("album"), filepath.Join(agent.Downloads(), "album"))
	const memory, piece = 4 << 20, 128 << 10
	if again := j.Downloaded - (j.Size - before); again > memory+10*piece {
		s.Errorf("%d bytes were there, %d of %d were fetched after the restart: %d too many", before, j.Downloaded, j.Size, again)
	}
}

func TestAKilledAgentResumes(t *testing.T) {
	t.Parallel()
	s, agent, id := midway(t)
	st, err := agent.Status()
	s.ok(err)
	have := st.Torrents[0].Have
	s.ok(agent.Kill())
	s.ok(agent.Restart(s.Context()))
	st, err = agent.Status()
	s.ok(err)
	const piece = 128 << 10
	if len(st.Torrents) != 1 || st.Torrents[0].Have < have-piece {
		t.Errorf("%d bytes were verified before the kill, after it the agent holds %+v", have, st.Torrents)
	}
	finish(s, agent, id, have)
}

func TestADownloadGoesOnWhileTheSurrogateIsDead(t *testing.T) {
	t.Parallel()
	s, agent, id := midway(t)
	s.ok(s.surrogate.Kill())
	deadline := time.Now().Add(time.Minute)
	for {
		st, err := agent.Status()
		s.ok(err)
		if st.Torrents[0].State == "seeding" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("without the surrogate the agent stopped: %+v", st)
		}
		time.Sleep(100 * time.Millisecond)
	}
	s.ok(s.surrogate.Restart(s.Context()))
	j := s.wait(id, "come back", 90*time.Second, seeding)
	s.same(s.content("album"), filepath.Join(agent.Downloads(), "album"))
	if j.Downloaded > j.Size+4<<20 {
		t.Errorf("downloaded %d of %d bytes", j.Downloaded, j.Size)
	}
}

func TestBothKilledAtOnceResume(t *testing.T) {
	t.Parallel()
	s, agent, id := midway(t)
	st, err := agent.Status()
	s.ok(err)
	have := st.Torrents[0].Have
	s.ok(agent.Kill())
	s.ok(s.surrogate.Kill())
	s.ok(s.surrogate.Restart(s.Context()))
	s.ok(agent.Restart(s.Context()))
	finish(s, agent, id, have)
}
