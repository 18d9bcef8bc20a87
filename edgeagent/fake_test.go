package edgeagent

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha1"
	"crypto/tls"
	"errors"
	"flag"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"go.uber.org/goleak"

	"simplebit/integration/natlab"
	"simplebit/wire/control"
	"simplebit/wire/link"
)

func TestMain(m *testing.M) {
	// A fuzzing worker talks with its parent by files that Enter does not hand on.
	flag.Parse()
	if flag.Lookup("test.fuzz").Value.String() == "" {
		natlab.Enter()
	}
	goleak.VerifyTestMain(m)
}

const patience = 30 * time.Second // for what must happen

// home is the surrogate's side of the control protocol, driven by a test.
type home struct {
	t    *testing.T
	tls  *tls.Config
	ln   link.Listener
	addr string
	pin  control.Pin
	tcp  link.Listener // nil without TCP
	gate *lossy
}

// lossy is a socket that loses everything while it is shut.
type lossy struct {
	plainConn
	shut atomic.Bool
}

func (g *lossy) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := g.plainConn.ReadFrom(b)
		if err != nil || !g.shut.Load() {
			return n, from, err
		}
	}
}

func newKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	key, err := control.NewKey()
	ok(t, err)
	return key
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits until something holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func newHome(t *testing.T) *home {
	t.Helper()
	return newHomeWith(t, quic.Config{})
}

// newHomeWith is newHome with other limits.
func newHomeWith(t *testing.T, limits quic.Config) *home {
	t.Helper()
	deployment := newKey(t)
	conf, err := control.SurrogateTLS(newKey(t), deployment)
	ok(t, err)
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	ok(t, err)
	gate := &lossy{plainConn: plainConn{socket}}
	transport := &quic.Transport{Conn: gate}
	limits.MaxIncomingUniStreams = -1
	ln, err := transport.Listen(conf, &limits)
	ok(t, err)
	t.Cleanup(func() { transport.Close(); socket.Close() })
	return &home{t: t, tls: conf, ln: link.ListenQUIC(ln), addr: ln.Addr().String(), pin: control.PinOf(deployment.Public().(ed25519.PublicKey)), gate: gate}
}

func (h *home) invite(token string) string {
	return control.Invite{Addr: h.addr, Pin: h.pin, Token: token, TCP: h.tcpPort()}.String()
}

// newBlockedHome is one to which UDP does not get through, and which takes agents over TCP.
func newBlockedHome(t *testing.T) *home {
	t.Helper()
	h := newHome(t)
	h.gate.shut.Store(true)
	h.listenTCP()
	return h
}

// listenTCP takes agents over TCP too.
func (h *home) listenTCP() {
	h.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	ok(h.t, err)
	h.t.Cleanup(func() { ln.Close() })
	h.tcp = link.ListenTCP(ln, h.tls, link.Limits{})
}

func (h *home) tcpPort() uint16 {
	if h.tcp == nil {
		return 0
	}
	return h.tcp.Addr().Port()
}

// guest is one connection of an agent, after its Hello.
type guest struct {
	t      *testing.T
	conn   link.Conn
	stream link.Stream
	frames *control.Reader
	hello  control.Hello
	device control.DeviceID

	useless map[netip.AddrPort]control.UnusableReason // told so far
}

// accept waits for an agent that says Hello.
func (h *home) accept() *guest {
	h.t.Helper()
	return h.acceptBy(h.ln)
}

func (h *home) acceptBy(ln link.Listener) *guest {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := ln.Accept(ctx)
	ok(h.t, err)
	h.t.Cleanup(func() { conn.Close(0, "") })
	stream, err := conn.Accept(ctx)
	ok(h.t, err)
	g := &guest{
		t: h.t, conn: conn, stream: stream, frames: control.NewReader(stream), useless: map[netip.AddrPort]control.UnusableReason{},
	}
	g.device, err = control.PeerDevice(conn.TLS())
	ok(h.t, err)
	g.hello = next[control.Hello](g)
	return g
}

