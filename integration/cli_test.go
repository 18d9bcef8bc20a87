//go:build linux

package integration

import (
	"context"
	"encoding/json"
	"io"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"simplebit/integration/programs"
	"simplebit/rendezvous/apiclient"
)

// addBy adds a magnet or file with the command line.
func (s *scene) addBy(what, device string) (j apiclient.Job) {
	s.Helper()
	s.ok(json.Unmarshal([]byte(s.simplebit("add", "--json", what, "--to", device)), &j))
	return j
}

func TestAJobForAnOfflineDeviceWaitsAndIsDoneWhenItComes(t *testing.T) {
	t.Parallel()
	s := newScene(t, programs.TransmissionDaemon)
	attic := s.agent("attic")
	s.ok(attic.Stop())
	s.untilOnline("attic", false)
	torrent := s.torrent("album", 64<<10, 2<<20, 0, 12345)
	s.seed(programs.TransmissionDaemon, "seeder", torrent)
	j := s.addBy(torrent.Magnet(s.tracker.URL()), "attic")
	j = s.wait(j.ID, "learn what it is", patience, func(j apiclient.Job) bool { return j.State == apiclient.StateWaiting })
	if j.TargetOnline || j.Size != torrent.Length || j.Have != 0 {
		t.Errorf("the waiting job is %+v", j)
	}
	if j.Message != "waiting for device attic: it is offline" {
		t.Errorf("the job says %q", j.Message)
	}
	s.says(s.simplebit("show", j.ID), "device:attic (offline)", j.Message)
	s.says(s.simplebit("ls"), j.ID, "waiting", "album")
	s.says(s.simplebit("devices"), "attic", "offline")
	s.ok(attic.Restart(t.Context()))
	s.wait(j.ID, "download", patience, seeding)
	s.same(s.content("album"), filepath.Join(attic.Downloads(), "album"))
	s.says(s.simplebit("devices"), "attic", "online", "SimpleBit test")
}

func TestAJobSaysWhyItHasNoPeers(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.agent("attic")
	alone := s.torrent("alone", 64<<10, 100_000)
	magnet := func(hash string, trackers ...string) string {
		m := "magnet:?xt=urn:btih:" + strings.Repeat(hash, 20)
		for _, tr := range trackers {
			m += "&tr=" + url.QueryEscape(tr)
		}
		return m
	}
	closed := netip.AddrPortFrom(s.tracker.Addr().Addr(), 1).String()
	for _, c := range []struct {
		what, add string
		state     apiclient.State
		says      []string
	}{
		{"no source", magnet("a1"), apiclient.StateMetadata, []string{"DHT: ", "--dht-bootstrap"}},
		{"refused", magnet("a2", s.tracker.URL()), apiclient.StateMetadata, []string{"refused: Requested download is not authorized", "asked again in"}},
		{"nobody listens", magnet("a3", "http://"+closed+"/announce"), apiclient.StateMetadata, []string{"connection refused", "asked again in"}},
		{"no way there", magnet("a4", "http://198.19.200.2/announce"), apiclient.StateMetadata, []string{"198.19.200.2", "unreachable"}},
		{"nobody listens to UDP", magnet("a6", "udp://"+closed), apiclient.StateMetadata, []string{closed, "connection refused", "asked again in"}},
		{"a dead peer", magnet("a7") + "&x.pe=" + closed, apiclient.StateMetadata, []string{"1 address known, which has not answered yet"}},
		{"alone, by magnet", alone.Magnet(s.tracker.URL()), apiclient.StateMetadata, []string{"tracker " + s.tracker.URL() + " knows no other peers", "asked again in"}},
	} {
		j := s.addBy(c.add, "attic")
		said := func() bool {
			j = s.show(j.ID)
			return j.State == c.state && !slices.ContainsFunc(c.says, func(w string) bool { return !strings.Contains(j.Message, w) })
		}
		for deadline := time.Now().Add(patience); !said() && time.Now().Before(deadline); {
			time.Sleep(50 * time.Millisecond)
		}
		if s.says(j.Message, c.says...); j.State != c.state {
			t.Errorf("%s: the job is %s, want %s", c.what, j.State, c.state)
		}
		s.says(s.simplebit("show", j.ID), c.says...)
		s.simplebit("rm", j.ID)
	}
	j := s.addBy(alone.File, "attic")
	s.until("alone, by file: the job says so", patience, func() bool {
		j = s.show(j.ID)
		return j.State == apiclient.StateDownloading && strings.Contains(j.Message, "tracker "+s.tracker.URL()+" knows no other peers")
	})
}

