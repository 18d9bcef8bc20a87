//go:build linux

package programs_test

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"simplebit/integration/natlab"
	"simplebit/integration/programs"
)

func TestMain(m *testing.M) {
	natlab.Enter()
	// The tests wait for programs most of the time: processors do not limit how many can run at once.
	flag.Parse()
	flag.Set("test.parallel", "8")
	os.Exit(m.Run())
}

func TestRealClientsSeedToEachOther(t *testing.T) {
	for _, c := range []struct {
		seeder   string
		leechers []string
	}{
		{programs.TransmissionDaemon, []string{programs.Aria2c}},
		{programs.QBittorrentNox, []string{programs.Aria2c, programs.TransmissionDaemon}},
		{programs.Aria2c, []string{programs.TransmissionDaemon, programs.RTorrent}},
		{programs.RTorrent, []string{programs.TransmissionDaemon, programs.QBittorrentNox}},
	} {
		t.Run(c.seeder, func(t *testing.T) {
			programs.Require(t, append(c.leechers, c.seeder, programs.Opentracker, programs.Mktorrent)...)
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			s := newSwarm(t)
			seeder, _ := s.start(t, c.seeder, "attic")
			if err := seeder.Seed(ctx, s.torrent.File, s.dir); err != nil {
				t.Fatal(err)
			}
			if err := s.tracker.Await(ctx, s.torrent.InfoHash, 1, 0); err != nil {
				t.Fatal(err)
			}
			for i, program := range c.leechers {
				s.leech(ctx, t, program, fmt.Sprintf("leech%d", i))
			}
			// Not all of them tell at once what they have sent.
			for {
				status, err := seeder.Status(ctx)
				if err == nil && status.Error == "" && status.Uploaded >= int64(len(c.leechers))*s.torrent.Length {
					break
				}
				select {
				case <-ctx.Done():
					t.Fatalf("%s has %v (%v), want %d bytes uploaded to each leecher and no error", c.seeder, status, err, s.torrent.Length)
				case <-time.After(100 * time.Millisecond):
				}
			}
		})
	}
}

func TestTrackerRefusesTorrentsThatAreNotAllowed(t *testing.T) {
	programs.Require(t, programs.TransmissionDaemon, programs.Opentracker, programs.Mktorrent)
	t.Parallel()
	s := newSwarm(t)
	other, err := programs.MakeTorrent(t.Context(), programs.MakeConfig{
		Content: filepath.Join(s.dir, "album", "large.bin"), File: filepath.Join(s.dir, "other.torrent"), Announce: []string{s.tracker.URL()},
	})
	if err != nil {
		t.Fatal(err)
	}
	if other.Files != 1 || other.Length != 5<<20 || other.Pieces != 20 || other.Name != "large.bin" {
		t.Errorf("made %+v, want one file of 5 MiB in 20 pieces", other)
	}
	if got, want := other.Magnet(s.tracker.URL()), fmt.Sprintf("magnet:?xt=urn:btih:%x&dn=large.bin&tr=http%%3A%%2F%%2F198.18.1.2%%3A6969%%2Fannounce", other.InfoHash); got != want {
		t.Errorf("magnet %s, want %s", got, want)
	}
	c, _ := s.start(t, programs.TransmissionDaemon, "attic")
	if err := c.Leech(t.Context(), other.File, filepath.Join(s.dir, "got")); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		status, err := c.Status(t.Context())
		if err == nil && strings.Contains(status.Error, "not authorized") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the client has %v (%v), want the tracker's refusal", status, err)
		}
	}
	if seeders, leechers, err := s.tracker.Swarm(t.Context(), other.InfoHash); seeders+leechers != 0 || err != nil {
		t.Errorf("swarm of %d and %d (%v), want none", seeders, leechers, err)
	}
	if err := s.tracker.Allow(t.Context(), other.InfoHash); err != nil {
		t.Errorf("allow a second torrent: %v", err)
	}
}

