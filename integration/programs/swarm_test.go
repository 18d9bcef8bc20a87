//go:build linux

package programs_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"simplebit/integration/natlab"
	"simplebit/integration/programs"
)

// patience is how long a test waits for what must happen, on a machine that has other things to do.
const patience = 2 * time.Minute

// client is what the four clients have in common.
type client interface {
	Seed(ctx context.Context, torrentFile, contentDir string) error
	Leech(ctx context.Context, torrentFile, downloadDir string) error
	Status(ctx context.Context) (programs.Status, error)
	WaitComplete(ctx context.Context) error
	Stop() error
	Kill() error
}

// starters start a client by the name of its program.
var starters = map[string]func(context.Context, programs.Config) (client, error){
	programs.TransmissionDaemon: func(ctx context.Context, c programs.Config) (client, error) {
		return programs.StartTransmission(ctx, c)
	},
	programs.QBittorrentNox: func(ctx context.Context, c programs.Config) (client, error) {
		return programs.StartQBittorrent(ctx, c)
	},
	programs.Aria2c: func(ctx context.Context, c programs.Config) (client, error) {
		return programs.StartAria2(ctx, c)
	},
	programs.RTorrent: func(ctx context.Context, c programs.Config) (client, error) {
		return programs.StartRtorrent(ctx, c)
	},
}

// emptyFile is the name of a file that Transmission does not make.
const emptyFile = "a/b/0.bin"

// writeContent makes a folder of 8 MiB in files of many lengths, some of them smaller than a piece, one empty.
func writeContent(t *testing.T, dir string) {
	t.Helper()
	random := rand.NewChaCha8([32]byte{1})
	lengths := map[string]int{
		"a/one byte": 1, emptyFile: 0, "a/b/16k.bin": 16 << 10, "a/prime.bin": 1_048_573, "large.bin": 5 << 20, "ünï cödé.txt": 12345,
	}
	rest := 8 << 20
	for _, n := range lengths {
		rest -= n
	}
	lengths["rest.bin"] = rest
	for _, name := range slices.Sorted(maps.Keys(lengths)) {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, lengths[name])
		random.Read(b)
		if err := os.WriteFile(file, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// contents returns the hashes of all files in a folder by their names.
func contents(t *testing.T, dir string) map[string][32]byte {
	t.Helper()
	sums := make(map[string][32]byte)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		sums[rel] = sha256.Sum256(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sums
}

// swarm is a lab with a tracker and a torrent that it allows.
type swarm struct {
	lab     *natlab.Lab
	tracker *programs.Tracker
	torrent programs.Torrent
	dir     string // holds the content in album
}

func newLab(t *testing.T) *natlab.Lab {
	t.Helper()
	lab, err := natlab.New(natlab.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
	})
	return lab
}

func newSwarm(t *testing.T) swarm {
	t.Helper()
	s := swarm{lab: newLab(t), dir: t.TempDir()}
	hub, err := s.lab.Host("hub")
	if err != nil {
		t.Fatal(err)
	}
	if s.tracker, err = programs.StartTracker(t.Context(), programs.TrackerConfig{Host: hub, Dir: filepath.Join(s.dir, "tracker")}); err != nil {
		t.Fatal(err)
	}
	writeContent(t, filepath.Join(s.dir, "album"))
	s.torrent, err = programs.MakeTorrent(t.Context(), programs.MakeConfig{
		Content: filepath.Join(s.dir, "album"), File: filepath.Join(s.dir, "album.torrent"), Announce: []string{s.tracker.URL()}, PieceLength: 64 << 10,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.tracker.Allow(t.Context(), s.torrent.InfoHash); err != nil {
		t.Fatal(err)
	}
	return s
}

// start starts a client on a host of its own.
func (s swarm) start(t *testing.T, program, host string) (client, *natlab.Host) {
	t.Helper()
	return startOn(t, s.lab, program, host, programs.Config{Dir: filepath.Join(s.dir, host)})
}

func startOn(t *testing.T, lab *natlab.Lab, program, host string, config programs.Config) (client, *natlab.Host) {
	t.Helper()
	h, err := lab.Host(host)
	if err != nil {
		t.Fatal(err)
	}
	config.Host = h
	c, err := starters[program](t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	return c, h
}

// leech downloads the torrent with a client that has its own host, from whoever is there, and stops it again.
func (s swarm) leech(ctx context.Context, t *testing.T, program, name string) {
	t.Helper()
	began := time.Now()
	leecher, host := s.start(t, program, name)
	downloads := filepath.Join(s.dir, name, "got")
	if err := leecher.Leech(ctx, s.torrent.File, downloads); err != nil {
		t.Fatal(err)
	}
	if err := leecher.WaitComplete(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s was complete after %v", program, time.Since(began).Round(time.Millisecond))
	// It may have to write what it buffers.
	if err := leecher.Stop(); err != nil {
		t.Error(err)
	}
	want, got := contents(t, filepath.Join(s.dir, "album")), contents(t, filepath.Join(downloads, "album"))
	if program == programs.TransmissionDaemon {
		delete(want, emptyFile)
	}
	if !maps.Equal(got, want) {
		t.Errorf("%s has %v, want %v", program, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
	if count, err := host.Counters(); err != nil || count.RxBytes < s.torrent.Length {
		t.Errorf("%s received %d bytes over its link (%v), want at least %d", program, count.RxBytes, err, s.torrent.Length)
	}
}

// listens reports whether a host gets a socket on the port.
func listens(t *testing.T, h *natlab.Host, network string, port uint16) bool {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		var table []byte
		err := h.Do(func() error {
			v4, err4 := os.ReadFile("/proc/thread-self/net/" + network)
			v6, err6 := os.ReadFile("/proc/thread-self/net/" + network + "6")
			table = append(v4, v6...)
			return errors.Join(err4, err6)
		})
		if err != nil {
			t.Fatal(err)
		}
		// Local addresses are hexadecimal and come before the remote ones, whose port is 0.
		if regexp.MustCompile(fmt.Sprintf(`:%04X [0-9A-F]+:0000 `, port)).Match(table) {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
	}
}
