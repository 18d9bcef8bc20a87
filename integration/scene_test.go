//go:build linux

package integration

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"simplebit/integration/natlab"
	"simplebit/integration/programs"
	"simplebit/rendezvous/apiclient"
)

func TestMain(m *testing.M) {
	natlab.Enter()
	code := m.Run()
	if binaries.dir != "" {
		os.RemoveAll(binaries.dir)
	}
	os.Exit(code)
}

// binaries are our commands, compiled once for all tests.
var binaries struct {
	once sync.Once
	dir  string
	err  error
}

func bin(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv(ordinaryEnv); dir != "" {
		return dir
	}
	b := &binaries
	b.once.Do(func() {
		if b.dir, b.err = os.MkdirTemp("", "sb-bin"); b.err == nil {
			b.err = programs.Build(context.Background(), b.dir)
		}
	})
	if b.err != nil {
		t.Fatal(b.err)
	}
	return b.dir
}

// patience is how long a test waits for what must happen, on a machine that has other things to do.
const patience = 2 * time.Minute

// scene is a lab with a tracker and a surrogate.
type scene struct {
	*testing.T
	lab       *natlab.Lab
	dir       string // short: unix sockets lie below it
	tracker   *programs.Tracker
	surrogate *programs.Surrogate
}

// emptyScene is a lab and a folder, both gone after the test; the logs of one that failed are kept.
func emptyScene(t *testing.T) *scene {
	t.Helper()
	dir, err := os.MkdirTemp("", "sb")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			keepLogs(t, dir)
		}
		os.RemoveAll(dir)
	})
	lab, err := natlab.New(natlab.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lab.Close() })
	return &scene{T: t, lab: lab, dir: dir}
}

func newScene(t *testing.T, needs ...string) *scene {
	t.Helper()
	programs.Require(t, append(needs, programs.Opentracker, programs.Mktorrent)...)
	s := emptyScene(t)
	var err error
	s.tracker, err = programs.StartTracker(t.Context(), programs.TrackerConfig{Host: s.host("tracker"), Dir: filepath.Join(s.dir, "t")})
	s.ok(err)
	s.surrogate, err = programs.StartSurrogate(t.Context(), programs.OursConfig{Host: s.host("surrogate"), Bin: bin(t), Dir: filepath.Join(s.dir, "s")})
	s.ok(err)
	return s
}

// keepLogs prints the ends of our own programs' logs.
func keepLogs(t *testing.T, dir string) {
	logs, _ := filepath.Glob(filepath.Join(dir, "*", "*.log"))
	for _, name := range logs {
		if base := filepath.Base(name); base == "rendezvous.log" || base == "edgeagent.log" {
			b, _ := os.ReadFile(name)
			t.Logf("%s ends:\n%s", name, b[max(0, len(b)-4000):])
		}
	}
}

func (s *scene) ok(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *scene) host(name string) *natlab.Host {
	s.Helper()
	h, err := s.lab.Host(name)
	s.ok(err)
	return h
}

// agent starts a joined agent on a host of its own.
func (s *scene) agent(name string, args ...string) *programs.Agent {
	s.Helper()
	a, err := programs.StartAgent(s.Context(), s.agentConfig(name, args))
	s.ok(err)
	return a
}

// newAgent prepares an agent, on a host of its own, that has not joined.
func (s *scene) newAgent(name string, args ...string) *programs.Agent {
	s.Helper()
	a, err := programs.NewAgent(s.agentConfig(name, args))
	s.ok(err)
	return a
}

func (s *scene) agentConfig(name string, args []string) programs.OursConfig {
	s.Helper()
	return programs.OursConfig{Host: s.host(name), Bin: bin(s.T), Dir: filepath.Join(s.dir, name), Home: s.surrogate, Args: args}
}

// simplebit runs a command line that has to succeed and returns what it printed.
func (s *scene) simplebit(args ...string) string {
	s.Helper()
	out, err := s.surrogate.Simplebit(s.Context(), args...)
	s.ok(err)
	if out.ExitCode != 0 {
		s.Fatalf("simplebit %.200q: exit status %d: %s", args, out.ExitCode, out.Stderr)
	}
	return out.Stdout
}

// show is what `simplebit show --json` says of a job.
func (s *scene) show(id string) (j apiclient.Job) {
	s.Helper()
	s.ok(json.Unmarshal([]byte(s.simplebit("show", "--json", id)), &j))
	return j
}

// refusal is the one line that a program said before it ended with status 1.
func (s *scene) refusal(out programs.Output, err error) string {
	s.Helper()
	s.ok(err)
	line, more, _ := strings.Cut(out.Stderr, "\n")
	if out.ExitCode != 1 || line == "" || more != "" || out.Stdout != "" {
		s.Fatalf("exit status %d, want 1 and one line of error\nstdout: %s\nstderr: %s", out.ExitCode, out.Stdout, out.Stderr)
	}
	return line
}

