package front

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"simplebit/wire/dial"
	"simplebit/wire/peer"
)

// door is a listener in a bubble.
type door struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newDoor() *door { return &door{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (d *door) Accept() (net.Conn, error) {
	select {
	case c := <-d.conns:
		return c, nil
	case <-d.closed:
		return nil, net.ErrClosed
	}
}

func (d *door) Close() error {
	d.once.Do(func() { close(d.closed) })
	return nil
}

func (d *door) Addr() net.Addr { return &net.TCPAddr{} }

// from is a connection with the address of its other end.
type from struct {
	net.Conn
	remote netip.AddrPort
}

func (f from) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(f.remote) }

// dial connects to the door from an address.
func (d *door) dial(remote netip.AddrPort) net.Conn {
	near, far := net.Pipe()
	d.conns <- from{far, remote}
	return near
}

// visit connects and does the handshake.
func (d *door) visit(remote netip.AddrPort, infoHash [20]byte) (*fake, peer.Handshake, error) {
	c := d.dial(remote)
	ours := peer.Handshake{Reserved: peer.WithDHT(peer.Reserved(true, true)), InfoHash: infoHash, PeerID: [20]byte{'g'}}
	if _, err := c.Write(ours.AppendMarshal(nil)); err != nil {
		return nil, ours, err
	}
	var b [peer.HandshakeSize]byte
	if _, err := io.ReadFull(c, b[:]); err != nil {
		return nil, ours, err
	}
	h, err := peer.ParseHandshake(b[:])
	return &fake{Conn: c, r: peer.NewReader(c)}, h, err
}

// next returns the next message that is no keepalive.
func (f *fake) next() (peer.Message, error) {
	for {
		if m, err := f.r.Next(); err != nil || !m.KeepAlive {
			return m, err
		}
	}
}

// hosting is a front that takes guests, with a torrent.
type hosting struct {
	*swarm
	*door
	front *Front
	p     *Presence
	log   *bytes.Buffer
	logMu sync.Mutex
	leave func()
}

func (h *hosting) Write(b []byte) (int, error) {
	h.logMu.Lock()
	defer h.logMu.Unlock()
	return h.log.Write(b)
}

func (h *hosting) logged() string {
	h.logMu.Lock()
	defer h.logMu.Unlock()
	return h.log.String()
}

// taken returns how many places of guests are taken, and how many of them by one address.
func (h *hosting) taken(a netip.AddrPort) (all, one int) {
	p := h.front.places
	p.mu.Lock()
	defer p.mu.Unlock()
	return h.front.cfg.MaxAccepted - p.free, p.byHost[host(a.Addr())]
}

func hostTorrent(t *testing.T, cfg Config, torrent Torrent) *hosting {
	t.Helper()
	h := &hosting{swarm: newSwarm(), door: newDoor(), log: &bytes.Buffer{}}
	cfg.Dialer, cfg.PeerID, cfg.Software = &dial.Dialer{TCP: h.swarm}, [20]byte{'f'}, "SimpleBit/test"
	cfg.Log = slog.New(slog.NewTextHandler(h, nil))
	h.front = New(cfg)
	p, err := h.front.Enter(torrent)
	if err != nil {
		t.Fatal(err)
	}
	h.p = p
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- h.front.Serve(ctx, h.door) }()
	h.leave = func() {
		h.p.Leave()
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		h.swarm.wg.Wait()
		if h.front.places.free != h.front.cfg.MaxAccepted || len(h.front.places.byHost) != 0 || h.front.cached.Load() != 0 || h.front.budget.inFlight != 0 {
			t.Errorf("left behind: %d of %d places, %d hosts, %d bytes in memory, %d handshakes", h.front.places.free, h.front.cfg.MaxAccepted, len(h.front.places.byHost), h.front.cached.Load(), h.front.budget.inFlight)
		}
	}
	return h
}

