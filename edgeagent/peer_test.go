package edgeagent

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"simplebit/wire/control"
	"simplebit/wire/dial"
	"simplebit/wire/mse"
	"simplebit/wire/peer"
)

func hexOf(id infoHash) string { return hex.EncodeToString(id[:]) }

// leech is a remote peer connected to the agent.
type leech struct {
	t *testing.T
	*dial.Conn
}

// dialAgent connects to the agent's peer port, which is its control port.
func dialAgent(t *testing.T, g *guest, tt testTorrent) leech {
	t.Helper()
	return dialAgentAt(t, g.conn.Remote().Port(), tt)
}

func dialAgentAt(t *testing.T, port uint16, tt testTorrent) leech {
	t.Helper()
	c, err := net.Dial("tcp", netip.AddrPortFrom(addr("127.0.0.1"), port).String())
	ok(t, err)
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	_, err = c.Write(peer.Handshake{Reserved: peer.Reserved(true, true), InfoHash: tt.id, PeerID: infoHash{'-', 'X'}}.AppendMarshal(nil))
	ok(t, err)
	b := make([]byte, peer.HandshakeSize)
	_, err = io.ReadFull(c, b)
	ok(t, err)
	hs, err := peer.ParseHandshake(b)
	ok(t, err)
	if hs.InfoHash != tt.id {
		t.Fatalf("the agent answers for %x", hs.InfoHash)
	}
	return leech{t, &dial.Conn{Conn: c, Peer: hs}}
}

// alive checks that the connection is open.
func (l leech) alive() {
	l.t.Helper()
	if err := l.drain(100 * time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		l.t.Errorf("the peer's connection ended: %v", err)
	}
}

// closed waits for the agent to close the connection.
func (l leech) closed() {
	l.t.Helper()
	if err := l.drain(patience); errors.Is(err, os.ErrDeadlineExceeded) {
		l.t.Error("the peer's connection is still open")
	}
}

func (l leech) drain(d time.Duration) error {
	l.SetReadDeadline(time.Now().Add(d))
	_, err := io.Copy(io.Discard, l.Conn.Conn)
	if err == nil {
		err = io.EOF
	}
	return err
}

// seed serves a torrent to whoever connects, and returns its address.
func seed(t *testing.T, tt testTorrent) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err)
	var conns sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); ln.Close(); conns.Wait() })
	conns.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { serve(ctx, c, tt) })
		}
	})
	return netip.MustParseAddrPort(ln.Addr().String())
}