// welcome accepts an agent and returns its inventory.
func (h *home) welcome() (*guest, map[infoHash]control.Progress) {
	h.t.Helper()
	return h.welcomeBy(h.ln)
}

func (h *home) welcomeBy(ln link.Listener) (*guest, map[infoHash]control.Progress) {
	h.t.Helper()
	g := h.acceptBy(ln)
	g.send(control.Welcome{Version: control.Version, Software: "test", Name: "attic", TCP: h.tcpPort()})
	inventory := map[infoHash]control.Progress{}
	for {
		switch m := g.next().(type) {
		case control.Progress:
			inventory[m.ID] = m
		case control.Synced:
			return g, inventory
		default:
			h.t.Fatalf("%#v in the inventory", m)
		}
	}
}

func (g *guest) send(m control.Message) {
	g.t.Helper()
	ok(g.t, control.WriteMessage(g.stream, m))
}

// next returns the next message. Addresses of no use, which come at any time,
// are noted on the way, and what is known of the network is left to other tests.
func (g *guest) next() control.Message {
	g.t.Helper()
	for {
		if m := g.read(); m != nil {
			return m
		}
	}
}

// read is next, but returns nil where that passes something over.
func (g *guest) read() control.Message {
	g.t.Helper()
	g.stream.SetReadDeadline(time.Now().Add(patience))
	m, err := g.frames.Next()
	ok(g.t, err)
	switch m := m.(type) {
	case control.Unusable:
		for _, p := range m.Peers {
			g.useless[p.Addr] = p.Reason
		}
		return nil
	case control.Network:
		return nil
	}
	return m
}

func next[T control.Message](g *guest) T {
	g.t.Helper()
	m, ok := g.next().(T)
	if !ok {
		g.t.Fatalf("got %#v, want a %T", m, m)
	}
	return m
}

// until reads reports until one satisfies ok.
func (g *guest) until(what string, ok func(control.Progress) bool) control.Progress {
	g.t.Helper()
	for {
		if p := next[control.Progress](g); ok(p) {
			return p
		}
	}
}

// reports waits for a report of a state, and checks its generation.
func (g *guest) reports(id infoHash, generation uint64, state control.State) control.Progress {
	g.t.Helper()
	p := g.until(state.String(), func(p control.Progress) bool { return p.ID == id && p.State == state })
	if p.Generation != generation {
		g.t.Fatalf("%s is reported at generation %d, want %d", state, p.Generation, generation)
	}
	return p
}

// gone waits for the answer to an Unassign.
func (g *guest) gone(id infoHash) {
	g.t.Helper()
	for {
		switch m := g.next().(type) {
		case control.Progress:
		case control.Gone:
			if m.ID != id {
				g.t.Fatalf("%x is gone, want %x", m.ID, id)
			}
			return
		default:
			g.t.Fatalf("got %#v, want a Gone", m)
		}
	}
}

// quiet fails when the agent sends anything for a while.
func (g *guest) quiet(d time.Duration) {
	g.t.Helper()
	g.stream.SetReadDeadline(time.Now().Add(d))
	if m, err := g.frames.Next(); !errors.Is(err, os.ErrDeadlineExceeded) {
		g.t.Fatalf("got %#v (%v), want silence", m, err)
	}
}

// ended waits for the agent to end the connection.
func (g *guest) ended() {
	g.t.Helper()
	select {
	case <-g.conn.Done():
	case <-time.After(patience):
		g.t.Fatal("the connection is still open")
	}
}

// open opens a stream.
func (g *guest) open() link.Stream {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := g.conn.Open(ctx)
	ok(g.t, err)
	return s
}

func (g *guest) sendLayout(b []byte) {
	g.t.Helper()
	s := g.open()
	_, err := s.Write(b)
	ok(g.t, err)
	ok(g.t, s.CloseWrite())
	s.SetReadDeadline(time.Now().Add(patience))
	if n, err := s.Read(make([]byte, 1)); n > 0 || os.IsTimeout(err) {
		g.t.Errorf("the agent answers a layout with %d bytes, %v", n, err)
	}
}

