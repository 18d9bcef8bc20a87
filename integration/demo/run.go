//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/anacrolix/torrent/bencode"
	"github.com/anacrolix/torrent/metainfo"

	"simplebit/integration/natlab"
	"simplebit/integration/programs"
	"simplebit/rendezvous/apiclient"
)

// device is the agent's name.
const device = "attic"

// stage is what is running.
type stage struct {
	dir       string
	tracker   *programs.Tracker
	seeder    *programs.Transmission
	surrogate *programs.Surrogate
	agent     *programs.Agent
	home      *natlab.Host // the agent's
	public    *natlab.Host // the surrogate's
	content   string       // the folder that is shared
	magnet    string
	files     int
	bytes     int64
}

// run plays the demo and cleans up after itself.
func run(ctx context.Context, bin string) error {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "sbdemo")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	lab, err := natlab.New(natlab.Config{Name: "demo"})
	if err != nil {
		return err
	}
	defer lab.Close()
	goroot, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("go env GOROOT: %w", err)
	}
	s := &stage{dir: dir, content: filepath.Join(strings.TrimSpace(string(goroot)), "src")}
	if err := s.set(ctx, lab, bin); err != nil {
		return err
	}
	return s.play(ctx, bin)
}

// set starts everybody and tells where they are.
func (s *stage) set(ctx context.Context, lab *natlab.Lab, bin string) (err error) {
	hosts := map[string]*natlab.Host{}
	for _, name := range []string{"tracker", "seeder", "surrogate", device} {
		if hosts[name], err = lab.Host(name); err != nil {
			return err
		}
	}
	s.home, s.public = hosts[device], hosts["surrogate"]
	fmt.Println("In network namespaces of their own, each on a network behind one router:")
	if s.tracker, err = programs.StartTracker(ctx, programs.TrackerConfig{Host: hosts["tracker"], Dir: filepath.Join(s.dir, "t")}); err != nil {
		return err
	}
	row("tracker", "opentracker", hosts["tracker"], "")
	if s.seeder, err = programs.StartTransmission(ctx, programs.Config{Host: hosts["seeder"], Dir: filepath.Join(s.dir, "seeder")}); err != nil {
		return err
	}
	torrent, err := s.share(ctx)
	if err != nil {
		return err
	}
	if err := s.seeder.Seed(ctx, torrent, filepath.Dir(s.content)); err != nil {
		return err
	}
	row("seeder", "Transmission 3.00", hosts["seeder"], fmt.Sprintf("%s: %d files, %.1f MiB", s.content, s.files, mib(s.bytes)))
	if s.surrogate, err = programs.StartSurrogate(ctx, programs.OursConfig{Host: s.public, Bin: bin, Dir: filepath.Join(s.dir, "s")}); err != nil {
		return err
	}
	row("surrogate", "rendezvous", s.public, "")
	s.agent, err = programs.StartAgent(ctx, programs.OursConfig{Host: s.home, Bin: bin, Dir: filepath.Join(s.dir, "a"), Home: s.surrogate})
	if err != nil {
		return err
	}
	row("agent", "edgeagent", s.home, "joined by invite as "+device)
	return nil
}

func row(role, program string, h *natlab.Host, note string) {
	fmt.Printf("  %-10s %-18s %-12s %s\n", role, program, h.Addr(), note)
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

// share makes the torrent and has the tracker allow it.
func (s *stage) share(ctx context.Context) (file string, err error) {
	info := metainfo.Info{PieceLength: 256 << 10}
	if err := info.BuildFromFilePath(s.content); err != nil {
		return "", err
	}
	s.files, s.bytes = len(info.Files), info.TotalLength()
	mi := metainfo.MetaInfo{Announce: s.tracker.URL()}
	if mi.InfoBytes, err = bencode.Marshal(info); err != nil {
		return "", err
	}
	hash := mi.HashInfoBytes()
	s.magnet = programs.Torrent{Name: info.Name, InfoHash: hash}.Magnet(s.tracker.URL())
	var b bytes.Buffer
	if err := mi.Write(&b); err != nil {
		return "", err
	}
	file = filepath.Join(s.dir, "src.torrent")
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		return "", err
	}
	return file, s.tracker.Allow(ctx, hash)
}

