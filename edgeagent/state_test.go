package edgeagent

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"simplebit/wire/control"
)

func TestWhatAKillLeavesBehindIsTidiedUp(t *testing.T) {
	dir := tempDir(t)
	s, err := openState(dir)
	ok(t, err)
	whole, half := infoHash{1}, infoHash{2}
	ok(t, s.saveAssignment(whole, assignment{Generation: 3}))
	ok(t, os.MkdirAll(s.torrentDir(half), 0o700))
	for _, name := range []string{
		filepath.Join(s.torrentDir(half), "layout"),
		filepath.Join(dir, "layout-123"+newSuffix),
		filepath.Join(dir, "surrogate.json"+newSuffix),
	} {
		ok(t, os.WriteFile(name, []byte("left"), 0o600))
	}
	s.close()
	s, err = openState(dir)
	ok(t, err)
	defer s.close()
	held, err := s.assignments()
	if err != nil || len(held) != 1 || held[whole].Generation != 3 {
		t.Errorf("held after the kill: %v, %v", held, err)
	}
	if _, err := os.Stat(s.torrentDir(half)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the torrent half removed: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*"+newSuffix)); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestADamagedAssignmentRestsUntilItIsToldAgain(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	cfg := joined(t, h)
	tt := newTorrent(t, "red")
	tt.place(t, cfg.Dir, "red")
	first := start(t, cfg)
	g, _ := h.welcome()
	g.assign(tt, 7)
	g.reports(tt.id, 7, control.StateSeeding)
	first.end()
	ok(t, os.WriteFile(filepath.Join(cfg.State, "torrents", hexOf(tt.id), assignmentFile), []byte("{"), 0o600))
	start(t, cfg)
	g, inventory := h.welcome()
	if p, ok := inventory[tt.id]; !ok || p.Generation != 0 || p.State != control.StatePaused {
		t.Errorf("the agent holds %+v", inventory)
	}
	g.send(control.Assign{ID: tt.id, Generation: 7})
	g.reports(tt.id, 7, control.StateSeeding)
}

func TestStrangeNamesInTheStateFolderAreLeftAlone(t *testing.T) {
	s, err := openState(tempDir(t))
	ok(t, err)
	defer s.close()
	names := []string{"lost+found", strings.Repeat("g", 40), strings.Repeat("a", 39), strings.Repeat("a", 41)}
	for _, name := range names {
		ok(t, os.Mkdir(filepath.Join(s.dir, "torrents", name), 0o700))
	}
	ok(t, s.tidy())
	if held, err := s.assignments(); err != nil || len(held) != 0 {
		t.Errorf("held: %v, %v", held, err)
	}
	for _, name := range names {
		if _, err := os.Stat(filepath.Join(s.dir, "torrents", name)); err != nil {
			t.Error(err)
		}
	}
}

func TestADamagedStateSaysWhatToDo(t *testing.T) {
	h := newHome(t)
	for file, c := range map[string]struct{ text, want string }{
		"surrogate.json":   {`{"Addr":"h:1"}`, "join again"},
		"surrogate.json ":  {`{`, "join again"},
		"surrogate.json  ": {`{"Pin":"` + h.pin.String() + `"}`, "join again"},
		"key.pem":          {"-----BEGIN NOTHING-----", "restore it, or delete it"},
	} {
		cfg := joined(t, h)
		ok(t, os.WriteFile(filepath.Join(cfg.State, strings.TrimSpace(file)), []byte(c.text), 0o600))
		err := Run(context.Background(), cfg)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s %s: %v", file, c.text, err)
		}
	}
}

