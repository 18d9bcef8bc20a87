package dht

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

const patience = time.Minute // for what must happen

func listen(t *testing.T) net.PacketConn {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// start runs a node on loopback until stop.
func start(t *testing.T, c Config) (n *Node, stop func()) {
	t.Helper()
	c.Port = 6881
	n, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return n, stop
}

// wait polls until something holds.
func wait(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// output collects a log.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func TestSocketsAndGoroutinesEndWithRun(t *testing.T) {
	before := map[string]bool{} // of nodes of others in tests that have ended
	for _, stack := range stacks() {
		id, _, _ := strings.Cut(stack, " [")
		before[id] = true
	}
	conns := []net.PacketConn{listen(t), listen(t)}
	a, stopA := start(t, Config{V4: conns[0], Bootstrap: []string{}})
	b, stopB := start(t, Config{V4: conns[1], Bootstrap: []string{conns[0].LocalAddr().String()}})
	s := b.Search(Search{InfoHash: id('h'), Peers: func([]netip.AddrPort) {}})
	wait(t, "the nodes know each other", func() bool { return s.Status().Nodes == 1 && a.good() == 1 && !s.Status().Next.IsZero() })
	s.Stop()
	s.Stop()
	s.Poke()
	if !s.Status().Next.IsZero() {
		t.Error("a session that was stopped goes on")
	}
	b.Search(Search{InfoHash: id('i'), Peers: func([]netip.AddrPort) {}}) // is never stopped
	start := time.Now()
	stopA()
	stopB()
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("ending took %v", took)
	}
	for _, c := range conns {
		if err := c.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a socket was left open: %v", err)
		}
	}
	ours := func() (left []string) {
		for _, stack := range stacks() {
			id, _, _ := strings.Cut(stack, " [")
			if strings.Contains(stack, "/dht") && !strings.Contains(stack, "testing.") && !before[id] {
				left = append(left, stack)
			}
		}
		return left
	}
	for deadline := time.Now().Add(patience); ours() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("goroutines are left:\n%s", strings.Join(ours(), "\n\n"))
		}
	}
}

// stacks are those of all goroutines.
func stacks() []string {
	b := make([]byte, 1<<20)
	return strings.Split(string(b[:runtime.Stack(b, true)]), "\n\n")
}

func TestANodeThatIsOutOfReachSaysWhatToDo(t *testing.T) {
	t.Parallel()
	silent := listen(t)
	for _, c := range []struct {
		bootstrap []string
		want      string
	}{
		{[]string{}, "name a node that runs with --dht-bootstrap"},
		{[]string{silent.LocalAddr().String()}, "check that UDP is let through"},
		{[]string{"nowhere.invalid:6881", "also-nowhere.invalid:6881"}, "check the DNS server of this machine, or give an IP address"},
		{[]string{"router"}, "correct --dht-bootstrap"},
		{[]string{"10.0.0.1:6881"}, "--allow-private"},
	} {
		t.Run(c.want, func(t *testing.T) {
			t.Parallel()
			var log output
			public := func(a netip.AddrPort) bool { return !a.Addr().IsPrivate() }
			n, _ := start(t, Config{V4: listen(t), Bootstrap: c.bootstrap, Dialable: public, Log: slog.New(slog.NewTextHandler(&log, nil))})
			s := n.Search(Search{InfoHash: id('h')})
			wait(t, "a line in the log", func() bool { return log.String() != "" })
			if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, c.want) || !strings.Contains(got, "level=WARN") {
				t.Errorf("the log is %q, want one line with %q", got, c.want)
			}
			wait(t, "an error in the status", func() bool { return s.Status().Error == errNoNodes.Error() })
			if next := time.Until(s.Status().Next); next > 15*time.Second {
				t.Errorf("the next try is in %v", next)
			}
		})
	}
}

func TestANodeThatAPeerNamesIsEnough(t *testing.T) {
	t.Parallel()
	other := listen(t)
	start(t, Config{V4: other, Bootstrap: []string{}})
	n, _ := start(t, Config{V4: listen(t), Bootstrap: []string{}})
	s := n.Search(Search{InfoHash: id('h'), Peers: func([]netip.AddrPort) {}})
	wait(t, "the node is alone", func() bool { return s.Status().Error == errNoNodes.Error() })
	began := time.Now()
	n.AddNode(addrPort(other.LocalAddr()))
	wait(t, "a search has succeeded", func() bool { return s.Status().Error == "" && s.Status().Nodes == 1 })
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("that took %v", took)
	}
}

func TestADamagedTableIsNoReasonNotToStart(t *testing.T) {
	for _, load := range []func(context.Context) ([]byte, error){
		func(context.Context) ([]byte, error) { return []byte("SBDHT1 and so on"), nil },
		func(context.Context) ([]byte, error) { return nil, errors.New("the store is down") },
	} {
		var log output
		saved := make(chan []byte, 1)
		_, stop := start(t, Config{
			V4: listen(t), Bootstrap: []string{}, Load: load, Log: slog.New(slog.NewTextHandler(&log, nil)),
			Save: func(_ context.Context, b []byte) error { saved <- b; return nil },
		})
		if !strings.Contains(log.String(), "the saved DHT nodes are lost") {
			t.Errorf("the log is %q", log.String())
		}
		stop()
		if table, err := parseSaved(<-saved); err != nil || table.v4.id == [20]byte{} {
			t.Errorf("saved was %+v, %v", table, err)
		}
	}
}

func TestATableThatCannotBeSavedIsAnError(t *testing.T) {
	n, err := Open(t.Context(), Config{V4: listen(t), Port: 6881, Bootstrap: []string{}, Save: func(context.Context, []byte) error { return errors.New("disk full") }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := n.Run(ctx); err == nil || err.Error() != "dht: save the node table: disk full" {
		t.Errorf("Run returned %v", err)
	}
}

func TestTheIDIsKeptAndFitsTheAddress(t *testing.T) {
	for _, c := range []struct {
		saved [20]byte
		seen  string
		keep  bool
	}{
		{[20]byte{}, "", false},
		{id('x'), "", true},
		{id('x'), "198.18.1.2", false},
		{id('x'), "2001:db8::2", false},
		// The examples of BEP 42, with zeros between.
		{[20]byte{0: 0x5f, 1: 0xbf, 2: 0xbf, 19: 0x01}, "124.31.75.21", true},
		{[20]byte{0: 0x5a, 1: 0x3c, 2: 0xe9, 19: 0x56}, "21.75.31.124", true},
		{[20]byte{0: 0xa5, 1: 0xd4, 2: 0x32, 19: 0x16}, "65.23.51.170", true},
	} {
		seen, _ := netip.ParseAddr(c.seen)
		got := identity(c.saved, seen)
		if (got == c.saved) != c.keep || got == [20]byte{} {
			t.Errorf("with the id %x at %q it is %x", c.saved, c.seen, got)
		}
		if again := identity(got, seen); again != got {
			t.Errorf("the id of %q is %x and then %x", c.seen, got, again)
		}
	}
}

func TestAConfigNeedsASocketAndAPort(t *testing.T) {
	conn := listen(t)
	for _, c := range []Config{{Port: 6881}, {V4: conn}} {
		if _, err := Open(t.Context(), c); err == nil {
			t.Errorf("a node was made of %+v", c)
		}
	}
	if err := conn.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the socket was left open: %v", err)
	}
}
