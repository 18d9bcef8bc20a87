package rendezvous

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"simplebit/edgeagent"
	"simplebit/rendezvous/apiclient"
	"simplebit/wire/control"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = time.Minute // for what must happen

// tempDir is a folder whose path leaves room for a unix socket's name.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sb")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// local is a configuration on ports of this machine that nobody has.
func local(t *testing.T) Config {
	t.Helper()
	return Config{Data: tempDir(t), HTTP: "127.0.0.1:0", Control: "127.0.0.1:0", Peer: "127.0.0.1:0", DHTBootstrap: []string{"127.0.0.1:1"}}
}

// ownAddr is where nobody else listens while a surrogate stops and comes back: ports of 127.0.0.1 come and go.
func ownAddr() string {
	pid := os.Getpid()
	return fmt.Sprintf("127.1.%d.%d:4433", byte(pid>>8), byte(pid))
}

// serving is a surrogate that runs.
type serving struct {
	t *testing.T
	Info
	cfg  Config
	stop func() error // and wait
}

func serve(t *testing.T, cfg Config) *serving {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan Info, 1), make(chan error, 1)
	go func() { ended <- Serve(ctx, cfg, func(i Info) { ready <- i }) }()
	stop := sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() { stop() })
	select {
	case i := <-ready:
		return &serving{t, i, cfg, stop}
	case err := <-ended:
		ended <- err
		t.Fatal(err)
	case <-time.After(patience):
		t.Fatal("the surrogate does not get ready")
	}
	return nil
}

// api is the API as its administrator has it.
func (s *serving) api() *apiclient.Client {
	s.t.Helper()
	token, err := os.ReadFile(s.TokenFile)
	if err != nil {
		s.t.Fatal(err)
	}
	return apiclient.New(apiclient.Config{URL: "http://" + s.HTTP, Token: strings.TrimSpace(string(token))})
}

func (s *serving) invite() string {
	s.t.Helper()
	i, err := Invite(context.Background(), s.cfg.Data)
	if err != nil {
		s.t.Fatal(err)
	}
	return i.URL
}

