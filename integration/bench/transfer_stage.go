//go:build linux

package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"simplebit/integration/natlab"
	"simplebit/integration/programs"
)

// payload is a file of random bytes.
type payload struct {
	dir  string // that holds it alone
	size int64
	sum  [sha256.Size]byte
}

func (p payload) file() string { return filepath.Join(p.dir, payloadName) }

const payloadName = "payload.bin"

// makePayload writes a file of so many random bytes, the same every time.
func makePayload(dir string, size int64) (payload, error) {
	p := payload{dir: dir, size: size}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return p, err
	}
	f, err := os.Create(p.file())
	if err != nil {
		return p, err
	}
	sum := sha256.New()
	_, err = io.CopyN(io.MultiWriter(f, sum), rand.NewChaCha8([32]byte{'t', 'r', byte(size / mebibyte), byte(size / mebibyte >> 8)}), size)
	copy(p.sum[:], sum.Sum(nil))
	return p, errors.Join(err, f.Close())
}

// same fails unless the file holds the payload.
func (p payload) same(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return err
	}
	if [sha256.Size]byte(sum.Sum(nil)) != p.sum {
		return fmt.Errorf("the leecher's content is not the seeder's: %s", file)
	}
	return nil
}

// buildDrivers compiles the programs that only the benchmarks run.
func buildDrivers(ctx context.Context, bin string) error {
	for _, b := range []struct{ dir, packages string }{
		{"integration/bench/drivers", "./..."}, {"integration/bench/rain", "."},
	} {
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", bin+"/", b.packages)
		cmd.Dir, cmd.Env = b.dir, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s (from the repository's top): %w: %s", b.dir, err, out)
		}
	}
	return nil
}

// stage is the two hosts of one transfer, and the programs beside seeder and leecher: the tracker runs on the seeder's host, the surrogate
// on the leecher's. libtorrent binds to its interface and hears nobody on its own host.
type stage struct {
	*transferSetup
	payload
	dir             string
	lab             *natlab.Lab
	seeder, leecher *natlab.Host
	tracker         *programs.Tracker
	torrent         programs.Torrent
	home            *programs.Surrogate // nil until an agent needs it
}

// newStage makes two hosts with a cable. Its lab is to be closed.
func (s *transferSetup) newStage(dir string, p payload) (*stage, error) {
	lab, err := natlab.New(natlab.Config{Name: "bench"})
	if err != nil {
		return nil, err
	}
	st, err := s.hosts(lab, dir, p)
	if err == nil {
		err = lab.Direct(st.seeder, st.leecher)
	}
	if err != nil {
		return nil, errors.Join(err, lab.Close())
	}
	return st, nil
}

// hosts puts a stage into a lab: two hosts with the core between them.
func (s *transferSetup) hosts(lab *natlab.Lab, dir string, p payload) (*stage, error) {
	seeder, errSeeder := lab.Host("seeder")
	leecher, errLeecher := lab.Host("leecher")
	return &stage{transferSetup: s, payload: p, dir: dir, lab: lab, seeder: seeder, leecher: leecher}, errors.Join(errSeeder, errLeecher)
}

// path is a folder of the stage.
func (st *stage) path(name string) string { return filepath.Join(st.dir, name) }

// track starts a tracker that knows nobody, and makes the payload's torrent.
func (st *stage) track(ctx context.Context) (err error) {
	if st.tracker, err = programs.StartTracker(ctx, programs.TrackerConfig{Host: st.seeder, Dir: st.path("t")}); err != nil {
		return err
	}
	if st.torrent, err = programs.MakeTorrent(ctx, programs.MakeConfig{
		Content: st.file(), File: st.path("payload.torrent"), Announce: []string{st.tracker.URL()}, PieceLength: pieceLength,
	}); err != nil {
		return err
	}
	return st.tracker.Allow(ctx, st.torrent.InfoHash)
}

// seedByLibtorrent starts the usual seeder on a host, with one transport, and returns when it has announced itself.
func (st *stage) seedByLibtorrent(ctx context.Context, host *natlab.Host, transport string) (*programs.Driver, error) {
	d, err := programs.StartLibtorrent(ctx, programs.LibtorrentConfig{
		Config: programs.Config{Host: host, Dir: st.path("seed")}, Torrent: st.torrent.File, Content: st.payload.dir, Transport: transport,
	})
	if err != nil {
		return nil, err
	}
	if _, err := d.Await(ctx, programs.Complete); err != nil {
		return nil, err
	}
	return d, st.tracker.Await(ctx, st.torrent.InfoHash, 1, 0)
}

// agent starts one of ours with a transport, joined to the stage's surrogate.
func (st *stage) agent(ctx context.Context, host *natlab.Host, transport string) (*agent, error) {
	if st.home == nil {
		var err error
		if st.home, err = programs.StartSurrogate(ctx, programs.OursConfig{Host: st.leecher, Bin: st.bin, Dir: st.path("s")}); err != nil {
			return nil, err
		}
	}
	a, err := programs.StartAgent(ctx, programs.OursConfig{
		Host: host, Bin: st.bin, Dir: st.path(host.Name()), Home: st.home, Args: []string{"--transport", transport},
	})
	return &agent{Agent: a, home: st.home, device: host.Name()}, err
}

// seedByAgent starts one of ours as the seeder, with both transports. It gets the payload from libtorrent, which is gone afterwards.
func (st *stage) seedByAgent(ctx context.Context) (*agent, error) {
	if err := st.track(ctx); err != nil {
		return nil, err
	}
	first, err := st.seedByLibtorrent(ctx, st.leecher, tcp)
	if err != nil {
		return nil, err
	}
	seeder, err := st.agent(ctx, st.seeder, "both")
	if err != nil {
		return nil, err
	}
	if err := seeder.Leech(ctx, st.torrent.File, ""); err != nil {
		return nil, err
	}
	if err := seeder.complete(ctx); err != nil {
		return nil, err
	}
	return seeder, first.Kill()
}

// complete waits until the agent's job has everything.
func (a *agent) complete(ctx context.Context) error {
	for {
		s, err := a.Status(ctx)
		if err == nil && s.Complete() {
			return nil
		}
		select {
		case <-ctx.Done():
			return a.explain(context.Cause(ctx))
		case <-time.After(100 * time.Millisecond):
		}
	}
}
