package edgeagent

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"simplebit/wire/control"
	"simplebit/wire/link"
)

// stored is what a state folder says of the surrogate. The agent does not run.
func stored(t *testing.T, cfg Config) surrogate {
	t.Helper()
	s, err := openState(cfg.State)
	ok(t, err)
	defer s.close()
	home, err := s.loadSurrogate()
	ok(t, err)
	return home
}

func TestWithoutUDPAnAgentWorksOverTCP(t *testing.T) {
	t.Parallel()
	h := newBlockedHome(t)
	cfg := joined(t, h)
	tt := newTorrent(t, "red")
	tt.place(t, cfg.Dir, "red")
	agent := start(t, cfg)
	g, _ := h.welcomeBy(h.tcp)
	g.assign(tt, 7)
	g.reports(tt.id, 7, control.StateSeeding)
	if st, err := ReadStatus(cfg.State); err != nil || st.Transport != "tcp" || !st.Connected {
		t.Errorf("shown: %+v, %v", st, err)
	}
	ok(t, agent.end())
	home := stored(t, cfg)
	if home.haste() != doubtful || home.TCP != h.tcpPort() || home.Name != "attic" {
		t.Errorf("stored: %+v", home)
	}
	if home.Blocked = false; home.haste() != hopeful {
		t.Errorf("where UDP works: %+v", home.haste())
	}

	start(t, cfg)
	if _, inventory := h.welcomeBy(h.tcp); inventory[tt.id].Generation != 7 {
		t.Errorf("the next time it holds %+v", inventory)
	}
}

func TestWhenUDPWorksAgainQUICTakesTheSessionOver(t *testing.T) {
	t.Parallel()
	h := newBlockedHome(t)
	cfg := joined(t, h)
	cfg.retryQUIC = 50 * time.Millisecond
	tt := newTorrent(t, "red")
	tt.place(t, cfg.Dir, "red")
	agent := start(t, cfg)
	old, _ := h.welcomeBy(h.tcp)
	old.assign(tt, 7)
	old.reports(tt.id, 7, control.StateSeeding)
	st, err := ReadStatus(cfg.State)
	ok(t, err)
	l := dialAgentAt(t, old.hello.Port, tt)
	old.until("the peer is reported", func(p control.Progress) bool { return len(p.Peers) == 1 })

	h.gate.shut.Store(false)
	g := h.accept()
	if g.device != old.device || g.hello.Name != "attic" {
		t.Errorf("the agent says %+v", g.hello)
	}
	select {
	case <-old.conn.Done():
		t.Error("the connection over TCP has ended before there is another")
	default:
	}
	g.send(control.Welcome{Version: control.Version, Name: "attic", TCP: h.tcpPort()})
	p := g.reports(tt.id, 7, control.StateSeeding)
	if len(p.Peers) != 1 {
		t.Errorf("the torrent has %v", p.Peers)
	}
	old.ended()
	l.alive()
	now, err := ReadStatus(cfg.State)
	ok(t, err)
	if now.Transport != "quic" || !now.Connected || !now.Since.After(st.Since) {
		t.Errorf("shown: %+v", now)
	}
	ok(t, agent.end())
	if home := stored(t, cfg); home.Blocked || home.TCP != h.tcpPort() {
		t.Errorf("stored: %+v", home)
	}
}

// The surrogate may end the old session before it welcomes the new one.
func TestASessionThatIsReplacedIsNotLost(t *testing.T) {
	t.Parallel()
	h := newBlockedHome(t)
	cfg := joined(t, h)
	cfg.retryQUIC = 50 * time.Millisecond
	cfg.retry = func(int) time.Duration { return time.Hour }
	start(t, cfg)
	old, _ := h.welcomeBy(h.tcp)
	h.gate.shut.Store(false)
	g := h.accept()
	old.conn.Close(0, "the device opened a newer session")
	g.send(control.Welcome{Version: control.Version, Name: "attic"})
	next[control.Synced](g)
}

func TestAnAttemptByQUICThatFailsDisturbsNobody(t *testing.T) {
	t.Parallel()
	h := newBlockedHome(t)
	cfg := joined(t, h)
	cfg.retryQUIC = 50 * time.Millisecond
	start(t, cfg)
	g, _ := h.welcomeBy(h.tcp)
	h.gate.shut.Store(false)
	h.accept().send(control.Refused{Code: control.RefusedRevoked})
	h.accept().conn.Close(1, "")
	g.send(control.Unassign{ID: infoHash{1}})
	g.gone(infoHash{1})
	if st, err := ReadStatus(cfg.State); err != nil || st.Transport != "tcp" {
		t.Errorf("shown: %+v, %v", st, err)
	}
}

