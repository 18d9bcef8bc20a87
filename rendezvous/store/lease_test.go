package store

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// openTelling opens a store and tells whether it had to wait for the lease of another.
func (n *natsServer) openTelling(dir string) (*Store, bool) {
	n.t.Helper()
	var log bytes.Buffer // written while the store is opened, and when the server goes away: after the test
	s, err := Open(context.Background(), Config{URL: n.url, Dir: dir, Log: slog.New(slog.NewTextHandler(&log, nil))})
	check(n.t, err)
	waited := strings.Contains(log.String(), "waiting to see whether it is alive")
	n.t.Cleanup(s.Close)
	return s, waited
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	check(t, err)
	check(t, os.WriteFile(to, b, 0o600))
}

func TestCopiedFolderDoesNotTakeALiveLease(t *testing.T) {
	t.Parallel()
	n := startNATS(t, "")
	dir, copied := t.TempDir(), t.TempDir()
	s := n.open(dir)
	copyFile(t, filepath.Join(dir, "id"), filepath.Join(copied, "id"))
	if _, err := Open(t.Context(), Config{URL: n.url, Dir: copied}); !errors.Is(err, ErrInUse) {
		t.Error(err)
	}
	check(t, table(t, s, "jobs").Put(t.Context(), "k", record{N: 1}))
}

func TestPlaceTellsMachinesRunsAndCopiesApart(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		check(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	lock := func(name string) *os.File {
		f, err := os.Open(file(name, ""))
		check(t, err)
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	ours, copied := lock("lock"), lock("copy")
	machine, boot := file("machine", "m1\n"), file("boot", "b1\n")
	other, empty, absent := file("other", "x\n"), file("empty", "\n"), filepath.Join(dir, "absent")
	was := leaseRecord{Folder: "f", Place: place(ours, []string{machine, boot})}
	for _, c := range []struct {
		name   string
		folder string
		lock   *os.File
		files  []string
		dead   bool
	}{
		{"the same", "f", ours, []string{machine, boot}, true},
		{"another folder", "g", ours, []string{machine, boot}, false},
		{"a copy on the machine", "f", copied, []string{machine, boot}, false},
		{"another machine", "f", ours, []string{other, boot}, false},
		{"a clone, or after a reboot", "f", ours, []string{machine, other}, false},
		{"no machine id", "f", ours, []string{absent, boot}, false},
		{"an empty boot id", "f", ours, []string{machine, empty}, false},
		{"no folder", "f", nil, []string{machine, boot}, false},
	} {
		now := leaseRecord{Folder: c.folder, Place: place(c.lock, c.files)}
		if got := was.isDead(now); got != c.dead {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	unknown := leaseRecord{Folder: "f"} // as older versions wrote it
	if unknown.isDead(unknown) {
		t.Error("two unknown places are the same")
	}
}

// proxy stands between a store and its server, and can hold up what goes through.
type proxy struct {
	gate sync.RWMutex // locked: nothing goes through
	url  string
}

func startProxy(t *testing.T, server string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	p := &proxy{url: "nats://" + l.Addr().String()}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", server)
			if err != nil {
				_ = client.Close()
				continue
			}
			all.Go(func() { p.pass(up, client) })
			all.Go(func() { p.pass(client, up) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	return p
}

func (p *proxy) pass(to, from net.Conn) {
	defer func() {
		_ = to.Close()
		_ = from.Close()
	}()
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		p.gate.RLock()
		_, err = to.Write(b[:n])
		p.gate.RUnlock()
		if err != nil {
			return
		}
	}
}

func TestOperationsEndWithTheLease(t *testing.T) {
	t.Parallel()
	n := startNATS(t, "")
	p := startProxy(t, n.addr)
	s, err := Open(t.Context(), Config{URL: p.url})
	check(t, err)
	t.Cleanup(s.Close)
	tb, bl := table(t, s, "jobs"), blobs(t, s, "infos")
	check(t, tb.Put(t.Context(), "k", record{N: 1}))

	p.gate.Lock()
	s.lease.extend(time.Now().Add(leaseMargin - leaseTime + time.Second)) // it has a second left
	cut := s.link.alive
	ctx, cancel := context.WithTimeout(t.Context(), externalTimeout-time.Second)
	defer cancel()
	var all sync.WaitGroup
	for what, do := range map[string]func() error{
		"writing": func() error { return tb.Put(ctx, "k", record{N: 2}) },
		"a blob":  func() error { return bl.Put(ctx, "b", content(2*chunkSize, 1)) },
	} {
		all.Go(func() {
			if err := do(); !errors.Is(err, ErrUnreachable) { // neither ctx nor the library's time limit
				t.Errorf("%s: %v", what, err)
			}
		})
	}
	all.Wait()
	if cut.Err() == nil {
		t.Error("the connection was not cut")
	}
	p.gate.Unlock()
	repeat(t, func(ctx context.Context) error { return tb.Put(ctx, "k", record{N: 3}) })
	if got, err := tb.Get(t.Context(), "k"); err != nil || got.N != 3 {
		t.Errorf("%v, %v", got, err)
	}
}