// refusing is an address that refuses connections until the test ends: nobody else can have the port meanwhile.
func refusing(t *testing.T) netip.AddrPort {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	ok(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	ok(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	bound, err := unix.Getsockname(fd)
	ok(t, err)
	return netip.AddrPortFrom(addr("127.0.0.1"), uint16(bound.(*unix.SockaddrInet4).Port))
}

func serve(ctx context.Context, c net.Conn, tt testTorrent) {
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	conn, err := dial.Accept(ctx, c, dial.Acceptor{Answer: func(id infoHash) (peer.Handshake, bool) {
		return peer.Handshake{Reserved: peer.Reserved(false, false), InfoHash: id, PeerID: infoHash{'-', 'S'}}, id == tt.id
	}})
	if err != nil {
		return
	}
	all := peer.NewBitfield(len(tt.hashes) / 20)
	for i := range len(tt.hashes) / 20 {
		all.Set(i)
	}
	b := peer.Message{Type: peer.TypeBitfield, Payload: all}.Append(nil)
	conn.Write(peer.Message{Type: peer.TypeUnchoke}.Append(b))
	r := peer.NewReader(conn)
	for {
		m, err := r.Next()
		if err != nil {
			return
		}
		if m.Type == peer.TypeRequest && !m.KeepAlive {
			if tt.held != nil {
				<-tt.held
			}
			at := int(m.Index)*testPiece + int(m.Begin)
			b := peer.AppendPieceHeader(nil, m.Index, m.Begin, m.Length)
			conn.Write(append(b, tt.bytes[at:at+int(m.Length)]...))
		}
	}
}

func TestBytesMovedAreCountedOverPausesAndRestarts(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	cfg := joined(t, h)
	tt := newTorrent(t, "red")
	first := start(t, cfg)
	g, _ := h.welcome()
	g.assign(tt, 1)
	g.reports(tt.id, 1, control.StateDownloading)
	g.send(control.Candidates{ID: tt.id, Peers: []control.Candidate{{Addr: seed(t, tt), Kind: control.CandidateReachable}}})
	size := int64(len(tt.bytes))
	p := g.reports(tt.id, 1, control.StateSeeding)
	if p.Have != size || p.Downloaded != size || p.Partial != 0 {
		t.Errorf("after the download of %d bytes: %+v", size, p)
	}
	g.send(control.Assign{ID: tt.id, Generation: 2, Paused: true})
	g.until("the pause", func(p control.Progress) bool {
		if p.Downloaded != size {
			t.Errorf("on the way to the pause %d bytes are said to be downloaded", p.Downloaded)
		}
		return p.State == control.StatePaused && p.Generation == 2
	})
	first.end()
	b, err := os.ReadFile(filepath.Join(cfg.Dir, "red", "a"))
	if err != nil || !bytes.Equal(b, tt.bytes[:len(b)]) {
		t.Errorf("the file differs: %v", err)
	}
	start(t, cfg)
	_, inventory := h.welcome()
	if p := inventory[tt.id]; p.Downloaded != size {
		t.Errorf("after a restart %d bytes are said to be downloaded, want %d", p.Downloaded, size)
	}
}

func TestPeersMaySpeakEncryptionForTorrentsThatRun(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	tt := newTorrent(t, "red")
	start(t, joined(t, h))
	g, _ := h.welcome()
	g.assign(tt, 1)
	g.reports(tt.id, 1, control.StateDownloading)
	for _, c := range []struct {
		id   infoHash
		here bool
	}{{tt.id, true}, {infoHash{1}, false}} {
		conn, err := net.Dial("tcp", g.conn.Remote().String())
		ok(t, err)
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		ours := peer.Handshake{Reserved: peer.Reserved(true, true), InfoHash: c.id, PeerID: infoHash{'-', 'X'}}
		e, err := mse.Dial(conn, c.id, mse.RC4, ours.AppendMarshal(nil))
		if !c.here {
			if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("a torrent that is not here: %v", err)
			}
			continue
		}
		ok(t, err)
		b := make([]byte, peer.HandshakeSize)
		_, err = io.ReadFull(e, b)
		ok(t, err)
		if hs, err := peer.ParseHandshake(b); err != nil || hs.InfoHash != tt.id {
			t.Errorf("answered with %+v, %v", hs, err)
		}
	}
}

func TestPeersWithoutBusinessAreHungUpOn(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	start(t, joined(t, h))
	g, _ := h.welcome()
	for _, hello := range [][]byte{
		peer.Handshake{InfoHash: infoHash{1}, PeerID: infoHash{2}}.AppendMarshal(nil), // a torrent that is not here
		[]byte("GET / HTTP/1.1\r\nCookie: " + strings.Repeat("=", 1000)),              // neither greeting nor encryption
	} {
		c, err := net.Dial("tcp", g.conn.Remote().String())
		ok(t, err)
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		c.Write(hello)
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%.20q: %v", hello, err)
		}
	}
}

func TestStrangersWhoSayNothingDoNotKeepTheAgentFromEnding(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	r := start(t, joined(t, h))
	g, _ := h.welcome()
	for range maxGreeting + 5 {
		c, err := net.Dial("tcp", g.conn.Remote().String())
		ok(t, err)
		defer c.Close()
	}
	ok(t, r.end())
}