func TestWrongContentIsNotSeeded(t *testing.T) {
	for program := range starters {
		t.Run(program, func(t *testing.T) {
			programs.Require(t, program, programs.Opentracker, programs.Mktorrent)
			t.Parallel()
			s := newSwarm(t)
			c, _ := s.start(t, program, "attic")
			damaged, err := os.OpenFile(filepath.Join(s.dir, "album", "large.bin"), os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			damaged.WriteAt([]byte("damage"), 3<<20)
			damaged.Close()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			err = c.Seed(ctx, s.torrent.File, s.dir)
			if err == nil || !strings.Contains(err.Error(), "the content is not the torrent's") {
				t.Errorf("seeding damaged content: %v, want an error that says so", err)
			}
		})
	}
}

func TestClientsListenWhereTheyAreTold(t *testing.T) {
	for program := range starters {
		t.Run(program, func(t *testing.T) {
			programs.Require(t, program, programs.Opentracker, programs.Mktorrent)
			t.Parallel()
			s := newSwarm(t)
			for _, config := range []programs.Config{
				{Dir: filepath.Join(s.dir, "plain")},
				{Dir: filepath.Join(s.dir, "full"), Port: 7777, DHT: true, PEX: true, UTP: true},
			} {
				c, h := startOn(t, s.lab, program, filepath.Base(config.Dir), config)
				// aria2 listens when it has a torrent.
				if err := c.Leech(t.Context(), s.torrent.File, config.Dir); err != nil {
					t.Fatal(err)
				}
				if !listens(t, h, "tcp", cmp.Or(config.Port, 51413)) {
					t.Errorf("%+v: nothing listens on TCP", config)
				}
				if config.DHT && !listens(t, h, "udp", config.Port) {
					t.Errorf("%+v: nothing listens on UDP", config)
				}
			}
		})
	}
}

func TestKilledClientEndsWaitingWithItsLog(t *testing.T) {
	programs.Require(t, programs.Aria2c, programs.Opentracker, programs.Mktorrent)
	t.Parallel()
	s := newSwarm(t)
	c, _ := s.start(t, programs.Aria2c, "attic")
	if err := c.Leech(t.Context(), s.torrent.File, filepath.Join(s.dir, "got")); err != nil {
		t.Fatal(err)
	}
	waited := make(chan error, 1)
	go func() { waited <- c.WaitComplete(t.Context()) }()
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-waited:
		for _, want := range []string{"aria2c on attic", "signal: killed", "RPC: listening on TCP port 6800"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("WaitComplete: %v, want it to say %q", err, want)
			}
		}
	case <-time.After(patience):
		t.Error("WaitComplete did not notice that the client was killed")
	}
	if err := c.Stop(); err != nil {
		t.Errorf("stopping a client that was killed: %v", err)
	}
}

func TestMissingProgramsAreNamedWithTheirPackages(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := programs.Missing(programs.Aria2c, programs.Mktorrent)
	if want := "programs: aria2c, mktorrent not found: apt install aria2 mktorrent"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if err := programs.Missing(); err != nil {
		t.Errorf("nothing is missing, but: %v", err)
	}
}

func TestBadConfigurationsAreErrors(t *testing.T) {
	programs.Require(t, programs.Mktorrent)
	dir := t.TempDir()
	if _, err := programs.StartAria2(t.Context(), programs.Config{Dir: dir}); err == nil {
		t.Error("a client without a host was accepted")
	}
	if _, err := programs.StartTracker(t.Context(), programs.TrackerConfig{Dir: dir}); err == nil {
		t.Error("a tracker without a host was accepted")
	}
	for _, c := range []programs.MakeConfig{
		{Content: filepath.Join(dir, "none"), File: filepath.Join(dir, "a.torrent"), Announce: []string{"http://198.18.0.1/announce"}},
		{Content: dir, File: filepath.Join(dir, "none", "b.torrent")},
		{Content: dir, File: filepath.Join(dir, "c.torrent"), Announce: []string{"http://198.18.0.1/announce"}, PieceLength: 100_000},
	} {
		if got, err := programs.MakeTorrent(t.Context(), c); err == nil {
			t.Errorf("%+v was made of %+v", got, c)
		}
	}
}

func TestClientsTellTheirVersions(t *testing.T) {
	for program := range starters {
		programs.Require(t, program)
		if v, err := programs.Version(t.Context(), program); err != nil || !strings.Contains(v, ".") {
			t.Errorf("%s: version %q (%v)", program, v, err)
		}
	}
}
