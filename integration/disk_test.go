//go:build linux

package integration

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"simplebit/integration/natlab"
	"simplebit/integration/programs"
	"simplebit/rendezvous/apiclient"
)

// unfinished lists what lies in a folder: complete files, and those with the suffix .part.
func unfinished(t *testing.T, dir string) (complete, parts []string) {
	t.Helper()
	for name := range sums(t, dir) {
		if strings.HasSuffix(name, ".part") {
			parts = append(parts, name)
		} else {
			complete = append(complete, name)
		}
	}
	return complete, parts
}

// slowly seeds the content of a torrent with so many bytes per second, from the host that is returned.
func (s *scene) slowly(host string, t programs.Torrent, rate int64) *natlab.Host {
	s.Helper()
	h := s.host(host)
	s.ok(h.Shape(0, rate))
	c, err := programs.StartRtorrent(s.Context(), programs.Config{Host: h, Dir: filepath.Join(s.dir, host)})
	s.ok(err)
	s.ok(c.Seed(s.Context(), t.File, filepath.Join(s.dir, "content")))
	s.ok(s.tracker.Await(s.Context(), t.InfoHash, 1, 0))
	return h
}

func TestAPausedJobStandsStillAndItsFilesArePartsUntilComplete(t *testing.T) {
	t.Parallel()
	s := newScene(t, programs.RTorrent)
	attic := s.agent("attic")
	torrent := s.torrent("album", 32<<10, 3<<20, 10, 2<<20, 0, 1<<20)
	const slow = 400_000 // what is missing has to last until the job is paused
	seeder := s.slowly("seeder", torrent, slow)

	id := s.addBy(torrent.File, "attic").ID
	s.wait(id, "get some", patience, func(j apiclient.Job) bool { return j.Have > j.Size/5 })
	j := s.show(id)
	s.says(s.simplebit("pause", id), "paused")
	s.simplebit("pause", id)
	s.until("the agent stands still", patience, func() bool {
		st, err := attic.Status()
		s.ok(err)
		return st.Torrents[0].State == "paused" && st.Torrents[0].Peers == 0
	})
	s.until("the job has the agent's last report", patience, func() bool {
		st, err := attic.Status()
		s.ok(err)
		j = s.show(id)
		return len(j.Peers) == 0 && j.Have == st.Torrents[0].Have
	})
	if j.State != apiclient.StatePaused || j.Message != "paused" || j.Error != "" || j.Have == 0 {
		t.Errorf("the paused job is %+v", j)
	}
	complete, parts := unfinished(t, attic.Downloads())
	if len(parts) == 0 {
		t.Errorf("while it is incomplete there are no parts, but %q", complete)
	}
	want := sums(t, filepath.Join(s.dir, "content"))
	for name, sum := range sums(t, attic.Downloads()) {
		if !strings.HasSuffix(name, ".part") && sum != want[name] {
			t.Errorf("%s has its final name and is not complete", name)
		}
	}
	before, err := s.surrogate.API().Job(t.Context(), id)
	s.ok(err)
	s.ok(attic.Kill())
	s.ok(attic.Restart(t.Context()))
	if j = s.show(id); j.State != apiclient.StatePaused || j.Downloaded != before.Downloaded {
		t.Errorf("after the agent's restart the paused job is %+v", j)
	}
	s.ok(seeder.Shape(0, 0))
	s.simplebit("resume", id)
	s.wait(id, "download", patience, seeding)
	s.same(s.content("album"), filepath.Join(attic.Downloads(), "album"))

	// Paused when complete, and removed while incomplete.
	s.simplebit("pause", id)
	s.simplebit("rm", "--data", id)
	s.until("all is gone", patience, func() bool { return gone(attic.Downloads()) })
	s.ok(seeder.Shape(0, slow))
	s.simplebit("add", torrent.File, "--to", "attic")
	s.until("some is there again", patience, func() bool { return s.show("album").Have > 0 })
	s.simplebit("rm", "album", "--data")
	s.until("the parts are gone too", patience, func() bool { return gone(attic.Downloads()) })
	s.until("the job is gone", patience, func() bool { return s.simplebit("ls", "--json") == "[]\n" })
}