func TestWhereHandshakesGetThroughAndNoMoreAnAgentWorksOverTCP(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.listenTCP()
	cfg := joined(t, h)
	cfg.retryQUIC = 50 * time.Millisecond
	agent := start(t, cfg)
	mute := h.accept()
	g, _ := h.welcomeBy(h.tcp)
	mute.ended()
	h.accept() // which is tried again, and gets no Welcome
	g.send(control.Unassign{ID: infoHash{1}})
	g.gone(infoHash{1})
	ok(t, agent.end())
	if home := stored(t, cfg); !home.Blocked {
		t.Errorf("stored: %+v", home)
	}
}

func TestWhereUDPWorksForAMomentOnlyQUICIsLeftAlone(t *testing.T) {
	t.Parallel()
	h := newHomeWith(t, quic.Config{MaxIdleTimeout: 2 * time.Second})
	h.listenTCP()
	cfg := joined(t, h)
	cfg.retryQUIC = 2 * time.Second
	left := make(chan time.Time, 10)
	cfg.retry = func(int) time.Duration {
		h.gate.shut.Store(false)
		left <- time.Now()
		return 10 * time.Millisecond
	}
	start(t, cfg)
	h.welcome()
	h.gate.shut.Store(true) // until it is tried again
	h.welcomeBy(h.tcp)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if c, err := h.ln.Accept(ctx); err == nil {
		t.Errorf("the agent came by QUIC: %v", c.Remote())
	}
	h.welcome()
	if again := time.Since(<-left); again < cfg.retryQUIC {
		t.Errorf("QUIC is tried again after %v", again)
	}
}

func TestWhoPrefersTCPUsesQUICWhereThatIsAllThereIs(t *testing.T) {
	t.Parallel()
	h := newBlockedHome(t)
	h.gate.shut.Store(false)
	for _, port := range []uint16{0, refusing(t).Port()} {
		socket, err := net.ListenPacket("udp", "127.0.0.1:0")
		ok(t, err)
		transport := &quic.Transport{Conn: plainConn{socket}}
		by := road{transport, func(netip.AddrPort) error { return nil }, true}
		result := make(chan error, 1)
		go func() {
			c, err := connect(t.Context(), by, surrogate{Addr: h.addr, Pin: h.pin.String(), TCP: port}, newKey(t), control.Hello{})
			if err == nil {
				c.close()
			}
			result <- err
		}()
		h.accept().send(control.Welcome{Version: control.Version, Name: "attic"})
		ok(t, <-result)
		transport.Close()
		socket.Close()
	}
}

func TestADeviceJoinsOverTCP(t *testing.T) {
	t.Parallel()
	h := newBlockedHome(t)
	cfg := fresh(t)
	result := join(t, cfg, h.invite("id.secret"))
	g := h.acceptBy(h.tcp)
	if g.hello.Token != "id.secret" {
		t.Errorf("the agent said %+v", g.hello)
	}
	g.send(control.Welcome{Version: control.Version, Name: "attic"})
	if got := <-result; got.err != nil || got.name != "attic" {
		t.Fatalf("joined as %+v", got)
	}
	if home := stored(t, cfg); home.TCP != h.tcpPort() || !home.Blocked {
		t.Errorf("stored: %+v", home)
	}
}

func TestTheSurrogateSaysWhereItTakesTCP(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	cfg := joined(t, h)
	agent := start(t, cfg)
	g := h.accept()
	g.send(control.Welcome{Version: control.Version, Name: "attic", TCP: 443})
	next[control.Synced](g)
	ok(t, agent.end())
	if home := stored(t, cfg); home.TCP != 443 || home.Blocked {
		t.Errorf("stored: %+v", home)
	}
}

func TestWhyNeitherTransportLeadsToTheSurrogateIsSaidInOneLine(t *testing.T) {
	t.Parallel()
	h := newBlockedHome(t)
	h.pin = newHome(t).pin
	h.gate.shut.Store(false)
	got := <-join(t, fresh(t), h.invite("id.secret"))
	if got.err == nil || strings.Count(got.err.Error(), control.ErrWrongPin.Error()) != 2 || strings.Contains(got.err.Error(), "\n") {
		t.Errorf("joined with a wrong pin: %v", got.err)
	}
}

func TestLayoutsOverTCPAreRefusedAsOverQUIC(t *testing.T) {
	t.Parallel()
	h := newBlockedHome(t)
	start(t, joined(t, h))
	g, _ := h.welcomeBy(h.tcp)
	s := g.open()
	_, err := s.Write(newTorrent(t, "red").layout)
	ok(t, err)
	refused(t, s)
	if g.conn.Transport() != link.TCP {
		t.Errorf("over %v", g.conn.Transport())
	}
}
