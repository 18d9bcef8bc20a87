package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// natsServer is a NATS server in a process of its own, which can be killed and started again.
type natsServer struct {
	t       *testing.T
	command func() *exec.Cmd
	cmd     *exec.Cmd
	addr    string
	url     string
}

// eachNATS runs a test with the server that we link, and with Debian's, which is years older.
func eachNATS(t *testing.T, test func(t *testing.T, n *natsServer)) {
	t.Run("ours", func(t *testing.T) {
		t.Parallel()
		test(t, startNATS(t, ""))
	})
	t.Run("Debian's", func(t *testing.T) {
		t.Parallel()
		program, err := exec.LookPath("nats-server")
		if err != nil {
			program, err = exec.LookPath("/usr/sbin/nats-server")
		}
		if err != nil {
			reason := "nats-server is not installed: install the Debian package nats-server"
			if os.Getenv("CI") == "true" {
				t.Fatal(reason)
			}
			t.Skip(reason)
		}
		test(t, startProgram(t, program))
	})
}

// startNATS runs the server that is linked into this program, with further lines of configuration.
func startNATS(t *testing.T, config string) *natsServer {
	return (&natsServer{t: t}).start(func(addr string) *exec.Cmd {
		return child(t, "nats", writeConfig(t, addr, "jetstream { store_dir: %q, sync_interval: always }\n"+config))
	})
}

// startWithout runs a server without JetStream.
func startWithout(t *testing.T, config string) *natsServer {
	return (&natsServer{t: t}).start(func(addr string) *exec.Cmd { return child(t, "nats", writeConfig(t, addr, "# %q\n"+config)) })
}

func startProgram(t *testing.T, program string) *natsServer {
	return (&natsServer{t: t}).start(func(addr string) *exec.Cmd {
		cmd := exec.Command(program, "-c", writeConfig(t, addr, "jetstream { store_dir: %q }\n"))
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		return cmd
	})
}

// writeConfig writes a server's configuration file; config has a place for a folder.
func writeConfig(t *testing.T, addr, config string) string {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "nats.conf")
	check(t, os.WriteFile(file, fmt.Appendf(nil, "listen: %s\n"+config, addr, filepath.Join(dir, "data")), 0o600))
	return file
}

// runNATS is the server until it is killed.
func runNATS(file string) error {
	o, err := server.ProcessConfigFile(file)
	if err != nil {
		return err
	}
	o.NoSigs, o.NoLog = true, true
	s, err := server.NewServer(o)
	if err != nil {
		return err
	}
	s.Start()
	s.WaitForShutdown()
	return nil
}

var addresses atomic.Uint32 // that were given out

// ownAddr is an address that is used by nobody else while a server is started on it, killed and started again: ports of 127.0.0.1
// come and go, with other tests and other processes.
func ownAddr() string {
	pid := os.Getpid()
	return fmt.Sprintf("127.%d.%d.%d:4222", 1+addresses.Add(1)%254, byte(pid>>8), byte(pid))
}

func (n *natsServer) start(command func(addr string) *exec.Cmd) *natsServer {
	n.t.Helper()
	n.addr = ownAddr()
	n.url = "nats://" + n.addr
	first := command(n.addr) // its configuration serves for all starts
	n.command = func() *exec.Cmd {
		cmd := exec.Command(first.Path, first.Args[1:]...) // outlives the test's context, for the stores to close
		cmd.Env, cmd.SysProcAttr = first.Env, first.SysProcAttr
		return cmd
	}
	n.restart()
	n.t.Cleanup(n.kill)
	return n
}

// restart starts the server and returns when it takes connections.
func (n *natsServer) restart() {
	n.t.Helper()
	n.cmd = n.command()
	check(n.t, n.cmd.Start())
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", n.addr)
		if err == nil {
			check(n.t, conn.Close())
			return
		}
		if time.Now().After(deadline) {
			n.t.Fatal("the NATS server does not start: ", err)
		}
	}
}

// kill ends the server as kill -9 does.
func (n *natsServer) kill() {
	_ = n.cmd.Process.Kill()
	_ = n.cmd.Wait()
}