// TestWhatWasAnsweredSurvivesAKill kills the surrogate as soon as each answer
// has come.
func TestWhatWasAnsweredSurvivesAKill(t *testing.T) {
	t.Parallel()
	s := newScene(t, programs.RTorrent)
	kill := func() {
		t.Helper()
		s.ok(s.surrogate.Kill())
		s.ok(s.surrogate.Restart(t.Context()))
	}
	used := s.invite()
	kill()
	attic, cellar := s.newAgent("attic"), s.newAgent("cellar")
	s.ok(attic.Join(t.Context(), used))
	kill()
	s.says(s.refusal(cellar.Run(t.Context(), used, "join")), "the invite was used by another device")
	s.ok(attic.Join(t.Context(), used))
	s.ok(attic.Restart(t.Context()))
	s.ok(cellar.Join(t.Context(), s.invite()))
	token, err := os.ReadFile(s.surrogate.TokenFile())
	s.ok(err)

	// The info dictionary is there once a job has it: later the seeder is not asked again.
	torrent := s.torrent("album", 64<<10, 300_000, 1)
	seeder := s.seed(programs.RTorrent, "seeder", torrent)
	ids := []string{s.addBy(torrent.Magnet(s.tracker.URL()), "attic").ID}
	s.wait(ids[0], "download", patience, seeding)
	kill()
	s.ok(seeder.Stop())
	s.ok(attic.Stop())
	ids = append(ids, s.addBy(torrent.Magnet(), "cellar").ID)
	kill()
	ids = append(ids, s.addBy("magnet:?xt=urn:btih:"+strings.Repeat("0f", 20)+"&dn=nobody+has+it", "attic").ID)
	kill()
	s.simplebit("devices", "rename", "attic", "loft")
	kill()
	s.simplebit("pause", ids[2])
	kill()

	s.ok(cellar.Restart(t.Context()))
	j := s.wait(ids[1], "get the file list", patience, func(j apiclient.Job) bool { return j.State == apiclient.StateDownloading })
	if j.Name != "album" || j.Size != torrent.Length || j.Target != "device:cellar" {
		t.Errorf("the second job is %+v", j)
	}
	if j = s.show(ids[2]); j.State != apiclient.StatePaused || j.Name != "nobody has it" || j.Target != "device:loft" {
		t.Errorf("the third job is %+v", j)
	}
	s.ok(attic.Restart(t.Context()))
	s.wait(ids[0], "seed again", patience, seeding)
	if again, err := os.ReadFile(s.surrogate.TokenFile()); err != nil || string(again) != string(token) {
		t.Errorf("the token was %s and is %s (%v)", token, again, err)
	}
}