func TestGuestIsGreetedAndItsPortVerified(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		told, reachable := newReports()
		var nodes []netip.AddrPort
		h := hostTorrent(t, Config{Port: 6881, DHTPort: 6882, DHTNode: func(a netip.AddrPort) { nodes = append(nodes, a) }},
			Torrent{InfoHash: [20]byte{1}, InfoSize: 1234, Reachable: reachable})
		listens := netip.AddrPortFrom(addr(7).Addr(), 7777)
		h.swarm.peers[listens] = bare
		f, theirs, err := h.visit(addr(7), [20]byte{1})
		if err != nil {
			t.Fatal(err)
		}
		if theirs.Fast() || !theirs.Extended() || !theirs.DHT() || theirs.PeerID[0] != 'f' {
			t.Errorf("greeted with %+v", theirs)
		}
		m, err := f.next()
		if err != nil || m.Type != peer.TypeExtended || m.ExtID != 0 {
			t.Fatalf("first message %+v, %v", m, err)
		}
		e, err := peer.ParseExtensions(m.Payload)
		want := peer.Extensions{MetadataID: metadataID, PexID: pexID, MetadataSize: 1234, Port: 6881, Version: "SimpleBit/test", YourIP: addr(7).Addr()}
		if err != nil || e != want {
			t.Errorf("extension handshake %+v, want %+v", e, want)
		}
		if m, err := f.next(); err != nil || m.Type != peer.TypePort || m.Port != 6882 {
			t.Errorf("then %+v, %v; want PORT 6882", m, err)
		}
		f.Write(peer.Message{Type: peer.TypePort, Port: 7000}.Append(nil))
		f.Write(peer.Message{Type: peer.TypePort, Port: 7001}.Append(nil))
		f.extended(0, peer.Extensions{PexID: 4, Port: 7777}.AppendMarshal(nil))
		go io.Copy(io.Discard, f)
		time.Sleep(guestTurn - time.Second)
		if len(h.dialled(listens)) != 0 {
			t.Error("dialled while it is connected: qBittorrent would close both")
		}
		time.Sleep(2*time.Second + guestRest)
		synctest.Wait()
		if _, n := told.first(); n != 1 || len(h.swarm.dialled(listens)) != 1 {
			t.Errorf("dialled %v, told of %v", h.dialled(listens), told.at)
		}
		if want := netip.AddrPortFrom(addr(7).Addr(), 7000); len(nodes) != 1 || nodes[0] != want {
			t.Errorf("DHT nodes %v, want %v", nodes, want)
		}
		h.leave()
	})
}

func TestGuestTellsOfOthersAndIsTold(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h := hostTorrent(t, Config{}, Torrent{InfoHash: [20]byte{1}, InfoSize: 1234})
		h.swarm.peers[addr(0)], h.swarm.peers[addr(1)] = bare, bare
		h.p.Add(addrs(0, 1), SourceDevice)
		f, _, err := h.visit(addr(7), [20]byte{1})
		if err != nil {
			t.Fatal(err)
		}
		f.next()
		f.extended(0, peer.Extensions{PexID: 4}.AppendMarshal(nil))
		m, err := f.next()
		if err != nil || m.ExtID != 4 {
			t.Fatalf("%+v, %v; want a PEX message", m, err)
		}
		x, err := peer.ParsePex(m.Payload)
		if err != nil || len(x.Added) != 1 || x.Added[0] != (peer.PexPeer{Addr: addr(0), Flags: peer.PexReachable}) {
			t.Errorf("told %+v, %v", x, err)
		}
		f.extended(pexID, peer.Pex{Added: []peer.PexPeer{{Addr: addr(1)}}}.AppendMarshal(nil))
		time.Sleep(time.Second)
		if list := h.p.Reachable(); len(list) != 2 {
			t.Errorf("reachable are %v", list)
		}
		start := time.Now()
		if m, err = f.next(); err != nil || m.ExtID != 4 {
			t.Fatalf("%+v, %v; want a PEX message", m, err)
		}
		if x, _ = peer.ParsePex(m.Payload); len(x.Added) != 1 || x.Added[0].Addr != addr(1) || time.Since(start) < 58*time.Second {
			t.Errorf("after %v told %+v", time.Since(start), x)
		}
		h.leave()
	})
}