// open opens a store on the server. dir may be empty.
func (n *natsServer) open(dir string) *Store {
	n.t.Helper()
	s, err := Open(context.Background(), Config{URL: n.url, Dir: dir})
	check(n.t, err)
	n.t.Cleanup(s.Close)
	return s
}

func TestExternalStoreKeepsEverything(t *testing.T) {
	eachNATS(t, func(t *testing.T, n *natsServer) {
		s := n.open("")
		tb, bl := table(t, s, "jobs"), blobs(t, s, "infos")
		big := content(3*chunkSize+5, 1)
		for i, k := range keys {
			check(t, tb.Create(t.Context(), k.key, record{N: i}))
		}
		if err := tb.Create(t.Context(), "a.b", record{}); !errors.Is(err, ErrExists) {
			t.Error(err)
		}
		_, err := tb.Update(t.Context(), "a.b", func(r *record) error { r.N = -1; return nil })
		check(t, err)
		check(t, bl.Put(t.Context(), "b", big))
		s.Close()
		n.kill()
		n.restart()

		s = n.open("")
		tb, bl = table(t, s, "jobs"), blobs(t, s, "infos")
		if all, err := tb.All(t.Context()); err != nil || len(all) != len(keys) || all["a.b"].N != -1 {
			t.Errorf("%v, %v", all, err)
		}
		if got, err := bl.Get(t.Context(), "b"); err != nil || string(got) != string(big) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		check(t, tb.Delete(t.Context(), "a.b"))
		if _, err := tb.Get(t.Context(), "a.b"); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
		// Others on the same server are left alone.
		for name := range s.js.StreamNames(t.Context()).Name() {
			if !strings.HasPrefix(name, "KV_simplebit-") && !strings.HasPrefix(name, "OBJ_simplebit-") {
				t.Errorf("stream %s", name)
			}
		}
	})
}

func TestAcknowledgedWritesSurviveKillsOfTheServer(t *testing.T) {
	eachNATS(t, func(t *testing.T, n *natsServer) {
		s := n.open("")
		tb := table(t, s, "jobs")
		stop, done := make(chan struct{}), make(chan struct{})
		acked, failed := 0, 0
		var written atomic.Int64
		progress := func() {
			t.Helper()
			deadline := time.Now().Add(patience)
			for enough := written.Load() + 7; written.Load() < enough; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("nothing is written")
				}
			}
		}
		end := sync.OnceFunc(func() { close(stop); <-done })
		defer end()
		go func() {
			defer close(done)
			for i := 1; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if err := tb.Put(t.Context(), fmt.Sprint("k", i%7), record{N: i}); err == nil {
					acked = i
					written.Add(1)
				} else if failed++; !errors.Is(err, ErrUnreachable) || strings.Contains(err.Error(), "\n") {
					t.Errorf("write %d: %v", i, err)
				}
			}
		}()
		for range 3 {
			progress()
			time.Sleep(rand.N(50 * time.Millisecond)) // into the middle of a write
			n.kill()
			time.Sleep(100 * time.Millisecond)
			n.restart()
		}
		progress()
		end()
		all, err := tb.All(t.Context())
		check(t, err)
		last := 0
		for _, r := range all {
			last = max(last, r.N)
		}
		if last < acked {
			t.Errorf("write %d was acknowledged, %d is the last that is there", acked, last)
		}
		t.Logf("%d writes, %d of them failed", acked, failed)
	})
}

