package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"simplebit/rendezvous/api"
	"simplebit/rendezvous/apiclient"
)

var update = flag.Bool("update", false, "rewrite the transcripts with what the commands print now")

// world is where the commands of a test run: a surrogate and a user's settings.
type world struct {
	t       *testing.T
	fake    *surrogate
	url     string
	dir     string // current folder of the files that commands name
	config  string
	env     map[string]string
	stdin   string
	columns int // of the terminal; 0 when the output is piped
}

func newWorld(t *testing.T) *world {
	fake := newSurrogate()
	server := httptest.NewServer(api.New(api.Config{
		Jobs: jobs{fake}, Devices: devices{fake}, Invites: invites{},
		Authorize: func(token string) bool { return token == "secret" },
	}))
	t.Cleanup(server.Close)
	return &world{t: t, fake: fake, url: server.URL, dir: t.TempDir(), config: t.TempDir(),
		env: map[string]string{"SIMPLEBIT_URL": server.URL, "SIMPLEBIT_TOKEN": "secret"}}
}

// run executes one command line and returns what it wrote.
func (w *world) run(ctx context.Context, args ...string) (stdout, stderr string, status int) {
	var out, errs bytes.Buffer
	p := program{
		stdin: strings.NewReader(w.stdin), stdout: &out, stderr: &errs,
		getenv:    func(name string) string { return w.env[name] },
		configDir: func() (string, error) { return w.config, nil },
		now:       noon, zone: time.UTC, poll: time.Millisecond,
	}
	if w.columns > 0 {
		p.width = func() int { return w.columns }
	}
	status = p.run(ctx, append([]string{"simplebit"}, args...))
	return out.String(), errs.String(), status
}

// plain replaces what differs from run to run.
func (w *world) plain(s string) string {
	return strings.NewReplacer(w.url, "http://surrogate", w.config, "CONFIG", w.dir, "DIR",
		"\x1b", "ESC", "\r", "CR").Replace(s)
}

// TestTranscripts runs the command lines in testdata/*.txt, each file in a world
// of its own, and compares the output under each with what comes. A command is a
// line that begins with "> "; "set NAME VALUE" before it changes the terminal's
// columns, the standard input, a file, how many devices there are, whether there are paths, or an environment variable. Lines of standard
// error begin with "! ", and a status other than 0 ends the output.
func TestTranscripts(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.txt")
	if len(files) == 0 {
		t.Fatal("there are no transcripts")
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			w := newWorld(t)
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := w.replay(string(b))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(b) {
				t.Errorf("the output differs; review it with go test -update and git diff\n%s", firstDifference(string(b), got))
			}
		})
	}
}

// replay returns the transcript with the output of today.
func (w *world) replay(transcript string) string {
	var b strings.Builder
	inOutput := false
	for line := range strings.Lines(transcript) {
		line = strings.TrimSuffix(line, "\n")
		command, isCommand := strings.CutPrefix(line, "> ")
		isComment := strings.HasPrefix(line, "# ") || strings.HasPrefix(line, "set ")
		if inOutput && !isCommand && !isComment {
			continue
		}
		if inOutput {
			b.WriteString("\n")
		}
		inOutput = false
		b.WriteString(line + "\n")
		if setting, ok := strings.CutPrefix(line, "set "); ok {
			w.set(setting)
		}
		if isCommand {
			b.WriteString("----\n")
			w.fake.next = newSurrogate().next // each command sees the job from the beginning
			stdout, stderr, status := w.run(w.t.Context(), split(strings.NewReplacer("DIR", w.dir, "http://surrogate", w.url).Replace(command))...)
			b.WriteString(w.plain(stdout))
			for line := range strings.Lines(w.plain(stderr)) {
				b.WriteString("! " + line)
			}
			if status != 0 {
				fmt.Fprintf(&b, "exit %d\n", status)
			}
			inOutput = true
		}
	}
	return b.String()
}

func (w *world) set(setting string) {
	name, value, _ := strings.Cut(setting, " ")
	switch name {
	case "columns":
		fmt.Sscan(value, &w.columns)
	case "devices":
		w.fake.devices = append(w.fake.devices, networked()...)
	case "paths":
		w.fake.jobs[1].Paths, w.fake.jobs[1].Relayed = punched(), apiclient.Relayed{Down: 12_900_000, Up: 68}
	case "stdin":
		w.stdin = value
	case "file":
		name, content, _ := strings.Cut(value, " ")
		if err := os.WriteFile(filepath.Join(w.dir, name), []byte(content), 0o600); err != nil {
			w.t.Fatal(err)
		}
	default:
		w.env[name] = strings.ReplaceAll(strings.ReplaceAll(value, "http://surrogate", w.url), "DIR", w.dir)
	}
}

