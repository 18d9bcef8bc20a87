package swarm

import (
	"bytes"
	"context"
	"crypto/sha1"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"simplebit/edgeagent/storage"
	"simplebit/wire/dial"
	"simplebit/wire/mse"
	"simplebit/wire/peer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	fileName = "content"
	patience = time.Minute // for what must happen
)

var testHash = [20]byte{1, 2, 3}

// content is a torrent to test with.
type content struct {
	data   []byte
	piece  int
	hashes []byte
}

func newContent(length, piece int) *content {
	c := &content{data: make([]byte, length), piece: piece}
	rng := rand.NewChaCha8([32]byte{7})
	rng.Read(c.data)
	for rest := c.data; len(rest) > 0; {
		n := min(piece, len(rest))
		sum := sha1.Sum(rest[:n])
		c.hashes = append(c.hashes, sum[:]...)
		rest = rest[n:]
	}
	return c
}

func (c *content) layout() storage.Layout {
	return storage.Layout{
		PieceLength: c.piece,
		Length:      int64(len(c.data)),
		Files:       []storage.File{{Path: fileName, Length: int64(len(c.data))}},
		Hashes:      bytes.NewReader(c.hashes),
	}
}

// open makes a storage in dir that has the given bytes on disk already, all verified as far as they are right.
func (c *content) open(tb testing.TB, dir string, pool *storage.Pool, onDisk []byte) *storage.Torrent {
	tb.Helper()
	if onDisk != nil {
		if err := os.WriteFile(filepath.Join(dir, fileName), onDisk, 0o644); err != nil {
			tb.Fatal(err)
		}
	}
	s, err := storage.Open(storage.Config{
		Dir: dir, Journal: filepath.Join(dir, "journal"), Layout: c.layout(), Pool: pool,
	})
	if err != nil {
		tb.Fatal(err)
	}
	if onDisk != nil {
		if err := s.Verify(tb.Context(), nil); err != nil {
			tb.Fatal(err)
		}
	}
	return s
}

// node is a torrent that runs.
type node struct {
	*Torrent
	dir     string
	addr    netip.AddrPort // where it listens, if it does
	storage *storage.Torrent
	stop    func() error // ends Run and returns its error
	log     *recorder
	came    atomic.Int64 // bytes read from its links
}

// start runs a torrent with the given configuration, to which content, storage, pool and ids are added where missing.
func (c *content) start(tb testing.TB, name string, onDisk []byte, conf Config) *node {
	tb.Helper()
	return c.startIn(tb, tb.TempDir(), name, onDisk, conf)
}

func (c *content) startIn(tb testing.TB, dir, name string, onDisk []byte, conf Config) *node {
	tb.Helper()
	n := &node{dir: dir, log: &recorder{}}
	if conf.Pool == nil {
		conf.Pool = storage.NewPool(4 << 20)
	}
	n.storage = c.open(tb, n.dir, conf.Pool, onDisk)
	conf.InfoHash, conf.PieceLength, conf.Length, conf.Storage = testHash, c.piece, int64(len(c.data)), n.storage
	copy(conf.PeerID[:], "-SB0001-"+name)
	conf.Seed = 1
	if conf.Log == nil {
		conf.Log = slog.New(n.log)
	}
	var err error
	if n.Torrent, err = New(conf); err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	n.stop = sync.OnceValue(func() error {
		cancel()
		err := <-ended
		if err := n.storage.Close(); err != nil {
			tb.Errorf("closing the storage of %s: %v", name, err)
		}
		if free := conf.Pool.Free(); free != conf.Pool.Size() {
			tb.Errorf("%s leaked %d bytes of its pool", name, conf.Pool.Size()-free)
		}
		return err
	})
	tb.Cleanup(func() { n.stop() })
	return n
}

// listen has the node accept connections over loopback TCP.
func (n *node) listen(tb testing.TB) *node {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	n.addr = l.Addr().(*net.TCPAddr).AddrPort()
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				answer := func(hash [20]byte) (peer.Handshake, bool) { return n.Handshake(), hash == testHash }
				find := func(req2 [20]byte) ([20]byte, bool) { return testHash, req2 == mse.ReqHash(testHash) }
				if conn, err := dial.Accept(context.Background(), c, dial.Acceptor{Answer: answer, Find: find}); err == nil {
					n.Accept(conn)
				}
			})
		}
	})
	tb.Cleanup(func() {
		l.Close()
		n.stop()
		wg.Wait()
	})
	return n
}

// await waits until the condition holds for the node's status.
func (n *node) await(tb testing.TB, what string, ok func(Status) bool) Status {
	tb.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		s := n.Status()
		if ok(s) {
			return s
		}
		if time.Now().After(deadline) {
			tb.Fatalf("%s did not happen; status %+v; log:\n%s", what, s, n.log)
		}
	}
}

func (n *node) awaitSeeding(tb testing.TB) Status {
	tb.Helper()
	return n.await(tb, "completing the download", func(s Status) bool { return s.Seeding })
}

// reachable makes candidates that somebody has had a handshake from.
func reachable(addrs ...netip.AddrPort) []Candidate {
	list := make([]Candidate, len(addrs))
	for i, at := range addrs {
		list[i] = Candidate{Addr: at, Reachable: true}
	}
	return list
}

// compare checks the node's file against the content.
func (c *content) compare(tb testing.TB, n *node) {
	tb.Helper()
	got, err := os.ReadFile(filepath.Join(n.dir, fileName))
	if err != nil {
		tb.Fatal(err)
	}
	if !bytes.Equal(got, c.data) {
		tb.Fatal("the file differs from the content")
	}
}

// recorder keeps log records as lines.
type recorder struct {
	mu    sync.Mutex
	lines bytes.Buffer
}

func (r *recorder) Enabled(context.Context, slog.Level) bool { return true }
func (r *recorder) WithAttrs([]slog.Attr) slog.Handler       { return r }
func (r *recorder) WithGroup(string) slog.Handler            { return r }
func (r *recorder) Handle(_ context.Context, rec slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprint(&r.lines, rec.Level, " ", rec.Message)
	rec.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&r.lines, " %s=%v", a.Key, a.Value)
		return true
	})
	r.lines.WriteByte('\n')
	return nil
}

func (r *recorder) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lines.String()
}