// refused waits until the agent has refused a stream.
func refused(t *testing.T, s link.Stream) {
	t.Helper()
	eventually(t, "the agent takes the stream no more", func() bool {
		_, err := s.Write([]byte{0})
		return errors.Is(err, link.ErrCancelled)
	})
}

// running is an agent that runs.
type running struct {
	t    *testing.T
	cfg  Config
	stop context.CancelFunc
	err  chan error
}

// tempDir is a folder whose path leaves room for a unix socket's name.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sb")
	ok(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// joined is the configuration of an agent that has joined.
func joined(t *testing.T, h *home) Config {
	t.Helper()
	dir := tempDir(t)
	cfg := Config{State: filepath.Join(dir, "state"), Dir: filepath.Join(dir, "downloads"), Listen: "127.0.0.1:0", Software: "SimpleBit test"}
	cfg.retry = func(int) time.Duration { return 10 * time.Millisecond }
	cfg.reportEvery = 20 * time.Millisecond
	s, err := openState(cfg.State)
	ok(t, err)
	defer s.close()
	ok(t, s.saveSurrogate(surrogate{Addr: h.addr, Pin: h.pin.String(), Name: "attic", TCP: h.tcpPort()}))
	return cfg
}

func start(t *testing.T, cfg Config) *running {
	t.Helper()
	if os.Getenv("SIMPLEBIT_TEST_LOG") != "" {
		cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{t, cfg, cancel, make(chan error, 1)}
	go func() { r.err <- Run(ctx, cfg) }()
	t.Cleanup(func() {
		if err := r.end(); err != nil && t.Failed() {
			t.Logf("the agent has ended with %v", err)
		}
	})
	return r
}

// end stops the agent and returns what Run returned.
func (r *running) end() error {
	r.t.Helper()
	r.stop()
	return r.ends()
}

// ends waits for the agent to end by itself.
func (r *running) ends() error {
	r.t.Helper()
	select {
	case err := <-r.err:
		r.err <- err
		return err
	case <-time.After(patience):
		r.t.Fatal("the agent does not end")
	}
	return nil
}

// testTorrent is a torrent for tests: two files, five pieces.
type testTorrent struct {
	id     infoHash
	bytes  []byte
	layout []byte
	hashes []byte
	held   <-chan struct{} // who seeds it sends nothing before this is closed; nil: at once
}

const testPiece = 16 << 10

// newTorrent makes a torrent of files a and b in a folder.
func newTorrent(t *testing.T, name string) testTorrent {
	t.Helper()
	content := bytes.Repeat([]byte(name+" is the content of this torrent\n"), 10000)[:4*testPiece+1000]
	h := control.LayoutHeader{ID: sha1.Sum([]byte(name)), Name: name, PieceLength: testPiece, Length: int64(len(content)), Files: 2, Pieces: 5}
	half := int64(len(content) / 2)
	files := []control.LayoutFile{{Path: name + "/a", Length: half}, {Path: name + "/b", Length: h.Length - half}}
	tt := testTorrent{id: h.ID, bytes: content}
	for at := 0; at < len(content); at += testPiece {
		sum := sha1.Sum(content[at:min(at+testPiece, len(content))])
		tt.hashes = append(tt.hashes, sum[:]...)
	}
	var b bytes.Buffer
	ok(t, control.WriteLayout(&b, h, files, tt.hashes))
	tt.layout = b.Bytes()
	return tt
}

// place puts the whole content into a download folder.
func (tt testTorrent) place(t *testing.T, dir, name string) {
	t.Helper()
	half := len(tt.bytes) / 2
	ok(t, os.MkdirAll(filepath.Join(dir, name), 0o755))
	ok(t, os.WriteFile(filepath.Join(dir, name, "a"), tt.bytes[:half], 0o644))
	ok(t, os.WriteFile(filepath.Join(dir, name, "b"), tt.bytes[half:], 0o644))
}

// assign assigns a torrent and gives its layout.
func (g *guest) assign(tt testTorrent, generation uint64) {
	g.t.Helper()
	g.send(control.Assign{ID: tt.id, Generation: generation})
	g.reports(tt.id, generation, control.StateLayout)
	g.sendLayout(tt.layout)
}