func TestASurrogateServesUntilItIsStoppedAndComesBackTheSame(t *testing.T) {
	cfg := local(t)
	s := serve(t, cfg)
	reply, err := http.Get("http://" + s.HTTP + "/api/v1/jobs")
	if err != nil {
		t.Fatal(err)
	}
	reply.Body.Close()
	if reply.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a token: %s", reply.Status)
	}
	if _, err := s.api().Jobs(context.Background()); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]os.FileMode{TokenFile(cfg.Data): 0o600, AdminSocket(cfg.Data): 0o600} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	first, err := control.ParseInvite(s.invite())
	if err != nil || first.Addr != s.Control {
		t.Errorf("invited to %s (%v), want %s", first.Addr, err, s.Control)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(AdminSocket(cfg.Data)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the administration socket stays: %v", err)
	}
	s = serve(t, cfg)
	if again, err := control.ParseInvite(s.invite()); err != nil || again.Pin != first.Pin {
		t.Errorf("after a restart invites pin %s (%v), want %s", again.Pin, err, first.Pin)
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestASocketThatAKillLeftBehindIsReplaced(t *testing.T) {
	cfg := local(t)
	if err := os.WriteFile(AdminSocket(cfg.Data), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	serve(t, cfg).invite()
}

func TestASurrogateThatCannotStartSaysWhatToChange(t *testing.T) {
	running := serve(t, local(t))
	file := filepath.Join(tempDir(t), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"folder in use":      {func(c *Config) { c.Data = running.cfg.Data }, "in use"},
		"folder is a file":   {func(c *Config) { c.Data = file }, file},
		"HTTP port taken":    {func(c *Config) { c.HTTP = running.HTTP }, "--http"},
		"control port taken": {func(c *Config) { c.Control = running.Control }, "--control"},
		"TCP port taken":     {func(c *Config) { c.ControlTCP = running.HTTP }, "control port over TCP: listen tcp " + running.HTTP + ": bind: address already in use: choose another with --control-tcp"},
		"TCP port elsewhere": {func(c *Config) { c.ControlTCP = "192.0.2.77:443" }, "--control-tcp"},
		"path too long":      {func(c *Config) { c.Data = filepath.Join(c.Data, strings.Repeat("x", 100)) }, "--data"},
		"insecure":           {func(c *Config) { c.HTTP = ":0" }, "--insecure-http"},
	} {
		cfg := local(t)
		c.change(&cfg)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		err := Serve(ctx, cfg, func(Info) { t.Errorf("%s: it runs", name); cancel() })
		cancel()
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
	running.invite() // is not disturbed by the others
}

func TestAnInviteNeedsASurrogateThatRuns(t *testing.T) {
	_, err := Invite(context.Background(), tempDir(t))
	if err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v", err)
	}
}

// trackerLog is a tracker that knows nobody and notes the events it is told.
type trackerLog struct {
	mu     sync.Mutex
	events []string
}

func (l *trackerLog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/announce" {
		http.NotFound(w, r) // it has no figures to scrape
		return
	}
	event := r.FormValue("event")
	if event == "stopped" {
		time.Sleep(300 * time.Millisecond) // whoever does not wait has ended by then
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, event)
	io.WriteString(w, "d8:intervali1800e5:peers0:e")
}

func (l *trackerLog) seen() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.events, " ")
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// device is an agent that has joined and runs.
type device struct {
	cfg   edgeagent.Config
	ended chan error
	stop  context.CancelFunc
}

func (s *serving) device(name string) *device {
	s.t.Helper()
	dir := tempDir(s.t)
	d := &device{
		cfg:   edgeagent.Config{State: filepath.Join(dir, "state"), Dir: filepath.Join(dir, "downloads"), Listen: "127.0.0.1:0", Name: name},
		ended: make(chan error, 1),
	}
	ctx, cancel := context.WithCancel(context.Background())
	if _, err := edgeagent.Join(ctx, d.cfg, s.invite()); err != nil {
		s.t.Fatal(err)
	}
	d.stop = cancel
	go func() { d.ended <- edgeagent.Run(ctx, d.cfg) }()
	s.t.Cleanup(func() { cancel(); d.ended <- <-d.ended })
	eventually(s.t, name+" is online", func() bool {
		all, err := s.api().Devices(ctx)
		return err == nil && len(all) == 1 && all[0].Online
	})
	return d
}

// torrentFile is a .torrent file of 16 bytes, announced to a tracker.
func torrentFile(announce string) []byte {
	sum := sha1.Sum([]byte("sixteen bytes !!"))
	return fmt.Appendf(nil, "d8:announce%d:%s4:infod6:lengthi16e4:name5:a.txt12:piece lengthi16384e6:pieces20:%see", len(announce), announce, sum)
}

func TestAJobGoesFromTheAPIToTheDeviceAndBackOverRestarts(t *testing.T) {
	var told trackerLog
	web := httptest.NewServer(&told)
	defer web.Close()
	cfg := local(t)
	cfg.AllowPrivate, cfg.Control = true, ownAddr() // devices come back to the port they know
	s := serve(t, cfg)
	d := s.device("attic")
	ctx := context.Background()
	j, err := s.api().Add(ctx, apiclient.NewJob{Torrent: torrentFile(web.URL + "/announce"), Target: "device:attic"})
	if err != nil {
		t.Fatal(err)
	}
	is := func(state apiclient.State) func() bool {
		return func() bool {
			got, err := s.api().Job(ctx, j.ID)
			return err == nil && got.State == state
		}
	}
	eventually(t, "the device downloads", is(apiclient.StateDownloading))
	eventually(t, "the tracker is told", func() bool { return told.seen() == "started" })

	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if got := told.seen(); got != "started stopped" {
		t.Errorf("when the surrogate has stopped the tracker was told %q", got)
	}
	s = serve(t, cfg)
	eventually(t, "the device is back", is(apiclient.StateDownloading))
	if _, err := s.api().Pause(ctx, j.ID); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the device has paused", func() bool {
		st, err := edgeagent.ReadStatus(d.cfg.State)
		return err == nil && len(st.Torrents) == 1 && st.Torrents[0].State == "paused"
	})
	if err := os.WriteFile(filepath.Join(d.cfg.Dir, "a.txt"), []byte("sixteen bytes !!"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := s.api().Verify(ctx, j.ID); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what lies there is found", is(apiclient.StateSeeding))
	if err := s.api().Remove(ctx, j.ID, true); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the job is gone", func() bool {
		all, err := s.api().Jobs(ctx)
		return err == nil && len(all) == 0
	})
	if _, err := os.Stat(filepath.Join(d.cfg.Dir, "a.txt")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
}