func TestProgressIsABarOnATerminalAndLinesInAPipe(t *testing.T) {
	t.Parallel()
	s := newScene(t, programs.RTorrent)
	s.agent("attic")
	torrent := s.torrent("album", 64<<10, 5<<20)
	seeder := s.slowly("seeder", torrent, 500_000) // until both have shown that
	id := s.addBy(torrent.File, "attic").ID

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var bar, piped printed
	watch := func(to io.Writer) *exec.Cmd {
		t.Helper()
		cmd := s.surrogate.Host().Command(ctx, filepath.Join(bin(t), "simplebit"), "watch", id)
		cmd.Env = []string{"SIMPLEBIT_TOKEN_FILE=" + s.surrogate.TokenFile(), "TERM=xterm"}
		cmd.Stdout, cmd.Stderr = to, to
		s.ok(cmd.Start())
		return cmd
	}
	master, slave := terminal(s, 120)
	onTerminal, inPipe := watch(slave), watch(&piped)
	s.ok(slave.Close())
	shown := make(chan struct{})
	go func() {
		defer close(shown)
		io.Copy(&bar, master) // ends with EIO when nobody holds the other end
	}()
	aLine := regexp.MustCompile(`(?m)^\S+ [KM]iB of 5\.0 MiB  \d+\.\d%  \S+ [KM]iB/s  ETA \d+s  1 peer  downloading$`)
	aBar := regexp.MustCompile(`\r\[=*> *\]  \S+ [KM]iB of 5\.0 MiB  \d+\.\d%  \S+ [KM]iB/s  ETA \d+s  1 peer  downloading`)
	s.until("show the download in a pipe", patience, func() bool { return aLine.MatchString(piped.String()) })
	s.until("show the download on a terminal", patience, func() bool { return aBar.MatchString(bar.String()) })
	s.ok(seeder.Shape(0, 0))
	s.ok(inPipe.Wait())
	s.ok(onTerminal.Wait())
	<-shown

	const done = "album is complete on device:attic: 5.0 MiB"
	if text := piped.String(); !strings.HasSuffix(text, done+"\n") || strings.ContainsAny(text, "\r\x1b") {
		t.Errorf("in a pipe: %q", text)
	}
	if text := bar.String(); !strings.Contains(text, "[====================]") || !strings.HasSuffix(text, done+"\r\n") {
		t.Errorf("on a terminal: %q", text)
	}
}

// printed is what a program has printed so far.
type printed struct {
	mu   sync.Mutex
	text strings.Builder
}

func (p *printed) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *printed) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// terminal opens a pseudo-terminal of so many columns.
func terminal(s *scene, columns uint16) (master, slave *os.File) {
	s.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	s.ok(err)
	s.Cleanup(func() { master.Close() })
	fd := int(master.Fd())
	s.ok(unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	s.ok(err)
	s.ok(unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns}))
	slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	s.ok(err)
	return master, slave
}

func TestAPersonLogsIn(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	attic := s.agent("attic")
	home := t.TempDir()
	simplebit := func(input string, args ...string) programs.Output {
		t.Helper()
		var stdout, stderr strings.Builder
		cmd := s.surrogate.Host().Command(t.Context(), filepath.Join(bin(t), "simplebit"), args...)
		cmd.Env = []string{"HOME=" + home}
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &stdout, &stderr
		cmd.Run()
		return programs.Output{Stdout: stdout.String(), Stderr: stderr.String(), ExitCode: cmd.ProcessState.ExitCode()}
	}
	const url = "http://127.0.0.1:8080"
	s.says(s.refusal(simplebit("", "ls"), nil), "simplebit: ", "login")
	s.says(s.refusal(simplebit(strings.Repeat("x", 43), "login", url), nil), "token")
	s.says(s.refusal(simplebit("x", "login", "http://127.0.0.1:1"), nil), "cannot reach the surrogate")
	token, err := os.ReadFile(s.surrogate.TokenFile())
	s.ok(err)
	if info, err := os.Stat(s.surrogate.TokenFile()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the token's file has mode %v (%v)", info.Mode(), err)
	}
	if out := simplebit(string(token), "login", url); out.ExitCode != 0 {
		t.Fatalf("login: %+v", out)
	}
	if out := simplebit("", "devices"); out.ExitCode != 0 || !strings.Contains(out.Stdout, "attic") {
		t.Errorf("devices: %+v", out)
	}
	invite := simplebit("", "invite")
	s.ok(s.newAgent("cellar").Join(t.Context(), invite.Stdout))
	s.says(s.refusal(simplebit("", "show", "nothing"), nil), "there is no job")

	out, err := attic.Run(t.Context(), "", "status")
	s.ok(err)
	s.says(out.Stdout, "device     attic (", "connected for", "sees this device at "+attic.Addr().String(), "memory     4 MiB for blocks, 4 MiB free", "no torrents")
	out, err = attic.Run(t.Context(), "", "status", "--json")
	s.ok(err)
	s.says(out.Stdout, `"connected": true`, `"torrents": []`)
}
