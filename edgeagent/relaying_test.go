package edgeagent

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"simplebit/wire/control"
	"simplebit/wire/dial"
	"simplebit/wire/link"
	"simplebit/wire/peer"
)

// relay opens a stream for a relayed peer, who is at the test's end of the connection.
func (g *guest) relay(m control.Relay) link.Stream {
	g.t.Helper()
	s := g.open()
	ok(g.t, control.WriteMessage(s, m))
	return s
}

// relayTo is the stream's header for a torrent.
func relayTo(tt testTorrent, dials bool) control.Relay {
	return control.Relay{Torrent: tt.id, Device: "00ff", Peer: "cellar", Addr: at("203.0.113.9:6882"), Dials: dials}
}

// over does the dialling peer's part of the handshake on a relayed stream.
func (g *guest) over(s link.Stream, tt testTorrent, id infoHash) (leech, error) {
	g.t.Helper()
	c := link.NetConn(s, g.conn.Local(), g.conn.Remote())
	conn, err := dial.Over(context.Background(), c, dial.QUIC, peer.Handshake{InfoHash: tt.id, PeerID: id})
	if err != nil {
		return leech{}, err
	}
	g.t.Cleanup(func() { conn.Close() })
	return leech{g.t, conn}, nil
}

// cancelled waits until the agent has ended a stream.
func cancelled(t *testing.T, s link.Stream) {
	t.Helper()
	s.SetReadDeadline(time.Now().Add(patience))
	b := make([]byte, 100)
	for {
		if _, err := s.Read(b); err != nil {
			if !errors.Is(err, link.ErrCancelled) {
				t.Errorf("the stream ends with %v", err)
			}
			return
		}
	}
}

func TestATorrentIsFetchedFromARelayedPeer(t *testing.T) {
	for _, c := range []struct {
		name    string
		blocked bool
	}{{"quic", false}, {"tcp", true}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHome(t)
			ln := h.ln
			if c.blocked {
				h = newBlockedHome(t)
				ln = h.tcp
			}
			cfg := joined(t, h)
			tt := newTorrent(t, "red")
			start(t, cfg)
			g, _ := h.welcomeBy(ln)
			g.assign(tt, 1)
			g.reports(tt.id, 1, control.StateDownloading)
			s := g.relay(relayTo(tt, true))
			send := make(chan struct{})
			tt.held = send
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			served := make(chan struct{})
			go func() {
				defer close(served)
				serve(ctx, link.NetConn(s, g.conn.Local(), g.conn.Remote()), tt)
			}()
			release := sync.OnceFunc(func() { close(send) })
			defer release()
			p := g.until("the peer is reported", func(p control.Progress) bool { return len(p.Peers) == 1 })
			if q := p.Peers[0]; q.Path != "relayed" || q.Transport != c.name || q.Addr != at("203.0.113.9:6882") {
				t.Errorf("the peer is told as %+v", q)
			}
			st, err := ReadStatus(cfg.State)
			ok(t, err)
			want := RelayedStatus{Device: "cellar", Addr: "203.0.113.9:6882", InfoHash: hexOf(tt.id), Transport: c.name}
			if len(st.Relayed) != 1 || st.Relayed[0].Since.IsZero() {
				t.Fatalf("shown: %+v", st.Relayed)
			}
			want.Since = st.Relayed[0].Since
			if st.Relayed[0] != want {
				t.Errorf("shown: %+v", st.Relayed)
			}
			release()
			if p := g.reports(tt.id, 1, control.StateSeeding); p.Downloaded != int64(len(tt.bytes)) {
				t.Errorf("in the end: %+v", p)
			}
			cancel()
			<-served
			eventually(t, "its end is shown", func() bool {
				st, err := ReadStatus(cfg.State)
				ok(t, err)
				return len(st.Relayed) == 0
			})
		})
	}
}

// seeding is an agent that has a torrent, and the surrogate's end.
func seeding(t *testing.T) (Config, *guest, testTorrent) {
	t.Helper()
	h := newHome(t)
	cfg := joined(t, h)
	tt := newTorrent(t, "red")
	tt.place(t, cfg.Dir, "red")
	start(t, cfg)
	g, _ := h.welcome()
	g.assign(tt, 1)
	g.reports(tt.id, 1, control.StateSeeding)
	return cfg, g, tt
}