func TestWhatIsInTheWaySaysHowToGoRound(t *testing.T) {
	h := newHome(t)
	file := filepath.Join(tempDir(t), "file")
	ok(t, os.WriteFile(file, nil, 0o600))
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err)
	defer taken.Close()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	ok(t, err)
	defer udp.Close()
	for name, c := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"state is a file":     {func(c *Config) { c.State = file }, "--state"},
		"downloads is a file": {func(c *Config) { c.Dir = file }, "--dir"},
		"no download folder":  {func(c *Config) { c.Dir = "" }, "--dir"},
		"peer port taken":     {func(c *Config) { c.Listen = taken.Addr().String() }, "--listen"},
		"UDP port taken":      {func(c *Config) { c.Listen = udp.LocalAddr().String() }, "--listen"},
		"no port":             {func(c *Config) { c.Listen = "127.0.0.1" }, "--listen"},
		"socket path too long": {func(c *Config) {
			long := filepath.Join(c.State, strings.Repeat("x", 100))
			ok(t, os.Rename(c.State, c.State+"2"))
			ok(t, os.MkdirAll(filepath.Dir(long), 0o700))
			ok(t, os.Rename(c.State+"2", long))
			c.State = long
		}, "--state"},
	} {
		cfg := joined(t, h)
		c.change(&cfg)
		err := Run(context.Background(), cfg)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOneStateFolderHasOneAgent(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	cfg := joined(t, h)
	start(t, cfg)
	h.welcome()
	if err := Run(context.Background(), cfg); err == nil || !strings.Contains(err.Error(), "in use by another agent") {
		t.Errorf("a second agent: %v", err)
	}
}

func TestAFolderThatIsLeftIsFreeWhileAProgramIsBeingStarted(t *testing.T) {
	dir := tempDir(t)
	s, err := openState(dir)
	ok(t, err)
	fd, err := unix.Dup(int(s.lock.Fd())) // as between fork and exec
	ok(t, err)
	defer unix.Close(fd)
	s.close()
	s, err = openState(dir)
	ok(t, err)
	s.close()
}

func TestAWriteThatFailsLeavesTheOldFile(t *testing.T) {
	dir := tempDir(t)
	name := filepath.Join(dir, "file")
	ok(t, writeFile(name, []byte("old")))
	ok(t, os.Mkdir(name+newSuffix, 0o700)) // in the way of the new one
	if err := writeFile(name, []byte("new")); err == nil {
		t.Error("no error")
	}
	if b, err := os.ReadFile(name); err != nil || string(b) != "old" {
		t.Errorf("the file is %q, %v", b, err)
	}
}

func TestStatusTellsWhatTheAgentDoes(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	cfg := joined(t, h)
	if _, err := ReadStatus(cfg.State); err == nil || !strings.Contains(err.Error(), "edgeagent run --state "+cfg.State) {
		t.Errorf("status of an agent that does not run: %v", err)
	}
	tt := newTorrent(t, "red")
	tt.place(t, cfg.Dir, "red")
	r := start(t, cfg)
	g, _ := h.welcome()
	g.assign(tt, 1)
	g.reports(tt.id, 1, control.StateSeeding)
	l := dialAgent(t, g, tt)
	g.until("a peer", func(p control.Progress) bool { return len(p.Peers) == 1 })
	st, err := ReadStatus(cfg.State)
	ok(t, err)
	if !st.Connected || st.Name != "attic" || st.Device != string(g.device) || st.Surrogate != h.addr || st.Since.IsZero() {
		t.Errorf("status is %+v", st)
	}
	if st.Observed != "" {
		t.Errorf("the surrogate cannot tell the address, the status says %q", st.Observed)
	}
	if len(st.Torrents) != 1 || st.Torrents[0].InfoHash != hexOf(tt.id) || st.Torrents[0].State != "seeding" || st.Torrents[0].Peers != 1 {
		t.Errorf("torrents are %+v", st.Torrents)
	}
	l.Close()
	r.end()
	if _, err := ReadStatus(cfg.State); err == nil {
		t.Error("a stopped agent has a status")
	}
}

func TestStatusSaysWhyThereIsNoSurrogate(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	cfg := joined(t, h)
	cfg.retry = func(int) time.Duration { return time.Hour }
	start(t, cfg)
	h.accept().send(control.Refused{Code: control.RefusedBusy, Reason: "too many devices: try again later"})
	var st Status
	eventually(t, "the status says why there is no connection", func() bool {
		var err error
		st, err = ReadStatus(cfg.State)
		return err == nil && st.Error != ""
	})
	if st.Connected || !strings.Contains(st.Error, "too many devices") {
		t.Errorf("status is %+v", st)
	}
}

func TestAClientThatDoesNotReadItsStatusStopsNobody(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	cfg := joined(t, h)
	start(t, cfg)
	h.welcome()
	for range 5 {
		c, err := net.Dial("unix", filepath.Join(cfg.State, "status.sock"))
		ok(t, err)
		defer c.Close()
	}
	_, err := ReadStatus(cfg.State)
	ok(t, err)
}

// Whatever the torrents are locked for, such as a disk that syncs.
func TestAStatusThatTakesAWhileToCollectIsTold(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	ln, err := listenStatus(filepath.Join(dir, "status.sock"))
	ok(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() {
		served <- serveStatus(ctx, ln, func() Status {
			time.Sleep(1500 * time.Millisecond)
			return Status{Name: "attic"}
		})
	}()
	defer func() { cancel(); ok(t, <-served) }()
	if st, err := ReadStatus(dir); err != nil || st.Name != "attic" {
		t.Errorf("told %+v, %v", st, err)
	}
}

func TestBackoffDoublesToAMinuteWithHalfOfItAsJitter(t *testing.T) {
	var got []time.Duration
	for n := 1; n <= 9; n++ {
		got = append(got, backoff(n, 0.5))
		if least, most := backoff(n, 0), backoff(n, 0.999); least < got[n-1]/2 || most > got[n-1]*3/2 || least >= most {
			t.Errorf("attempt %d waits %v to %v", n, least, most)
		}
	}
	s := time.Second
	if want := []time.Duration{s, 2 * s, 4 * s, 8 * s, 16 * s, 32 * s, 60 * s, 60 * s, 60 * s}; !slices.Equal(got, want) {
		t.Errorf("waits are %v, want %v", got, want)
	}
	if got := backoff(1<<30, 0); got != 30*s {
		t.Errorf("after very many attempts: %v", got)
	}
}

func TestOnlyARefusalThatTimeDoesNotHealIsFinal(t *testing.T) {
	for err, want := range map[error]bool{
		control.Refused{Code: control.RefusedUnknown}: true,
		control.Refused{Code: control.RefusedRevoked}: true,
		control.Refused{Code: control.RefusedVersion}: true,
		control.Refused{Code: 200}:                    true,
		control.Refused{Code: control.RefusedBusy}:    false,
		context.DeadlineExceeded:                      false,
	} {
		if got := final(err); got != want {
			t.Errorf("%v: final %v, want %v", err, got, want)
		}
	}
}