func TestARevokedDeviceEndsAndNothingWaitsForIt(t *testing.T) {
	s := serve(t, local(t))
	d := s.device("attic")
	ctx := context.Background()
	j, err := s.api().Add(ctx, apiclient.NewJob{Torrent: torrentFile("http://127.0.0.1:1/announce"), Target: "device:attic"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.api().RevokeDevice(ctx, "attic"); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-d.ended:
		d.ended <- err
		if refused := (control.Refused{}); !errors.As(err, &refused) || refused.Code != control.RefusedRevoked {
			t.Errorf("the agent ended with %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the agent still runs")
	}
	if got, err := s.api().Job(ctx, j.ID); err != nil || got.State != apiclient.StateFailed || !strings.Contains(got.Message, "revoked") {
		t.Errorf("its job is %+v, %v", got, err)
	}
	if err := s.api().Remove(ctx, j.ID, false); err != nil {
		t.Fatal(err)
	}
	if all, err := s.api().Jobs(ctx); err != nil || len(all) != 0 {
		t.Errorf("the jobs are %v, %v", all, err)
	}
	if err := edgeagent.Run(ctx, d.cfg); !errors.As(err, new(control.Refused)) {
		t.Errorf("the revoked agent runs again: %v", err)
	}
}

func TestMistakesInTheAPIAreToldFromFaults(t *testing.T) {
	s := serve(t, local(t))
	s.device("attic")
	ctx := context.Background()
	status := func(err error) int {
		var e *apiclient.Error
		if errors.As(err, &e) {
			return e.Status
		}
		t.Errorf("%v is no answer of the API", err)
		return 0
	}
	_, err := s.api().Job(ctx, "nosuch")
	if got := status(err); got != http.StatusNotFound {
		t.Errorf("unknown job: %d", got)
	}
	_, err = s.api().Add(ctx, apiclient.NewJob{Magnet: "magnet:?xt=urn:btih:zz", Target: "device:attic"})
	if got := status(err); got != http.StatusUnprocessableEntity {
		t.Errorf("bad magnet: %d", got)
	}
	_, err = s.api().Add(ctx, apiclient.NewJob{Torrent: torrentFile("http://127.0.0.1:1/"), Target: "device:cellar"})
	if got := status(err); got != http.StatusNotFound {
		t.Errorf("unknown device: %d", got)
	}
	_, err = s.api().RenameDevice(ctx, "attic", "!")
	if got := status(err); got != http.StatusUnprocessableEntity {
		t.Errorf("bad name: %d", got)
	}
	if got, err := s.api().RenameDevice(ctx, "attic", "barn"); err != nil || got.Name != "barn" {
		t.Errorf("renamed: %+v, %v", got, err)
	}
	for range 2 {
		_, err = s.api().Add(ctx, apiclient.NewJob{Torrent: torrentFile("http://127.0.0.1:1/"), Target: "device:barn"})
	}
	if got := status(err); got != http.StatusConflict {
		t.Errorf("added twice: %d", got)
	}
}

func TestAStrangerOnTheControlPortChangesNothing(t *testing.T) {
	s := serve(t, local(t))
	c, err := net.Dial("udp", s.Control)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for n := range 100 {
		c.Write([]byte(strings.Repeat("\xc3garbage", n)))
	}
	s.device("attic")
}