func TestGuestsThatAreNotWelcomeAreSentAway(t *testing.T) {
	hello := func(h [20]byte) []byte {
		return peer.Handshake{Reserved: peer.Reserved(false, true), InfoHash: h, PeerID: [20]byte{'g'}}.AppendMarshal(nil)
	}
	for _, c := range []struct {
		name   string
		send   []byte
		within time.Duration
		log    string
	}{
		{"another torrent", hello([20]byte{2}), 0, "not here"},
		{"half a key for encryption", []byte(strings.Repeat("\x8f", 48)), 10 * time.Second, ""},
		{"a key for encryption and nothing more", []byte(strings.Repeat("\x8f", 96)), 10 * time.Second, ""},
		{"neither greeting nor key", []byte(strings.Repeat("\x8f", 96+512+20)), 0, ""},
		{"silence", nil, dial.FirstByte, ""},
		{"half a handshake", hello([20]byte{1})[:40], 10 * time.Second, ""},
		{"silence after the handshake", hello([20]byte{1}), 30 * time.Second, ""},
		{"no extensions", peer.Handshake{InfoHash: [20]byte{1}}.AppendMarshal(nil), 0, "no extension protocol"},
		{"a length prefix of 2 GB", append(hello([20]byte{1}), 0x7f, 0xff, 0xff, 0xff, 20), 0, "longer than the limit"},
		{"a malformed extension handshake", append(hello([20]byte{1}), extended(0, []byte("d1:m"))...), 0, "malformed bencoding"},
		{"a malformed PEX message", append(hello([20]byte{1}), extended(pexID, []byte("d5:added5:abcdee"))...), 0, "wrong length"},
		{"a HAVE of the wrong length", append(hello([20]byte{1}), 0, 0, 0, 4, 4, 0, 0, 0), 0, "wrong length"},
		{"a bitfield of 2 GB", append(hello([20]byte{1}), 0x7f, 0xff, 0xff, 0xff, 5), 0, "longer than the limit"},
		{"ourselves", peer.Handshake{InfoHash: [20]byte{1}, PeerID: [20]byte{'f'}}.AppendMarshal(nil), 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				h := hostTorrent(t, Config{}, Torrent{InfoHash: [20]byte{1}, InfoSize: 1234})
				start := time.Now()
				g := h.dial(addr(7))
				go g.Write(c.send)
				io.Copy(io.Discard, g)
				if took := time.Since(start); took != c.within {
					t.Errorf("sent away after %v, want %v", took, c.within)
				}
				synctest.Wait()
				if !strings.Contains(h.logged(), c.log) || c.log == "" && h.logged() != "" {
					t.Errorf("the log has %q, want %q", h.logged(), c.log)
				}
				h.leave()
			})
		})
	}
}

func TestGuestThatDripsBytesIsSentAway(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h := hostTorrent(t, Config{}, Torrent{InfoHash: [20]byte{1}, InfoSize: 1234})
		f, _, err := h.visit(addr(7), [20]byte{1})
		if err != nil {
			t.Fatal(err)
		}
		go io.Copy(io.Discard, f)
		f.extended(0, peer.Extensions{PexID: 4}.AppendMarshal(nil))
		start := time.Now()
		f.Write([]byte{0, 0, 14, 16, 20}) // a message of an hour
		for err == nil {
			time.Sleep(time.Second)
			_, err = f.Write([]byte{0})
		}
		if took := time.Since(start); took > silence+time.Second {
			t.Errorf("sent away after %v", took)
		}
		h.leave()
	})
}

func TestPiecesAndNonsenseOfGuestsAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h := hostTorrent(t, Config{}, Torrent{InfoHash: [20]byte{1}, InfoSize: 1234})
		f, _, err := h.visit(addr(7), [20]byte{1})
		if err != nil {
			t.Fatal(err)
		}
		go io.Copy(io.Discard, f)
		f.extended(0, peer.Extensions{PexID: 4}.AppendMarshal(nil))
		b := peer.Message{Type: peer.TypeBitfield, Payload: make([]byte, 100_000)}.Append(nil)
		b = peer.Message{Type: peer.TypeHave, Index: 1<<32 - 1}.Append(b)
		b = peer.Message{Type: peer.TypePiece, Payload: make([]byte, 16<<10)}.Append(b)
		sent := 0
		for err == nil {
			_, err = f.Write(b)
			sent += len(b)
		}
		if sent < maxChatter || sent > maxChatter+4*len(b) {
			t.Errorf("sent away after %d bytes, want %d", sent, maxChatter)
		}
		synctest.Wait()
		if !strings.Contains(h.logged(), errChatter.Error()) {
			t.Errorf("the log has %q", h.logged())
		}
		if f, _, err = h.visit(addr(7), [20]byte{1}); err == nil {
			_, err = f.next()
		}
		if err == nil {
			t.Error("it may come again")
		}
		h.leave()
	})
}

func TestGuestsAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h := hostTorrent(t, Config{MaxAccepted: 60, MaxLinks: 10}, Torrent{InfoHash: [20]byte{1}, InfoSize: 1234})
		stay := func(i int) (ok bool) {
			f, _, err := h.visit(addr(i), [20]byte{1})
			if err != nil {
				return false
			}
			if _, err = f.next(); err != nil {
				return false
			}
			f.extended(0, peer.Extensions{PexID: 4}.AppendMarshal(nil))
			go io.Copy(io.Discard, f)
			return true
		}
		for i := range 10 {
			if !stay(i) {
				t.Errorf("guest %d is sent away", i)
			}
		}
		if stay(10) {
			t.Error("the eleventh stays")
		}
		if n := h.p.Status().Links; n != 10 {
			t.Errorf("%d links", n)
		}
		time.Sleep(guestTurn)
		for i := range 10 {
			if !stay(20 + i) {
				t.Errorf("guest %d is sent away although others have had their turn", i)
			}
		}
		synctest.Wait()
		if n := h.p.Status().Links; n != 10 {
			t.Errorf("%d links", n)
		}
		if n, _ := h.taken(addr(0)); n != 10 {
			t.Errorf("%d places are taken, want 10", n)
		}
		refused := func(by error) {
			t.Helper()
			if _, err := h.dial(addr(99)).Read(make([]byte, 1)); err != io.EOF || !strings.Contains(h.logged(), by.Error()) {
				t.Errorf("%v, want the end at once because of %v; the log has %q", err, by, h.logged())
			}
		}
		var places []netip.AddrPort
		take := func(a netip.AddrPort) error {
			err := h.front.places.take(a.Addr())
			if err == nil {
				places = append(places, a)
			}
			return err
		}
		for range perHost {
			if err := take(addr(99)); err != nil {
				t.Error(err)
			}
		}
		if err := take(addr(99)); err != errCrowd {
			t.Errorf("error %v, want errCrowd", err)
		}
		refused(errCrowd)
		for i := range 60 - 10 - perHost {
			if err := take(addr(100 + i)); err != nil {
				t.Error(err)
			}
		}
		if err := take(addr(98)); err != errFull {
			t.Errorf("error %v, want errFull", err)
		}
		refused(errFull)
		for _, a := range places {
			h.front.places.give(a.Addr())
		}
		if log := h.logged(); !strings.Contains(log, errFull.Error()) || !strings.Contains(log, errCrowd.Error()) || strings.Count(log, "\n") > 60 {
			t.Errorf("the log has %d lines", strings.Count(log, "\n"))
		}
		h.leave()
	})
}

func TestSilenceOfStrangersTakesNoPlaceOfGuests(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h := hostTorrent(t, Config{MaxAccepted: 10}, Torrent{InfoHash: [20]byte{1}, InfoSize: 1234})
		var silent []net.Conn
		for i := range 2 * maxGreeting {
			silent = append(silent, h.dial(addr(100+i)), h.dial(netip.AddrPortFrom(addr(99).Addr(), uint16(i+1))))
		}
		synctest.Wait()
		if n, _ := h.taken(addr(99)); n != 0 || h.front.places.greetings.Len() != maxGreeting {
			t.Errorf("%d places are taken, %d are greeting, want none and %d", n, h.front.places.greetings.Len(), maxGreeting)
		}
		f, _, err := h.visit(addr(7), [20]byte{1})
		if err == nil {
			_, err = f.next()
		}
		if n, _ := h.taken(addr(7)); err != nil || n != 1 {
			t.Errorf("a guest among them: %v; %d places are taken", err, n)
		}
		time.Sleep(dial.FirstByte)
		synctest.Wait()
		if n := h.front.places.greetings.Len(); n != 0 {
			t.Errorf("%d are still greeting", n)
		}
		for _, c := range silent {
			if _, err := c.Write([]byte{0}); err != io.ErrClosedPipe {
				t.Fatalf("a silent connection was left open: %v", err)
			}
		}
		h.leave()
	})
}

func TestMetadataComesFromAGuestToo(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		info, hash := metadata(100_000)
		var got []byte
		h := hostTorrent(t, Config{}, Torrent{InfoHash: hash, Learned: func(b []byte) { got = b }})
		// One that lies and one that does not; neither can be dialled.
		for i, b := range [][]byte{make([]byte, len(info)), info} {
			f, _, err := h.visit(addr(i), hash)
			if err != nil {
				t.Fatal(err)
			}
			f.next()
			f.hello(int64(len(info)))
			go func() {
				for {
					n, err := f.request()
					if err != nil {
						return
					}
					f.say(data(b, n))
				}
			}()
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if !bytes.Equal(got, info) {
			t.Errorf("got %d bytes", len(got))
		}
		f, _, err := h.visit(addr(0), hash)
		if err == nil {
			_, err = f.next()
		}
		if err == nil {
			t.Error("the liar may come again")
		}
		if !strings.Contains(h.logged(), fmt.Sprint(errMismatch)) {
			t.Errorf("the log has %q", h.logged())
		}
		h.leave()
	})
}