func TestARelayedPeerMayDial(t *testing.T) {
	t.Parallel()
	_, g, tt := seeding(t)
	l, err := g.over(g.relay(relayTo(tt, false)), tt, infoHash{'-', 'L'})
	ok(t, err)
	if l.Peer.InfoHash != tt.id {
		t.Errorf("the agent answers for %x", l.Peer.InfoHash)
	}
	p := g.until("the peer is reported", func(p control.Progress) bool { return len(p.Peers) == 1 })
	if q := p.Peers[0]; q.Path != "relayed" || q.Transport != "quic" {
		t.Errorf("the peer is told as %+v", q)
	}
	l.alive()
	g.send(control.Assign{ID: tt.id, Generation: 2, Paused: true})
	l.closed()
}

func TestWhatIsNotNeededIsNotRelayed(t *testing.T) {
	t.Parallel()
	_, g, tt := seeding(t)
	other := tt
	other.id = infoHash{7}
	cancelled(t, g.relay(relayTo(other, false)))
	cancelled(t, g.relay(relayTo(other, true)))
	if _, err := g.over(g.relay(relayTo(tt, false)), other, infoHash{'-', 'L'}); err == nil {
		t.Error("the peer is taken for another torrent than the surrogate has named")
	}
	// Its handshake is that of dialAgent.
	direct := dialAgent(t, g, tt)
	g.until("the peer is reported", func(p control.Progress) bool { return len(p.Peers) == 1 })
	near := relayTo(tt, true)
	near.Addr = direct.LocalAddr().(interface{ AddrPort() netip.AddrPort }).AddrPort()
	cancelled(t, g.relay(near))
	near.Dials, near.Addr = false, netip.AddrPortFrom(near.Addr.Addr(), 7)
	if _, err := g.over(g.relay(near), tt, infoHash{'-', 'X'}); err == nil {
		t.Error("a peer that is connected directly is taken")
	}
	if _, err := g.over(g.relay(relayTo(tt, false)), tt, infoHash{'-', 'X'}); err != nil {
		t.Errorf("somebody elsewhere who shows the peer's id keeps its relay out: %v", err)
	}
	direct.alive()
}

func TestADeviceWithAPathIsNotRelayedForItsTorrents(t *testing.T) {
	p := &punching{kept: []kept{{plan: plan{Punch: control.Punch{Peer: "cellar", Torrents: [][20]byte{{1}}}}}}}
	for _, c := range []struct {
		device string
		id     infoHash
		want   bool
	}{{"cellar", infoHash{1}, true}, {"cellar", infoHash{2}, false}, {"attic", infoHash{1}, false}} {
		if got := p.keeps(c.device, c.id); got != c.want {
			t.Errorf("%s, %x: %v", c.device, c.id[0], got)
		}
	}
}

func TestADeviceHasNoMoreRelayedConnectionsThanItCanKeep(t *testing.T) {
	t.Parallel()
	cfg, g, tt := seeding(t)
	var first leech
	for i := range maxRelayed {
		m := relayTo(tt, false)
		m.Addr = netip.AddrPortFrom(m.Addr.Addr(), uint16(i+1))
		l, err := g.over(g.relay(m), tt, infoHash{'-', 'L', byte(i)})
		ok(t, err)
		if i == 0 {
			first = l
		}
	}
	cancelled(t, g.relay(relayTo(tt, false)))
	first.Close()
	eventually(t, "the end of one is noted", func() bool {
		st, err := ReadStatus(cfg.State)
		ok(t, err)
		return len(st.Relayed) == maxRelayed-1
	})
	_, err := g.over(g.relay(relayTo(tt, false)), tt, infoHash{'-', 'M'})
	ok(t, err)
}

func TestStreamsThatBeginWithSomethingElseAreRefused(t *testing.T) {
	t.Parallel()
	_, g, tt := seeding(t)
	for _, begin := range [][]byte{{0xff, 0xff, 0xff}, {0}, {4, 0xa1, 0, 0x18, 0xff}, {1, 0xa0}} {
		s := g.open()
		_, err := s.Write(begin)
		ok(t, err)
		cancelled(t, s)
	}
	s := g.open()
	ok(t, control.WriteMessage(s, control.Gone{ID: tt.id}))
	cancelled(t, s)
	_, err := g.over(g.relay(relayTo(tt, false)), tt, infoHash{'-', 'L'})
	ok(t, err)
}

// As many streams as there may be say nothing, and the session goes on.
func TestSilentStreamsHinderNobody(t *testing.T) {
	t.Parallel()
	_, g, tt := seeding(t)
	for range maxStreams {
		_, err := g.open().Write([]byte{9})
		ok(t, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if _, err := g.conn.Open(ctx); !errors.Is(err, context.DeadlineExceeded) && !os.IsTimeout(err) {
		t.Errorf("one stream more: %v", err)
	}
	g.send(control.Assign{ID: tt.id, Generation: 2, Paused: true})
	g.reports(tt.id, 2, control.StatePaused)
}
