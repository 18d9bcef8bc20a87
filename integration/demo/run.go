//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/anacrolix/torrent/bencode"
	"github.com/anacrolix/torrent/metainfo"

	"simplebit/integration/natlab"
	"simplebit/integration/programs"
	"simplebit/rendezvous/apiclient"
)

// The agents' names.
const (
	seeder  = "cellar"
	leecher = "attic"
)

// stage is what is running.
type stage struct {
	dir       string
	surrogate *programs.Surrogate
	agents    map[string]*programs.Agent
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
	s := &stage{dir: dir, agents: map[string]*programs.Agent{}, content: filepath.Join(strings.TrimSpace(string(goroot)), "src")}
	if err := s.set(ctx, lab, bin); err != nil {
		return err
	}
	return s.play(ctx, bin)
}

// set starts everybody and tells where they are.
func (s *stage) set(ctx context.Context, lab *natlab.Lab, bin string) (err error) {
	if s.public, err = lab.Host("surrogate"); err != nil {
		return err
	}
	fmt.Println("In network namespaces of their own, on an internet of one router:")
	if s.surrogate, err = programs.StartSurrogate(ctx, programs.OursConfig{Host: s.public, Bin: bin, Dir: filepath.Join(s.dir, "s")}); err != nil {
		return err
	}
	row("surrogate", "rendezvous", s.public, "public")
	for _, name := range []string{seeder, leecher} {
		router, err := lab.Router(name+"-nat", natlab.RouterConfig{Kind: natlab.PortRestricted})
		if err != nil {
			return err
		}
		h, err := router.Host(name)
		if err != nil {
			return err
		}
		s.agents[name], err = programs.StartAgent(ctx, programs.OursConfig{Host: h, Bin: bin, Dir: filepath.Join(s.dir, name), Home: s.surrogate})
		if err != nil {
			return err
		}
		row(name, "edgeagent", h, fmt.Sprintf("joined by invite, behind a %s NAT at %s", router.Kind(), router.External()))
	}
	return s.share(ctx)
}

func row(role, program string, h *natlab.Host, note string) {
	fmt.Printf("  %-10s %-11s %-13s %s\n", role, program, h.Addr(), note)
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

// share puts the content on the first device, and has that check and seed it. The torrent names no tracker.
func (s *stage) share(ctx context.Context) error {
	info := metainfo.Info{PieceLength: 256 << 10}
	if err := info.BuildFromFilePath(s.content); err != nil {
		return err
	}
	s.files, s.bytes = len(info.Files), info.TotalLength()
	var mi metainfo.MetaInfo
	var err error
	if mi.InfoBytes, err = bencode.Marshal(info); err != nil {
		return err
	}
	s.magnet = programs.Torrent{Name: info.Name, InfoHash: mi.HashInfoBytes()}.Magnet()
	var b bytes.Buffer
	if err := mi.Write(&b); err != nil {
		return err
	}
	fmt.Printf("\n%s gets a copy of %s: %d files, %.1f MiB. There is no tracker, and nobody else has it.\n", seeder, s.content, s.files, mib(s.bytes))
	if err := os.CopyFS(filepath.Join(s.agents[seeder].Downloads(), info.Name), os.DirFS(s.content)); err != nil {
		return err
	}
	j, err := s.surrogate.API().Add(ctx, apiclient.NewJob{Torrent: b.Bytes(), Target: "device:" + seeder})
	if err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	_, err = s.surrogate.WaitJob(ctx, j.ID, "seed what is there", func(j apiclient.Job) bool { return j.State == apiclient.StateSeeding })
	return err
}

// play adds the magnet as a person would, and compares what came.
func (s *stage) play(ctx context.Context, bin string) error {
	meter, err := newMeter(ctx, s.agents[leecher].Host(), s.public.Addr())
	if err != nil {
		return err
	}
	fmt.Printf("\n$ simplebit add '%s' --to device:%s --watch\n", s.magnet, leecher)
	watching, stop := context.WithCancel(ctx)
	defer stop()
	noted := make(chan timeline, 1)
	go func() { noted <- watch(watching, s.surrogate.API()) }()
	err = s.simplebit(ctx, bin, "add", s.magnet, "--to", "device:"+leecher, "--watch")
	if err != nil {
		return err
	}
	time.AfterFunc(lateness, stop)
	t := <-noted
	if t.path == nil || t.first == 0 || t.complete == 0 {
		return errors.New("the job ended unseen: the surrogate's API was too slow to follow it")
	}
	t.print(s.bytes)
	control, err := meter(ctx)
	if err != nil {
		return err
	}
	if err := s.compare(); err != nil {
		return err
	}
	fmt.Printf("%d files compared byte by byte: all identical\n", s.files)
	return s.summary(control)
}

// simplebit runs a command line on the surrogate's host.
func (s *stage) simplebit(ctx context.Context, bin string, args ...string) error {
	cmd := s.public.Command(ctx, filepath.Join(bin, "simplebit"), args...)
	cmd.Env = append(os.Environ(), "SIMPLEBIT_TOKEN_FILE="+s.surrogate.TokenFile())
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("simplebit %s: %w", args[0], err)
	}
	return nil
}