// split splits a command line at spaces outside of single quotes.
func split(s string) []string {
	var args []string
	for i, part := range strings.Split(s, "'") {
		if i%2 == 1 {
			args = append(args, part)
		} else {
			args = append(args, strings.Fields(part)...)
		}
	}
	return args
}

func firstDifference(want, got string) string {
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(a), len(b)) {
		left, right := "(end)", "(end)"
		if i < len(a) {
			left = a[i]
		}
		if i < len(b) {
			right = b[i]
		}
		if left != right {
			return fmt.Sprintf("line %d\nwant %s\ngot  %s", i+1, left, right)
		}
	}
	return ""
}

func TestStoredLoginIsForItsOwnerAndItsSurrogateAlone(t *testing.T) {
	w := newWorld(t)
	w.env, w.stdin = map[string]string{}, "secret\n"
	if _, stderr, status := w.run(t.Context(), "login", w.url); status != 0 {
		t.Fatal(stderr)
	}
	info, err := os.Stat(filepath.Join(w.config, "simplebit", "login.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if _, stderr, status := w.run(t.Context(), "ls"); status != 0 {
		t.Errorf("ls after login: %s", stderr)
	}
	var seen string
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen += r.Header.Get("Authorization") }))
	defer other.Close()
	w.run(t.Context(), "ls", "--url", other.URL)
	if seen != "" {
		t.Errorf("another server was sent %q", seen)
	}
}

func TestFailedLoginKeepsTheStoredOne(t *testing.T) {
	w := newWorld(t)
	w.env, w.stdin = map[string]string{}, "secret"
	w.run(t.Context(), "login", w.url)
	w.stdin = "guess"
	if _, stderr, status := w.run(t.Context(), "login", w.url); status != 1 {
		t.Errorf("status %d: %s", status, stderr)
	}
	if _, stderr, status := w.run(t.Context(), "ls"); status != 0 {
		t.Errorf("the old login is lost: %s", stderr)
	}
}

func TestTorrentFileIsSentWhole(t *testing.T) {
	w := newWorld(t)
	file := filepath.Join(w.dir, "a.torrent")
	content := "d4:infod\x00\xffe"
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, stderr, status := w.run(t.Context(), "add", file, "--to", "attic"); status != 0 || string(w.fake.torrent) != content {
		t.Errorf("status %d, %q: %s", status, w.fake.torrent, stderr)
	}
}

func TestTooLargeTorrentIsNotRead(t *testing.T) {
	w := newWorld(t)
	file := filepath.Join(w.dir, "a.torrent")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, 1<<40); err != nil {
		t.Fatal(err)
	}
	_, stderr, status := w.run(t.Context(), "add", file)
	if want := "simplebit: " + file + " is too large for a torrent: the limit is 30.0 MiB\n"; status != 1 || stderr != want {
		t.Errorf("status %d, %s", status, stderr)
	}
}

func TestInterruptEndsTheWatchingAndSaysThatTheJobGoesOn(t *testing.T) {
	w := newWorld(t)
	w.fake.next["k3jx7m2q"] = w.fake.next["k3jx7m2q"][:1]
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var looks atomic.Int32
	w.fake.looked = func() {
		if looks.Add(1) == 5 {
			cancel()
		}
	}
	_, stderr, status := w.run(ctx, "watch", "k3")
	want := "simplebit: stopped watching; the job goes on, and `simplebit watch k3jx7m2q` shows it again\n"
	if status != 1 || stderr != want {
		t.Errorf("status %d: %s", status, stderr)
	}
}

func TestLostOutputIsAnError(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal("Linux has /dev/full: ", err)
	}
	defer full.Close()
	w := newWorld(t)
	var errs bytes.Buffer
	p := program{stdin: strings.NewReader(""), stdout: full, stderr: &errs, getenv: func(name string) string { return w.env[name] },
		configDir: func() (string, error) { return w.config, nil }, zone: time.UTC}
	if status := p.run(t.Context(), []string{"simplebit", "ls"}); status != 1 || !strings.HasPrefix(errs.String(), "simplebit: cannot write the output: ") {
		t.Errorf("status %d: %s", status, errs.String())
	}
}