// says checks that a text for people contains what they need to read.
func (s *scene) says(text string, want ...string) {
	s.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			s.Errorf("%q\ndoes not say %q", text, w)
		}
	}
}

// until polls until ok, and fails with what was waited for when time is up.
func (s *scene) until(what string, within time.Duration, ok func() bool) {
	s.Helper()
	for deadline := time.Now().Add(within); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.Fatalf("not within %v: %s", within, what)
		}
	}
}

// torrent makes a torrent of a folder of random files and allows it on the tracker.
func (s *scene) torrent(name string, pieceLength int, lengths ...int) programs.Torrent {
	s.Helper()
	t := s.make(name, programs.MakeConfig{Announce: []string{s.tracker.URL()}, PieceLength: pieceLength}, lengths)
	s.ok(s.tracker.Allow(s.Context(), t.InfoHash))
	return t
}

// make makes a torrent of a folder of random files.
func (s *scene) make(name string, c programs.MakeConfig, lengths []int) programs.Torrent {
	s.Helper()
	c.Content, c.File = s.content(name), filepath.Join(s.dir, name+".torrent")
	random := rand.NewChaCha8([32]byte{byte(len(lengths)), byte(len(name))})
	for i, n := range lengths {
		file := filepath.Join(c.Content, fmt.Sprint("folder ", i%3), fmt.Sprint("file ", i))
		s.ok(os.MkdirAll(filepath.Dir(file), 0o755))
		b := make([]byte, n)
		random.Read(b)
		s.ok(os.WriteFile(file, b, 0o644))
	}
	t, err := programs.MakeTorrent(s.Context(), c)
	s.ok(err)
	return t
}

// content is the folder that a torrent was made of.
func (s *scene) content(name string) string { return filepath.Join(s.dir, "content", name) }

// add adds a magnet of the torrent on a device.
func (s *scene) add(t programs.Torrent, device string) apiclient.Job {
	s.Helper()
	j, err := s.surrogate.API().Add(s.Context(), apiclient.NewJob{Magnet: t.Magnet(s.tracker.URL()), Target: "device:" + device})
	s.ok(err)
	return j
}

// wait waits for a job to become what ok wants.
func (s *scene) wait(id, what string, within time.Duration, ok func(apiclient.Job) bool) apiclient.Job {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), within)
	defer cancel()
	j, err := s.surrogate.WaitJob(ctx, id, what, ok)
	s.ok(err)
	return j
}

func seeding(j apiclient.Job) bool { return j.State == apiclient.StateSeeding }

// same compares two folders file by file.
func (s *scene) same(want, got string) {
	s.Helper()
	a, b := sums(s.T, want), sums(s.T, got)
	for name, sum := range a {
		if b[name] != sum {
			s.Errorf("%s differs or is missing", filepath.Join(got, name))
		}
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			s.Errorf("%s should not be there", filepath.Join(got, name))
		}
	}
}

func sums(t *testing.T, dir string) map[string][32]byte {
	t.Helper()
	all := map[string][32]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		all[rel] = sha256.Sum256(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// client is a real client, whichever.
type client interface {
	Seed(ctx context.Context, torrentFile, contentDir string) error
	Leech(ctx context.Context, torrentFile, downloadDir string) error
	WaitComplete(ctx context.Context) error
	Stop() error
	Addr() netip.AddrPort
}

// real starts a real client on a host of its own.
func (s *scene) real(program, host string) client {
	s.Helper()
	return s.start(program, programs.Config{Host: s.host(host)})
}

// start starts a real client in a folder of its host's name.
func (s *scene) start(program string, c programs.Config) client {
	s.Helper()
	c.Dir = filepath.Join(s.dir, c.Host.Name())
	var started client
	var err error
	switch program {
	case programs.TransmissionDaemon:
		started, err = programs.StartTransmission(s.Context(), c)
	case programs.QBittorrentNox:
		started, err = programs.StartQBittorrent(s.Context(), c)
	case programs.Aria2c:
		started, err = programs.StartAria2(s.Context(), c)
	case programs.RTorrent:
		started, err = programs.StartRtorrent(s.Context(), c)
	}
	s.ok(err)
	return started
}

// seed starts a real client that seeds the torrent, and waits until the tracker knows it.
func (s *scene) seed(program, host string, t programs.Torrent) client {
	s.Helper()
	c := s.real(program, host)
	s.ok(c.Seed(s.Context(), t.File, filepath.Join(s.dir, "content")))
	s.ok(s.tracker.Await(s.Context(), t.InfoHash, 1, 0))
	return c
}
