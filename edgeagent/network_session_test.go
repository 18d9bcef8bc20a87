package edgeagent

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"simplebit/nat"
	"simplebit/nat/stun"
	"simplebit/wire/control"
	"simplebit/wire/link"
)

// serveSTUN runs a STUN server on two ports of this host, or two that take everything and answer nothing.
func serveSTUN(t *testing.T, deaf bool) (servers []netip.AddrPort) {
	t.Helper()
	var conns []*net.UDPConn
	var endpoints []stun.Endpoint
	for range 2 {
		c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at("127.0.0.1:0")))
		ok(t, err)
		t.Cleanup(func() { c.Close() })
		a := c.LocalAddr().(*net.UDPAddr).AddrPort()
		conns, servers = append(conns, c), append(servers, a)
		endpoints = append(endpoints, stun.Endpoint{Addr: a, Socket: stun.Conn{UDPConn: c}})
	}
	if deaf {
		return servers
	}
	s, err := stun.NewServer(stun.Config{Endpoints: endpoints})
	ok(t, err)
	for i, c := range conns {
		go stun.Read(c, func(now time.Time, from netip.AddrPort, b []byte) { s.Receive(now, i, from, b) })
	}
	return servers
}

// greetWith welcomes an agent and tells it of STUN servers.
func (h *home) greetWith(servers []netip.AddrPort) *guest {
	h.t.Helper()
	return h.greetBy(h.ln, servers)
}

func (h *home) greetBy(ln link.Listener, servers []netip.AddrPort) *guest {
	h.t.Helper()
	g := h.acceptBy(ln)
	g.send(control.Welcome{Version: control.Version, Software: "test", Name: "attic", STUN: servers, Observed: at("127.0.0.1:1")})
	if _, synced := g.next().(control.Synced); !synced {
		h.t.Fatal("an inventory of something")
	}
	return g
}

// network waits for what the agent tells of its network.
func (g *guest) network() nat.Network {
	g.t.Helper()
	g.stream.SetReadDeadline(time.Now().Add(patience))
	for {
		m, err := g.frames.Next()
		ok(g.t, err)
		if n, is := m.(control.Network); is {
			return nat.Network(n)
		}
	}
}

func TestTheSurrogateIsToldWhatTheNetworkDoes(t *testing.T) {
	h := newHome(t)
	cfg := joined(t, h)
	agent := start(t, cfg)
	g := h.greetWith(serveSTUN(t, false))
	want := nat.Behaviour{
		Public: nat.Yes, Mapping: nat.EndpointIndependent, Preserved: nat.Yes, Hairpin: nat.Yes, Double: nat.No,
	}
	if got := g.network(); got.Behaviour != want || len(got.Candidates) != 0 {
		t.Errorf("told %+v, want %+v", got, want)
	}
	st, err := ReadStatus(cfg.State)
	ok(t, err)
	if st.Network.Mapping != "endpoint-independent" || st.Network.Summary != want.Sentence() || st.Network.Checked.IsZero() {
		t.Errorf("shown %+v", st.Network)
	}

	// The next connection hears of it at once.
	g.conn.Close(0, "")
	g = h.accept()
	g.send(control.Welcome{Version: control.Version, Software: "test", Name: "attic", STUN: nil, Observed: at("127.0.0.1:1")})
	if got := g.network(); got.Behaviour != want {
		t.Errorf("told %+v the second time", got)
	}
	const longest = 15 * time.Second // it finds out how long mappings live, which takes 25 s at least
	begin := time.Now()
	ok(t, agent.end())
	if took := time.Since(begin); took > longest {
		t.Errorf("the agent ends in %s", took)
	}
}

func TestTheSurrogateIsToldThatUDPIsBlocked(t *testing.T) {
	t.Parallel()
	h := newBlockedHome(t)
	cfg := joined(t, h)
	start(t, cfg)
	g := h.greetBy(h.tcp, serveSTUN(t, true))
	if got := g.network(); !got.Behaviour.Blocked {
		t.Errorf("told %+v", got)
	}
	if st, err := ReadStatus(cfg.State); err != nil || !st.Network.Blocked || st.Transport != "tcp" {
		t.Errorf("shown %+v, %v", st, err)
	}
}

func TestUDPThatIsHeardOverTCPIsTriedAtOnce(t *testing.T) {
	t.Parallel()
	h := newBlockedHome(t)
	start(t, joined(t, h))
	h.greetBy(h.tcp, serveSTUN(t, false))
	h.gate.shut.Store(false)
	h.greetWith(nil)
}

func TestSilentSTUNServersDisturbNobody(t *testing.T) {
	h := newHome(t)
	cfg := joined(t, h)
	start(t, cfg)
	g := h.greetWith(serveSTUN(t, true))
	tt := newTorrent(t, "music")
	tt.place(t, cfg.Dir, "music")
	g.assign(tt, 1)
	eventually(t, "the status says that nobody answers", func() bool {
		st, err := ReadStatus(cfg.State)
		ok(t, err)
		return st.Connected && strings.Contains(st.Network.Error, "no STUN server answers") && st.Network.Summary == "" && len(st.Torrents) == 1
	})
}
