//go:build linux

package integration

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"simplebit/integration/programs"
	"simplebit/rendezvous/apiclient"
)

func TestAMagnetIsDownloadedFromEveryRealSeeder(t *testing.T) {
	t.Parallel()
	seeders := []string{programs.TransmissionDaemon, programs.QBittorrentNox, programs.Aria2c, programs.RTorrent}
	s := newScene(t, seeders...)
	agent := s.agent("attic")
	for i, program := range seeders {
		host := fmt.Sprint("seeder", i)
		t.Run(program, func(t *testing.T) {
			s := *s
			s.T = t
			torrent := s.torrent(program, 64<<10, 3<<20+i, 0, 1, 70_000, 5<<20, 16<<10)
			seeder := s.seed(program, host, torrent)
			j := s.wait(s.add(torrent, "attic").ID, "download", patience, seeding)
			s.same(s.content(program), filepath.Join(agent.Downloads(), program))
			if j.Have != j.Size || j.Size == 0 || j.Downloaded < j.Size {
				t.Errorf("the job says %+v", j)
			}
			s.ok(seeder.Stop())
		})
	}
}

func TestTheAgentUploadsToRealLeechers(t *testing.T) {
	t.Parallel()
	s := newScene(t, programs.TransmissionDaemon, programs.QBittorrentNox, programs.Aria2c)
	torrent := s.torrent("album", 128<<10, 9<<20, 7<<20, 100)
	agent := s.agent("attic")

	seeder := s.host("seeder")
	s.ok(seeder.Shape(0, 1_000_000)) // so that the leechers trade until the agent has its share of that
	c, err := programs.StartTransmission(s.Context(), programs.Config{Host: seeder, Dir: filepath.Join(s.dir, "seeder")})
	s.ok(err)
	s.ok(c.Seed(s.Context(), torrent.File, filepath.Join(s.dir, "content")))
	s.ok(s.tracker.Await(s.Context(), torrent.InfoHash, 1, 0))

	leechers := map[string]client{"qb": s.real(programs.QBittorrentNox, "qb"), "aria": s.real(programs.Aria2c, "aria")}
	for name, l := range leechers {
		s.ok(l.Leech(s.Context(), torrent.File, filepath.Join(s.dir, name, "downloads")))
	}
	s.ok(s.tracker.Await(s.Context(), torrent.InfoHash, 1, 2))
	id := s.add(torrent, "attic").ID
	s.wait(id, "report uploads", patience, func(j apiclient.Job) bool { return j.Uploaded > 0 })
	s.ok(seeder.Shape(0, 0))
	j := s.wait(id, "download", patience, seeding)
	s.same(s.content("album"), filepath.Join(agent.Downloads(), "album"))
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	for name, l := range leechers {
		s.ok(l.WaitComplete(ctx))
		s.same(s.content("album"), filepath.Join(s.dir, name, "downloads", "album"))
	}
	t.Logf("the agent downloaded %d and uploaded %d bytes", j.Downloaded, j.Uploaded)
}

// TestRealClientsDialTheAgent has a tracker name nobody but the agent, so that
// the real client has to come to it.
func TestRealClientsDialTheAgent(t *testing.T) {
	t.Parallel()
	s := newScene(t, programs.TransmissionDaemon, programs.QBittorrentNox)
	torrent := s.torrent("album", 64<<10, 6<<20, 12345)
	agent := s.agent("attic")
	seeder := s.seed(programs.TransmissionDaemon, "seeder", torrent)
	id := s.add(torrent, "attic").ID
	s.wait(id, "download", patience, seeding)
	s.ok(seeder.Stop())

	only, err := programs.MakeTorrent(s.Context(), programs.MakeConfig{
		Content: s.content("album"), File: filepath.Join(s.dir, "only.torrent"), Announce: []string{s.trackerOf(agent.Addr())}, PieceLength: 64 << 10,
	})
	s.ok(err)
	if only.InfoHash != torrent.InfoHash {
		t.Fatal("the second torrent has another info-hash")
	}
	for _, program := range []string{programs.QBittorrentNox, programs.TransmissionDaemon} {
		c := s.real(program, "leecher-"+program[:2])
		into := filepath.Join(s.dir, "into-"+program)
		s.ok(c.Leech(s.Context(), only.File, into))
		ctx, cancel := context.WithTimeout(s.Context(), patience)
		s.ok(c.WaitComplete(ctx))
		cancel()
		s.same(s.content("album"), filepath.Join(into, "album"))
		s.ok(c.Stop())
	}
	s.wait(id, "report uploads", patience, func(j apiclient.Job) bool { return j.Uploaded >= 2*j.Size })
}