// compare reads every file of both folders.
func (s *stage) compare() error {
	got := filepath.Join(s.agents[leecher].Downloads(), filepath.Base(s.content))
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

// timeline is when a job reached what, from the start of the command, and by which peer.
type timeline struct {
	metadata, first, complete time.Duration
	path                      *apiclient.Peer
	explained                 []apiclient.Path
}

// lateness is how much later than the command the API may show that the job is complete.
const lateness = 10 * time.Second

// watch notes how the second device's job gets on, until it is complete or ctx ends.
func watch(ctx context.Context, api *apiclient.Client) (t timeline) {
	start := time.Now()
	for ; ctx.Err() == nil && t.complete == 0; time.Sleep(20 * time.Millisecond) {
		jobs, err := api.Jobs(ctx)
		now := time.Since(start)
		i := slices.IndexFunc(jobs, func(j apiclient.Job) bool { return j.Target == "device:"+leecher })
		if err != nil || i < 0 {
			continue
		}
		j := jobs[i]
		if t.metadata == 0 && j.State != apiclient.StateMetadata {
			t.metadata = now
		}
		if t.path == nil && len(j.Peers) > 0 {
			t.path = &j.Peers[0]
			if shown, err := api.Job(ctx, j.ID); err == nil {
				t.explained = shown.Paths
			}
		}
		if t.first == 0 && (j.Have > 0 || len(j.Peers) > 0 && j.Peers[0].Down > 0) {
			t.first = now
		}
		if j.State == apiclient.StateSeeding {
			t.complete = now
		}
	}
	return t
}

func (t timeline) print(bytes int64) {
	transfer := t.complete - t.first
	p := t.path
	fmt.Printf("\npath: %s, over %s, to %s (%s)\n", p.Path, p.Transport, p.Addr, p.Client)
	for _, x := range t.explained {
		for _, a := range x.Attempts {
			fmt.Printf("attempt with %s: %s after %d ms by %s, since %s\n", x.Device, a.Outcome, a.Took, a.Method, a.Why)
			for _, try := range a.Tries {
				fmt.Printf("  %s (%s): %d datagrams, answered after %d ms\n", try.Addr, try.Kind, try.Datagrams, try.Answered)
			}
		}
	}
	fmt.Printf("first block %.1f s after the magnet, everything after %.1f s: %.1f MiB in %.1f s, %.1f MiB/s\n",
		t.first.Seconds(), t.complete.Seconds(), mib(bytes), transfer.Seconds(), mib(bytes)/transfer.Seconds())
}

// summary prints what the device and the surrogate's line say.
func (s *stage) summary(control int64) error {
	usage, err := s.agents[leecher].Usage()
	if err != nil {
		return err
	}
	line, err := s.public.Counters()
	if err != nil {
		return err
	}
	fmt.Printf("the device exchanged %.2f MiB with the surrogate: file list, piece hashes, control\n", mib(control))
	fmt.Printf("its agent used %.2f s of CPU and at most %.1f MiB of memory\n", usage.CPU.Seconds(), mib(usage.PeakRSS))
	fmt.Printf("the surrogate's line carried %.2f MiB in all; the content went past it\n", mib(line.RxBytes+line.TxBytes))
	return nil
}

// newMeter counts the bytes of IP packets between a host and an address from now on, by nft on the host.
func newMeter(ctx context.Context, h *natlab.Host, far netip.Addr) (read func(context.Context) (int64, error), err error) {
	nft := func(ctx context.Context, in string, args ...string) ([]byte, error) {
		cmd := h.Command(ctx, programs.Nft, args...)
		cmd.Stdin = strings.NewReader(in)
		out, err := cmd.CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("nft: %w: %s", err, out)
		}
		return out, nil
	}
	rules := fmt.Sprintf(`table ip demo {
	counter carried {}
	chain in { type filter hook input priority 0; ip saddr %[1]s counter name "carried"; }
	chain out { type filter hook output priority 0; ip daddr %[1]s counter name "carried"; }
}`, far)
	if _, err := nft(ctx, rules, "-f", "-"); err != nil {
		return nil, err
	}
	return func(ctx context.Context) (n int64, err error) {
		out, err := nft(ctx, "", "-j", "list", "counters")
		if err != nil {
			return 0, err
		}
		var list struct {
			Nftables []struct{ Counter struct{ Bytes int64 } }
		}
		if err := json.Unmarshal(out, &list); err != nil {
			return 0, fmt.Errorf("nft: %w", err)
		}
		for _, x := range list.Nftables {
			n += x.Counter.Bytes
		}
		return n, nil
	}, nil
}