// play adds the magnet as a person would, and compares what came.
func (s *stage) play(ctx context.Context, bin string) error {
	if err := s.tracker.Await(ctx, s.hash(), 1, 0); err != nil {
		return err
	}
	fmt.Printf("\n$ simplebit add '%s' --to device:%s --watch\n", s.magnet, device)
	cmd := s.public.Command(ctx, filepath.Join(bin, "simplebit"), "add", s.magnet, "--to", "device:"+device, "--watch")
	cmd.Env = append(os.Environ(), "SIMPLEBIT_TOKEN_FILE="+s.surrogate.TokenFile())
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	watching, stop := context.WithCancel(ctx)
	noted := make(chan timeline, 1)
	go func() { noted <- watch(watching, s.surrogate.API()) }()
	err := cmd.Run()
	stop()
	if err != nil {
		return fmt.Errorf("simplebit add: %w", err)
	}
	(<-noted).print(s.bytes)
	if err := s.compare(); err != nil {
		return err
	}
	fmt.Printf("%d files compared byte by byte: all identical\n", s.files)
	return s.summary(ctx)
}

func (s *stage) hash() [20]byte {
	m, err := metainfo.ParseMagnetUri(s.magnet)
	if err != nil {
		panic(err) // it is our own
	}
	return m.InfoHash
}

// compare reads every file of both folders.
func (s *stage) compare() error {
	got := filepath.Join(s.agent.Downloads(), filepath.Base(s.content))
	seen := 0
	err := filepath.WalkDir(s.content, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(s.content, path)
		want, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		have, err := os.ReadFile(filepath.Join(got, rel))
		if err != nil {
			return err
		}
		if !bytes.Equal(want, have) {
			return fmt.Errorf("%s differs from what was shared", rel)
		}
		seen++
		return nil
	})
	if err == nil && seen != s.files {
		err = fmt.Errorf("%d files compared, %d were shared", seen, s.files)
	}
	return err
}

// timeline is when a job reached what, from the start of the command.
type timeline struct{ metadata, first, complete time.Duration }

// watch notes when the only job gets on, until ctx ends.
func watch(ctx context.Context, api *apiclient.Client) (t timeline) {
	start := time.Now()
	for ctx.Err() == nil {
		jobs, err := api.Jobs(ctx)
		now := time.Since(start)
		if err == nil && len(jobs) == 1 {
			j := jobs[0]
			if t.metadata == 0 && j.State != apiclient.StateMetadata {
				t.metadata = now
			}
			if t.first == 0 && j.Have > 0 {
				t.first = now
			}
			if t.complete == 0 && j.State == apiclient.StateSeeding {
				t.complete = now
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	return t
}

func (t timeline) print(bytes int64) {
	transfer := t.complete - t.first
	fmt.Printf("\nmetadata after %.1f s, first piece after %.1f s (Transmission answers metadata requests in batches and lets\n", t.metadata.Seconds(), t.first.Seconds())
	fmt.Printf("a new peer wait for up to 10 s), everything after %.1f s: %.1f MiB in %.1f s, %.1f MiB/s\n", t.complete.Seconds(), mib(bytes), transfer.Seconds(), mib(bytes)/transfer.Seconds())
}

// summary prints what the job and the device's line say.
func (s *stage) summary(ctx context.Context) error {
	jobs, err := s.surrogate.API().Jobs(ctx)
	if err != nil {
		return err
	}
	for _, j := range jobs {
		printPeers(j)
	}
	usage, err := s.agent.Usage()
	if err != nil {
		return err
	}
	line, err := s.public.Counters()
	if err != nil {
		return err
	}
	fmt.Printf("the agent used %.2f s of CPU and at most %.1f MiB of memory\n", usage.CPU.Seconds(), mib(usage.PeakRSS))
	fmt.Printf("the surrogate's line carried %.2f MiB in all: metadata, file list, control; the content went past it\n", mib(line.RxBytes+line.TxBytes))
	return nil
}

func printPeers(j apiclient.Job) {
	for _, p := range j.Peers {
		fmt.Printf("peer %s, %s: %s over %s\n", p.Addr, p.Client, p.Path, p.Transport)
	}
}