func TestOperationsFailClearlyWhileTheServerIsAway(t *testing.T) {
	t.Parallel()
	n := startNATS(t, "")
	s := n.open("")
	tb, bl := table(t, s, "jobs"), blobs(t, s, "infos")
	check(t, tb.Put(t.Context(), "k", record{N: 1}))
	n.kill()
	var all sync.WaitGroup
	for what, do := range map[string]func() error{
		"writing":    func() error { return tb.Put(t.Context(), "k", record{N: 2}) },
		"reading":    func() error { _, err := tb.Get(t.Context(), "k"); return err },
		"all":        func() error { _, err := tb.All(t.Context()); return err },
		"deleting":   func() error { return tb.Delete(t.Context(), "k") },
		"blob":       func() error { return bl.Put(t.Context(), "b", nil) },
		"opening":    func() error { _, err := OpenTable[record](t.Context(), s, "others"); return err },
		"backing up": func() error { _, err := s.Backup(t.Context(), new(strings.Builder)); return err },
	} {
		all.Go(func() {
			before := time.Now()
			err := do()
			if took := time.Since(before); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), n.url) || took >= externalTimeout {
				t.Errorf("%s: %v after %v", what, err, took)
			}
		})
	}
	all.Wait()
	n.restart()
	deadline := time.Now().Add(patience)
	for err := errors.New("none"); err != nil; {
		if _, err = tb.Get(t.Context(), "k"); time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	check(t, tb.Put(t.Context(), "k", record{N: 3}))
	if got, err := tb.Get(t.Context(), "k"); err != nil || got.N != 3 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestSecondSurrogateOnOneServerIsRefused(t *testing.T) {
	eachNATS(t, func(t *testing.T, n *natsServer) {
		dir := t.TempDir()
		first := n.open(dir)
		host, _ := os.Hostname()
		holder := fmt.Sprintf("%s, process %d, %s", host, os.Getpid(), dir)
		before := time.Now()
		_, err := Open(t.Context(), Config{URL: n.url, Dir: t.TempDir()})
		if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), holder) || time.Since(before) >= leaseTime {
			t.Errorf("after %v: %v, want %s", time.Since(before), err, holder)
		}
		check(t, table(t, first, "jobs").Put(t.Context(), "k", record{}))
		first.Close()
		if _, waited := n.openTelling(t.TempDir()); waited {
			t.Error("waited for the lease of a store that was given back")
		}
	})
}

// holdExternal has an external store open until the process is killed. where is its address and folder.
func holdExternal(where string) error {
	url, dir, _ := strings.Cut(where, " ")
	s, err := Open(context.Background(), Config{URL: url, Dir: dir})
	if err != nil {
		return err
	}
	fmt.Println("open")
	return s.Hold(context.Background())
}

func TestLeaseOfAKilledSurrogateRunsOut(t *testing.T) {
	t.Parallel()
	n := startNATS(t, "")
	dir := t.TempDir()
	killed := func() {
		t.Helper()
		cmd := child(t, "hold external", n.url+" "+dir)
		out, err := cmd.StdoutPipe()
		check(t, err)
		check(t, cmd.Start())
		b := make([]byte, 5)
		if _, err := io.ReadFull(out, b); err != nil || string(b) != "open\n" {
			t.Fatalf("%q, %v", b, err)
		}
		check(t, cmd.Process.Kill())
		_ = cmd.Wait()
	}
	killed()
	s, waited := n.openTelling(dir) // the folder's lock tells that it is dead
	if known := s.lease.record.Place != ""; waited == known {
		t.Errorf("in its own folder: waited %v, place known %v", waited, known)
	}
	s.Close()
	killed()
	copied := t.TempDir()
	copyFile(t, filepath.Join(dir, "id"), filepath.Join(copied, "id"))
	before := time.Now()
	_, waited = n.openTelling(copied)
	// A slow machine may take longer, by as much as it is slow.
	if took := time.Since(before); !waited || took < leaseTime || took > leaseTime+patience {
		t.Errorf("in a copy of the folder after %v", took)
	}
}

func TestSurrogateThatLostItsLeaseStops(t *testing.T) {
	t.Parallel()
	n := startNATS(t, "")
	s := n.open("")
	tb := table(t, s, "jobs")
	check(t, tb.Put(t.Context(), "k", record{N: 1}))
	held := make(chan error)
	go func() { held <- s.Hold(t.Context()) }()
	// Another takes it, as after a long sleep of this one.
	_, err := s.lease.kv.Put(t.Context(), leaseKey, []byte(`{"folder":"f","instance":"i","holder":"cellar, process 7"}`))
	check(t, err)
	err = <-held
	if !errors.Is(err, ErrLost) || !strings.Contains(err.Error(), "cellar, process 7") || strings.Contains(err.Error(), "\n") {
		t.Error(err)
	}
	if err := tb.Put(t.Context(), "k", record{N: 2}); !errors.Is(err, ErrLost) {
		t.Error(err)
	}
	s.Close() // does not give back what is another's
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := Open(ctx, Config{URL: n.url}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the other's lease: %v", err)
	}
}

