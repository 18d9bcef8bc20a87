package front

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"simplebit/wire/dial"
	"simplebit/wire/peer"
)

// theirID is the extended message id under which the fake peers want ut_metadata.
const theirID = 9

// metadata returns n bytes and their info-hash.
func metadata(n int) (info []byte, hash [20]byte) {
	rnd := rand.New(rand.NewPCG(uint64(n), 0))
	info = make([]byte, n)
	for i := range info {
		info[i] = byte(rnd.Uint32())
	}
	return info, sha1.Sum(info)
}

// addr is the i-th address of the swarm.
func addr(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), 6881)
}

// swarm is a network of pipes: a peer for each address, and nobody at any other.
type swarm struct {
	mu    sync.Mutex
	peers map[netip.AddrPort]func(c net.Conn)
	dials map[netip.AddrPort][]time.Time
	open  int
	most  int // connections open or being opened at once
	wg    sync.WaitGroup
}

func newSwarm(peers ...func(c net.Conn)) *swarm {
	s := &swarm{peers: map[netip.AddrPort]func(net.Conn){}, dials: map[netip.AddrPort][]time.Time{}}
	for i, p := range peers {
		s.peers[addr(i)] = p
	}
	return s
}

func (s *swarm) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	to := netip.MustParseAddrPort(address)
	s.mu.Lock()
	s.dials[to] = append(s.dials[to], time.Now())
	s.open++
	s.most = max(s.most, s.open)
	p := s.peers[to]
	s.mu.Unlock()
	closed := func() {
		s.mu.Lock()
		s.open--
		s.mu.Unlock()
	}
	if p == nil {
		defer closed()
		<-ctx.Done()
		return nil, ctx.Err()
	}
	near, far := net.Pipe()
	s.wg.Go(func() {
		defer far.Close()
		p(far)
	})
	return &countedConn{Conn: near, closed: sync.OnceFunc(closed)}, nil
}

// dialled returns when an address was dialled.
func (s *swarm) dialled(a netip.AddrPort) []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.dials[a])
}

type countedConn struct {
	net.Conn
	closed func()
}

func (c *countedConn) Close() error {
	c.closed()
	return c.Conn.Close()
}

// fetch fetches from all peers of the swarm, which come in their order, and from the addresses given, for at most an hour. It
// is nil where nothing came of it.
func (s *swarm) fetch(t *testing.T, hash [20]byte, more ...netip.AddrPort) []byte {
	t.Helper()
	return s.fetchFor(t, time.Hour, hash, more...)
}

func (s *swarm) fetchFor(t *testing.T, limit time.Duration, hash [20]byte, more ...netip.AddrPort) (info []byte) {
	t.Helper()
	learned := make(chan []byte, 1)
	p := s.enter(t, Torrent{InfoHash: hash, Learned: func(info []byte) { learned <- info }})
	for i := range len(s.peers) {
		p.Add([]netip.AddrPort{addr(i)}, SourceTracker)
	}
	p.Add(more, SourceDHT)
	select {
	case info = <-learned:
	case <-time.After(limit):
	}
	p.Leave()
	s.wg.Wait()
	if s.open != 0 {
		t.Errorf("%d connections were left open", s.open)
	}
	return info
}

func (s *swarm) front() *Front {
	return New(Config{Dialer: &dial.Dialer{TCP: s}, PeerID: [20]byte{'f'}, Software: "SimpleBit/test"})
}

// enter enters a torrent with a front of its own.
func (s *swarm) enter(t *testing.T, torrent Torrent) *Presence {
	t.Helper()
	p, err := s.front().Enter(torrent)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// fake is a scripted peer's side of a connection.
type fake struct {
	net.Conn
	r *peer.Reader
}

// greet does the handshake with whoever comes.
func greet(c net.Conn) (*fake, error) {
	var b [peer.HandshakeSize]byte
	if _, err := io.ReadFull(c, b[:]); err != nil {
		return nil, err
	}
	h, err := peer.ParseHandshake(b[:])
	if err != nil {
		return nil, err
	}
	ours := peer.Handshake{Reserved: peer.Reserved(true, true), InfoHash: h.InfoHash, PeerID: [20]byte{'p'}}
	_, err = c.Write(ours.AppendMarshal(nil))
	return &fake{Conn: c, r: peer.NewReader(c)}, err
}

func (f *fake) extended(id uint8, payload []byte) error {
	_, err := f.Write(peer.Message{Type: peer.TypeExtended, ExtID: id, Payload: payload}.Append(nil))
	return err
}

func (f *fake) say(m peer.MetadataMessage) error { return f.extended(metadataID, m.AppendMarshal(nil)) }

// hello sends an extension handshake that claims size bytes of metadata, with the name of a client.
func (f *fake) hello(size int64, v ...string) error {
	e := peer.Extensions{MetadataID: theirID, MetadataSize: size, Version: strings.Join(v, " ")}
	return f.extended(peer.ExtHandshake, e.AppendMarshal(nil))
}

// request waits for the next request of a piece, and checks that nothing else comes but our extension handshake.
func (f *fake) request() (uint32, error) {
	for {
		m, err := f.r.Next()
		if err != nil {
			return 0, err
		}
		switch {
		case m.KeepAlive || m.Type != peer.TypeExtended:
			return 0, fmt.Errorf("front sent a %s message", m.Type)
		case m.ExtID == peer.ExtHandshake:
			if e, err := peer.ParseExtensions(m.Payload); err != nil || e.MetadataID != metadataID || e.Version != "SimpleBit/test" {
				return 0, fmt.Errorf("front sent the extension handshake %q", m.Payload)
			}
		case m.ExtID == theirID:
			r, err := peer.ParseMetadataMessage(m.Payload)
			if err == nil && r.Type != peer.MetadataRequest {
				err = errors.New("front sent no request")
			}
			return r.Piece, err
		}
	}
}

// data is the honest answer to a request for piece i of info.
func data(info []byte, i uint32) peer.MetadataMessage {
	start := min(int(i)*peer.MetadataPieceSize, len(info))
	end := min(start+peer.MetadataPieceSize, len(info))
	return peer.MetadataMessage{Type: peer.MetadataData, Piece: i, TotalSize: int64(len(info)), Data: info[start:end]}
}

// serve is a peer that answers each request with what answer returns for it; nil is silence.
func serve(size int64, answer func(i uint32) *peer.MetadataMessage) func(net.Conn) {
	return func(c net.Conn) {
		f, err := greet(c)
		if err != nil || f.hello(size) != nil {
			return
		}
		for {
			i, err := f.request()
			if err != nil {
				return
			}
			if m := answer(i); m != nil && f.say(*m) != nil {
				return
			}
		}
	}
}

// honest serves info, each piece after delay.
func honest(info []byte, delay time.Duration) func(net.Conn) {
	return serve(int64(len(info)), func(i uint32) *peer.MetadataMessage {
		time.Sleep(delay)
		m := data(info, i)
		return &m
	})
}

// silent claims to have the metadata and never answers.
func silent(size int) func(net.Conn) {
	return serve(int64(size), func(uint32) *peer.MetadataMessage { return nil })
}

// liar claims to have size bytes and sends noise.
func liar(size int) func(net.Conn) {
	noise := make([]byte, size)
	return honest(noise, 0)
}