// gone reports whether a folder is empty.
func gone(dir string) bool {
	left, err := os.ReadDir(dir)
	return err == nil && len(left) == 0
}

func TestVerifyFindsDamageAndFetchesOnlyThat(t *testing.T) {
	t.Parallel()
	s := newScene(t, programs.RTorrent)
	attic := s.agent("attic")
	const piece = 64 << 10
	torrent := s.torrent("album", piece, 2<<20, 100, 1<<20, 3<<20)
	s.seed(programs.RTorrent, "seeder", torrent)
	id := s.addBy(torrent.File, "attic").ID
	before := s.wait(id, "download", patience, seeding)
	mine := filepath.Join(attic.Downloads(), "album")

	victim := filepath.Join(mine, "folder 0", "file 0")
	f, err := os.OpenFile(victim, os.O_RDWR, 0)
	s.ok(err)
	b := make([]byte, 3)
	_, err = f.ReadAt(b, 1<<20)
	s.ok(err)
	for i := range b {
		b[i] ^= 0x55
	}
	_, err = f.WriteAt(b, 1<<20)
	s.ok(err)
	s.ok(f.Close())
	s.simplebit("verify", id)
	after := s.wait(id, "repair the damage", patience, func(j apiclient.Job) bool { return seeding(j) && j.Downloaded > before.Downloaded })
	s.same(s.content("album"), mine)
	if n := after.Downloaded - before.Downloaded; n != piece {
		t.Errorf("%d bytes were fetched for one bad piece of %d", n, piece)
	}

	// Cut short, gone, and longer than it should be.
	before = after
	s.ok(os.Truncate(victim, 2<<20-5))
	s.ok(os.Remove(filepath.Join(mine, "folder 1", "file 1")))
	f, err = os.OpenFile(filepath.Join(mine, "folder 2", "file 2"), os.O_APPEND|os.O_WRONLY, 0)
	s.ok(err)
	_, err = f.WriteString("more")
	s.ok(err)
	s.ok(f.Close())
	s.simplebit("verify", id)
	after = s.wait(id, "repair the damage", patience, func(j apiclient.Job) bool { return seeding(j) && j.Downloaded > before.Downloaded })
	s.same(s.content("album"), mine)
	if n := after.Downloaded - before.Downloaded; n > 3*piece {
		t.Errorf("%d bytes were fetched for damage to three pieces of %d", n, piece)
	}
}

func TestRemovedJobsLeaveTheFilesUnlessTheDataIsToGo(t *testing.T) {
	t.Parallel()
	s := newScene(t, programs.RTorrent)
	attic := s.agent("attic")
	torrent := s.torrent("album", 64<<10, 1<<20, 100, 0, 1<<20)
	s.seed(programs.RTorrent, "seeder", torrent)
	mine := filepath.Join(attic.Downloads(), "album")
	id := s.addBy(torrent.File, "attic").ID
	s.wait(id, "download", patience, seeding)

	s.says(s.refusal(s.surrogate.Simplebit(t.Context(), "add", torrent.File, "--to", "attic")), "has this torrent already", id)
	held := func() int {
		st, err := attic.Status()
		s.ok(err)
		return len(st.Torrents)
	}
	s.says(s.simplebit("rm", id), "removed", "its files stay on device:attic")
	s.until("the agent lets go", patience, func() bool { return held() == 0 })
	s.same(s.content("album"), mine)
	s.until("the job is gone", patience, func() bool { return s.simplebit("ls", "--json") == "[]\n" })
	s.says(s.refusal(s.surrogate.Simplebit(t.Context(), "show", id)), "there is no job", id)

	// What is there already is found, not fetched.
	id = s.addBy(torrent.File, "attic").ID
	if j := s.wait(id, "find its files", patience, seeding); j.Downloaded != 0 {
		t.Errorf("%d bytes were fetched of what was there", j.Downloaded)
	}
	foreign := filepath.Join(mine, "folder 1", "my notes")
	s.ok(os.WriteFile(foreign, []byte("keep this"), 0o644))

	// The device is away when the job is removed: it deletes when it comes back.
	s.ok(attic.Stop())
	s.untilOnline("attic", false)
	s.says(s.simplebit("rm", "--data", id), "device:attic deletes its files")
	if j := s.show(id); j.State != apiclient.StateRemoving || !strings.Contains(j.Message, "waiting for device attic to come online") {
		t.Errorf("the job is %+v", j)
	}
	s.ok(attic.Restart(t.Context()))
	s.until("the job is gone", patience, func() bool { return s.simplebit("ls", "--json") == "[]\n" })
	left := sums(t, attic.Downloads())
	if _, ok := left["album/folder 1/my notes"]; !ok || len(left) != 1 {
		t.Errorf("left: %v", left)
	}
	if folders, err := os.ReadDir(mine); err != nil || len(folders) != 1 {
		t.Errorf("left in %s: %v (%v)", mine, folders, err)
	}
}