func TestALeaseWhoseHolderSleptIsNotUsed(t *testing.T) {
	l := &lease{store: &Store{}}
	now := time.Now()
	l.extend(now)
	l.fence.Stop()
	for after, want := range map[time.Duration]bool{0: true, 9 * time.Second: true, 10 * time.Second: false, time.Hour: false} {
		if got := l.valid(now.Add(after)); got != want {
			t.Errorf("after %v: %v", after, got)
		}
	}
	// The wall clock went on while the monotonic one stood still.
	l.until = l.until.Add(time.Hour).Round(0).Add(-2 * time.Hour)
	if l.valid(now) {
		t.Error("valid by the monotonic clock alone")
	}
}

func TestHoldOfAnEmbeddedStoreEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	check(t, open(t, t.TempDir()).Hold(ctx))
}

func TestServersThatCannotBeUsedAreNamedWithTheReason(t *testing.T) {
	t.Parallel()
	users := `authorization { users: [
		{ user: u, password: secret },
		{ user: mute, password: secret, permissions: { publish: "x", subscribe: "_INBOX.>" } } ] }`
	locked := startNATS(t, users)
	host := locked.addr
	for _, c := range []struct {
		name, url, says string
		is              error
	}{
		{"nobody there", "nats://127.0.0.1:1", "connection refused", ErrUnreachable},
		{"no JetStream", startWithout(t, "").url, "has no JetStream: turn it on", nil},
		{"no user", locked.url, "refuses the user: check --nats-creds", nats.ErrAuthorization},
		{"wrong password", "nats://u:wrong@" + host, "refuses the user", nats.ErrAuthorization},
		{"no permissions", "nats://mute:secret@" + host, "check that JetStream is on and that the user may publish to", nil},
		{"no address", "nats://", "malformed", nil},
		{"another scheme", "http://" + host, "want nats://HOST:PORT", nil},
		{"no scheme", host, "want nats://HOST:PORT", nil},
		{"no NATS server", "nats://" + silentPort(t), "cannot connect", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := Open(t.Context(), Config{URL: c.url})
			if err == nil || !strings.Contains(err.Error(), c.says) || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("error %v", err)
			}
			if err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "wrong") || strings.Contains(err.Error(), "\n")) {
				t.Errorf("the error is not fit to be shown: %v", err)
			}
		})
	}
	t.Run("a user", func(t *testing.T) {
		s, err := Open(t.Context(), Config{URL: "nats://u:secret@" + host})
		check(t, err)
		s.Close()
	})
	t.Run("a file that is not there", func(t *testing.T) {
		if _, err := Open(t.Context(), Config{URL: locked.url, Credentials: "/does/not/exist"}); err == nil || !strings.Contains(err.Error(), "/does/not/exist") {
			t.Error(err)
		}
	})
	t.Run("more replicas than servers", func(t *testing.T) {
		if _, err := Open(t.Context(), Config{URL: "nats://u:secret@" + host, Replicas: 3}); err == nil || !strings.Contains(err.Error(), "replicas > 1 not supported") {
			t.Error(err)
		}
	})
}

// silentPort takes connections and says nothing NATS would.
func silentPort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(conn, "HTTP/1.1 400 Bad Request\r\n\r\n")
			conn.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return l.Addr().String()
}

func TestOwnStoreIsNotForgottenForAnEmptyServer(t *testing.T) {
	t.Parallel()
	n := startNATS(t, "")
	dir, _ := filled(t)
	_, err := Open(t.Context(), Config{URL: n.url, Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "move it by `rendezvous backup`") {
		t.Fatal(err)
	}
	other := n.open("")
	table(t, other, "jobs")
	other.Close()
	n.open(dir) // it is in use already
}
