//go:build linux

package programs_test

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"simplebit/integration/natlab"
	"simplebit/integration/programs"
)

func TestClientsThatNobodyAsksSayWhenTheyAreComplete(t *testing.T) {
	type leech func(ctx context.Context, c programs.SingleConfig) (*programs.Driver, error)
	libtorrent := func(transport, encryption string) leech {
		return func(ctx context.Context, c programs.SingleConfig) (*programs.Driver, error) {
			return programs.StartLibtorrent(ctx, programs.LibtorrentConfig{
				Config: c.Config, Torrent: c.Torrent, Content: c.Downloads, Transport: transport, Encryption: encryption,
			})
		}
	}
	for _, c := range []struct {
		name  string
		seeds string // libtorrent's transport
		leech leech
	}{
		{"libtorrent over TCP", "tcp", libtorrent("tcp", "")},
		{"libtorrent over uTP, encrypted", "utp", libtorrent("utp", "forced")},
		{"aria2", "tcp", programs.StartAria2Single},
		{"transmission-cli", "both", programs.StartTransmissionSingle},
	} {
		t.Run(c.name, func(t *testing.T) {
			programs.Require(t, programs.Opentracker, programs.Mktorrent, programs.Aria2c, programs.TransmissionCLI)
			if _, err := programs.LibtorrentVersion(t.Context()); err != nil {
				t.Fatal(err)
			}
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			s := newSwarm(t)
			hosts := map[string]*natlab.Host{}
			for _, name := range []string{"attic", "cellar"} {
				h, err := s.lab.Host(name)
				if err != nil {
					t.Fatal(err)
				}
				hosts[name] = h
			}
			seeder, err := programs.StartLibtorrent(ctx, programs.LibtorrentConfig{
				Config:  programs.Config{Host: hosts["attic"], Dir: filepath.Join(s.dir, "attic")},
				Torrent: s.torrent.File, Content: s.dir, Transport: c.seeds,
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := seeder.Await(ctx, programs.Complete); err != nil {
				t.Fatal(err)
			}
			if err := s.tracker.Await(ctx, s.torrent.InfoHash, 1, 0); err != nil {
				t.Fatal(err)
			}
			downloads := filepath.Join(s.dir, "cellar", "got")
			began := time.Now()
			leecher, err := c.leech(ctx, programs.SingleConfig{
				Config:  programs.Config{Host: hosts["cellar"], Dir: filepath.Join(s.dir, "cellar")},
				Torrent: s.torrent.File, Downloads: downloads,
			})
			if err != nil {
				t.Fatal(err)
			}
			at, err := leecher.Await(ctx, programs.Complete)
			if err != nil {
				t.Fatal(err)
			}
			if at.Before(began) || at.After(time.Now()) {
				t.Errorf("it was complete at %v, but started at %v", at, began)
			}
			if use, err := leecher.Usage(); err != nil || use.PeakRSS < 1<<20 {
				t.Errorf("it used %+v, %v", use, err)
			}
			if err := leecher.Stop(); err != nil {
				t.Error(err)
			}
			want, got := contents(t, filepath.Join(s.dir, "album")), contents(t, filepath.Join(downloads, "album"))
			if strings.HasPrefix(c.name, "transmission") {
				delete(want, emptyFile)
			}
			if !maps.Equal(got, want) {
				t.Errorf("it has %v, want %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
			}
		})
	}
}

func TestADriverThatEndsIsNotWaitedFor(t *testing.T) {
	natlab.Require(t)
	h, err := newLab(t).Host("attic")
	if err != nil {
		t.Fatal(err)
	}
	d, err := programs.StartDriver(t.Context(), programs.DriverConfig{Host: h, Dir: t.TempDir(), Program: "sh", Args: []string{"-c", "echo it is tired; exit 3"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Await(t.Context(), programs.Complete); err == nil || !strings.Contains(err.Error(), "it is tired") {
		t.Errorf("waiting for a program that has ended: %v", err)
	}
}