// TestAFullDiskPausesTheJobUntilThereIsRoom has a download folder of 4 MiB, and
// later one of 32 MiB.
func TestAFullDiskPausesTheJobUntilThereIsRoom(t *testing.T) {
	t.Parallel()
	s := newScene(t, programs.RTorrent)
	attic := s.newAgent("attic")
	disk := attic.Downloads()
	s.ok(os.Mkdir(disk, 0o755))
	s.ok(unix.Mount("tmpfs", disk, "tmpfs", 0, "size=4m"))
	t.Cleanup(func() { unix.Unmount(disk, unix.MNT_DETACH) })
	s.ok(attic.Join(t.Context(), s.invite()))
	s.ok(attic.Restart(t.Context()))
	torrent := s.torrent("album", 64<<10, 3<<20, 5<<20, 1000)
	s.seed(programs.RTorrent, "seeder", torrent)

	out, err := s.surrogate.Simplebit(t.Context(), "add", torrent.File, "--to", "attic", "--watch")
	s.ok(err)
	lines := strings.Split(strings.TrimSpace(out.Stderr), "\n")
	why := regexp.MustCompile(`^simplebit: job (\w{8}) is paused: .*disk full: \w+ ` + regexp.QuoteMeta(disk) + `/album/folder \d/file \d(\.part)?: \d+ bytes free in ` + regexp.QuoteMeta(disk) + `; free some space and resume$`)
	said := why.FindStringSubmatch(lines[len(lines)-1])
	if out.ExitCode != 1 || said == nil {
		t.Fatalf("exit status %d, stderr %q, want %v", out.ExitCode, out.Stderr, why)
	}
	id := said[1]
	j := s.show(id)
	if j.State != apiclient.StatePaused || !strings.Contains(j.Error, "disk full") || !strings.Contains(j.Message, "paused by an error: ") || !j.TargetOnline || j.Have == 0 {
		t.Errorf("the job is %+v", j)
	}
	s.says(s.simplebit("show", id), "error", "bytes free in "+disk)
	s.ok(s.surrogate.Kill())
	s.ok(s.surrogate.Restart(t.Context()))
	if again := s.show(id); again.State != apiclient.StatePaused || again.Error != j.Error {
		t.Errorf("after a restart the job is %+v", again)
	}

	s.ok(unix.Mount("", disk, "", unix.MS_REMOUNT, "size=32m"))
	s.ok(attic.Kill())
	s.ok(attic.Restart(t.Context()))
	s.simplebit("resume", id)
	after := s.wait(id, "download", patience, seeding)
	s.same(s.content("album"), filepath.Join(disk, "album"))
	if after.Error != "" {
		t.Errorf("the error stays: %s", after.Error)
	}
	if fetched, missing := after.Downloaded-j.Downloaded, j.Size-j.Have; fetched != missing {
		t.Errorf("%d bytes were missing, %d were fetched then", missing, fetched)
	}
}
