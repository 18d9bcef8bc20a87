package rendezvous

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"simplebit/nat/stun"
	"simplebit/nat/udpmux"
	"simplebit/rendezvous/apiclient"
)

// asker is a STUN client on a socket of its own.
type asker struct {
	*stun.Client
	at netip.AddrPort
}

func newAsker(t *testing.T, network, address string) asker {
	t.Helper()
	pc, err := net.ListenPacket(network, address)
	if err != nil {
		t.Fatal(err)
	}
	conn := pc.(*net.UDPConn)
	profile := stun.Quick
	profile.Last = patience
	c := stun.NewClient(stun.Conn{UDPConn: conn}, profile)
	done := make(chan error, 1)
	go func() {
		done <- stun.Read(conn, func(now time.Time, from netip.AddrPort, b []byte) { c.Receive(now, from, b) })
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return asker{c, conn.LocalAddr().(*net.UDPAddr).AddrPort()}
}

// port is that of host:port.
func port(t *testing.T, address string) uint16 {
	t.Helper()
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return a.Port()
}

func TestSTUNIsAnsweredFromTheAddressAndThePortThatWereAsked(t *testing.T) {
	cfg := local(t)
	cfg.Control, cfg.STUNAlt, cfg.Public = ":0", ":0", []string{"127.0.0.1"}
	s := serve(t, cfg)
	control, alt := port(t, s.Control), port(t, s.STUNAlt)
	for _, ip := range []string{"127.0.0.1", "127.0.0.77", "::1"} {
		a := netip.MustParseAddr(ip)
		c := newAsker(t, "udp", net.JoinHostPort(ip, "0"))
		for _, ports := range [][2]uint16{{control, alt}, {alt, control}} {
			at, other := netip.AddrPortFrom(a, ports[0]), netip.AddrPortFrom(a, ports[1])
			for _, o := range []stun.Options{{}, {ChangePort: true, Other: other}} {
				r, err := c.Binding(t.Context(), at, o) // which takes no answer from elsewhere
				if err != nil || r.Mapped != c.at || r.Other.IsValid() {
					t.Errorf("%s asked, change of port %t: %+v, %v", at, o.ChangePort, r, err)
				}
			}
			var refused *stun.ErrorResponse
			if _, err := c.Binding(t.Context(), at, stun.Options{ChangeIP: true, Other: netip.AddrPortFrom(a.Next(), 1)}); !errors.As(err, &refused) || refused.Code != 420 {
				t.Errorf("%s asked for a second address that is not there: %v", at, err)
			}
		}
		hears := newAsker(t, "udp", net.JoinHostPort(ip, "0"))
		conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 0)))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		via := stun.Conn{UDPConn: conn}
		r, err := hears.Binding(t.Context(), netip.AddrPortFrom(a, control), stun.Options{ResponsePort: hears.at.Port(), Via: via})
		if want := conn.LocalAddr().String(); err != nil || r.Mapped.String() != want {
			t.Errorf("an answer to another port: %+v, %v; want %s", r, err, want)
		}
	}
}

func TestAnOlderClientOfSTUNIsAnsweredAtTheControlPort(t *testing.T) {
	cfg := local(t)
	cfg.STUNAlt = ":0"
	s := serve(t, cfg)
	for _, address := range []string{s.Control, s.STUNAlt} {
		c, err := net.Dial("udp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		if _, err := c.Write(append([]byte{0, 1, 0, 0}, "no cookie, 16 B."...)); err != nil { // RFC 3489 section 11.1
			t.Fatal(err)
		}
		b := make([]byte, 200)
		if n, err := c.Read(b); err != nil || n < 32 || string(b[4:20]) != "no cookie, 16 B." || binary.BigEndian.Uint16(b) != 0x0101 {
			t.Errorf("%s answers %x, %v", address, b[:n], err)
		}
	}
}

func TestDevicesAreToldWhereToAskForWhatTheyDialled(t *testing.T) {
	service := func(alt bool, own int, publics ...string) *stunService {
		s := &stunService{ports: []*stunPort{{bound: netip.MustParseAddrPort("[::]:4433")}}, forward: 14433}
		if alt {
			s.ports = append(s.ports, &stunPort{bound: netip.MustParseAddrPort("[::]:4434")})
		}
		s.publics = publicAddrs(publics)
		s.own = s.publics[:own]
		return s
	}
	const one, two, six = "192.0.2.1", "192.0.2.2", "2001:db8::1"
	for _, c := range []struct {
		name string
		s    *stunService
		end  string
		want string
	}{
		{"nothing known", service(true, 0), "192.0.2.9:4433", "0.0.0.0:14433 0.0.0.0:4434"},
		{"nothing known, one port", service(false, 0), "[2001:db8::9]:4433", "0.0.0.0:14433"},
		{"the end neither", service(true, 1, one), "[::]:4433", "0.0.0.0:14433 0.0.0.0:4434 192.0.2.1:4433 192.0.2.1:4434"},
		{"a name", service(true, 0, "home.example.org"), "192.0.2.9:4433", "0.0.0.0:14433 0.0.0.0:4434"},
		{"a router forwards", service(true, 0, one), "10.0.0.1:4433", "0.0.0.0:14433 0.0.0.0:4434"},
		{"one address", service(true, 1, one), "192.0.2.1:4433", "192.0.2.1:4433 192.0.2.1:4434"},
		{"two addresses", service(true, 2, one, two), "192.0.2.1:4433", "192.0.2.1:4433 192.0.2.1:4434 192.0.2.2:4433 192.0.2.2:4434"},
		{"the second one", service(true, 2, one, two), "192.0.2.2:4433", "192.0.2.2:4433 192.0.2.2:4434 192.0.2.1:4433 192.0.2.1:4434"},
		{"one on the LAN", service(true, 2, one, two), "10.0.0.1:4433", "0.0.0.0:14433 0.0.0.0:4434"},
		{"both families", service(true, 3, one, two, six), "[2001:db8::1]:4433",
			"[2001:db8::1]:4433 [2001:db8::1]:4434 192.0.2.1:4433 192.0.2.1:4434 192.0.2.2:4433 192.0.2.2:4434"},
		{"both families, forwarded", service(true, 0, one, six), "10.0.0.1:4433", "0.0.0.0:14433 0.0.0.0:4434 [2001:db8::1]:14433 [2001:db8::1]:4434"},
		{"one port", service(false, 2, one, two), "192.0.2.1:4433", "192.0.2.1:4433 192.0.2.2:4433"},
	} {
		var got []string
		for _, a := range c.s.reachedAt(netip.MustParseAddrPort(c.end)) {
			got = append(got, a.String())
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// portOnLoopback is a STUN port, and what sends to it.
func portOnLoopback(t *testing.T) (*stunPort, *net.UDPConn) {
	t.Helper()
	pc, err := net.ListenPacket("udp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	p, err := newSTUNPort(pc.(*net.UDPConn), true)
	if err != nil {
		t.Fatal(err)
	}
	p.all = []*stunPort{p}
	if p.server, err = stun.NewServer(stun.Config{Ports: []uint16{p.bound.Port()}}); err != nil {
		t.Fatal(err)
	}
	peer, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), p.bound.Port())))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	peer.SetDeadline(time.Now().Add(patience))
	return p, peer
}

// question is a Binding request that is longer than any answer.
var question = append([]byte("\x00\x01\x00\x64\x21\x12\xa4\x42transaction!\x80\x22\x00\x60"), make([]byte, 96)...)

func TestTheKernelGivesSTUNASocketOfItsOwn(t *testing.T) {
	control, err := net.ListenPacket("udp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close()
	split, err := splitSTUN(control.(*net.UDPConn))
	if err != nil {
		t.Fatal(err)
	}
	defer split.Close()
	if pc, err := net.ListenPacket("udp", control.LocalAddr().String()); err == nil {
		pc.Close()
		t.Error("the port can be taken once more")
	}
	routes := udpmux.NewRoutes(udpmux.Surrogate)
	for _, ip := range []string{"127.0.0.1", "::1"} {
		peer, err := net.Dial("udp", net.JoinHostPort(ip, fmt.Sprint(control.LocalAddr().(*net.UDPAddr).Port)))
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
		for _, sample := range []string{
			string(question), string(question[:20]), "\x00\x01\x00\x00no cookie, 16 B.", "\x3f\x01\x00\x00no cookie, 16 B.",
			string(question) + "1234", "\x00\x01\x00\x00short", "\x00", "@", "\x40\x01\x00\x00no cookie, 16 B.", "\x80\x01\x00\x00no cookie, 16 B.",
			"\xc0\x01\x00\x00no cookie, 16 B.", "@" + strings.Repeat("q", 1400), "\x00\x01\x05\x14" + strings.Repeat("\x00", 1316), "\x00\x01\x05\x15" + strings.Repeat("\x00", 1316),
		} {
			peer.Write([]byte(sample))
			want := control.(*net.UDPConn)
			if routes.Classify(netip.AddrPort{}, []byte(sample)) == udpmux.STUN {
				want = split
			}
			b := make([]byte, 2000)
			want.SetReadDeadline(time.Now().Add(patience))
			if n, _, err := want.ReadFromUDPAddrPort(b); err != nil || string(b[:n]) != sample {
				t.Errorf("%s: %q: the wrong socket has it: %v", ip, sample[:min(len(sample), 20)], err)
			}
		}
	}
}

func TestQUICGetsAllButSTUNWithItsControlMessages(t *testing.T) {
	p, peer := portOnLoopback(t)
	want := []string{"@one", "\xc3two", "@" + strings.Repeat("3", 1400), "\x00\x01four", "@five"}
	for i, b := range want {
		for range i % 3 {
			peer.Write(question)
		}
		peer.Write([]byte(b))
	}
	c := newControlConn(p.conn, p)
	var got []string
	for len(got) < len(want) {
		ms := make([]ipv4.Message, 4)
		for i := range ms {
			ms[i].Buffers, ms[i].OOB = [][]byte{make([]byte, 1452)}, make([]byte, 128)
		}
		buffers := slices.Clone(ms)
		n, err := c.ReadBatch(ms, 0)
		if err != nil || n == 0 {
			t.Fatal(n, err)
		}
		for i, m := range ms[:n] {
			got = append(got, string(m.Buffers[0][:m.N]))
			if &m.Buffers[0][0] != &buffers[i].Buffers[0][0] {
				t.Error("a buffer has moved")
			}
			if m.Addr.String() != peer.LocalAddr().String() || sentTo(m.OOB[:m.NN]).String() != "127.0.0.1" {
				t.Errorf("from %s to %s", m.Addr, sentTo(m.OOB[:m.NN]))
			}
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("QUIC got %q, not %q", got, want)
	}
	for range 1 + 2 + 1 { // as many as were asked between them
		if n, err := peer.Read(make([]byte, 200)); err != nil || n < 32 || n > len(question) {
			t.Errorf("an answer of %d bytes, %v", n, err)
		}
	}
}

func TestAnAnswerToSTUNAllocatesNothing(t *testing.T) {
	p, peer := portOnLoopback(t)
	info := new(packetInfo)
	from := peer.LocalAddr().(*net.UDPAddr).AddrPort()
	controls, now := info.from(netip.MustParseAddr("127.0.0.1")), time.Now()
	allocs := testing.AllocsPerRun(200, func() {
		now = now.Add(time.Second)
		p.answer(now, from, question, controls)
	})
	if n, err := peer.Read(make([]byte, 200)); err != nil || n == 0 {
		t.Error(err)
	}
	if allocs > 0 && !raceDetector { // which empties the server's pool at times
		t.Errorf("%v allocations an answer", allocs)
	}
}

func TestWhereADatagramWasSentToIsReadAsItIsWritten(t *testing.T) {
	for _, ip := range []string{"192.0.2.1", "2001:db8::1", "fe80::1"} {
		a := netip.MustParseAddr(ip)
		if got := sentTo(new(packetInfo).from(a)); got != a {
			t.Errorf("%s is read as %s", a, got)
		}
	}
	both := slices.Concat(new(packetInfo).from(netip.MustParseAddr("::ffff:10.0.0.2")), new(packetInfo).from(netip.MustParseAddr("10.0.0.1")))
	if got := sentTo(both); got.String() != "10.0.0.1" {
		t.Errorf("of both messages %s is read", got)
	}
	for n := range both {
		sentTo(both[:n])
	}
	if got := sentTo(make([]byte, 100)); got.IsValid() {
		t.Errorf("%s is read from nothing", got)
	}
}

func TestAPortThatCannotBeSplitServesDevicesAndSTUN(t *testing.T) {
	cfg, log := local(t), new(lines)
	cfg.Control, cfg.Public, cfg.whole, cfg.Log = ":0", []string{"127.0.0.1"}, true, slog.New(slog.NewTextHandler(log, nil))
	s := serve(t, cfg)
	s.device("attic")
	for _, ip := range []string{"127.0.0.9", "::1"} {
		c := newAsker(t, "udp", net.JoinHostPort(ip, "0"))
		r, err := c.Binding(t.Context(), netip.AddrPortFrom(netip.MustParseAddr(ip), port(t, s.Control)), stun.Options{})
		if err != nil || r.Mapped != c.at {
			t.Errorf("%s: %+v, %v", ip, r, err)
		}
	}
	if err := s.stop(); err != nil || !strings.Contains(log.String(), "a flood of STUN") {
		t.Errorf("%v; nothing is said of the risk: %s", err, log)
	}
}

// lines is a log.
type lines struct {
	mu sync.Mutex
	strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Builder.Write(b)
}

// sessions is how many began or ended.
func (l *lines) sessions() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.String(), "msg=\"device ")
}

// flood sends questions and garbage from made-up sources of 127.0.0.0/8 until ctx ends.
func flood(ctx context.Context, t *testing.T, to netip.AddrPort, sent *atomic.Int64) {
	pc, err := net.ListenPacket("udp4", ":0")
	if err != nil {
		t.Error(err)
		return
	}
	defer pc.Close()
	conn, info := pc.(*net.UDPConn), new(packetInfo)
	garbage := append(slices.Clone(question), 0)
	for ; ctx.Err() == nil; sent.Add(1) {
		n := uint32(sent.Load()) * 2654435761
		source := netip.AddrFrom4([4]byte{127, byte(n >> 24), byte(n >> 16), byte(n>>8) | 1})
		b := question
		if sent.Load()%8 == 0 {
			b = garbage
		}
		if _, _, err := conn.WriteMsgUDPAddrPort(b, info.from(source), to); err != nil && !errors.Is(err, unix.EPERM) {
			t.Errorf("after %d datagrams: %v", sent.Load(), err)
			return
		}
	}
}

func TestAFloodOfSTUNLeavesADevicesSessionUnharmed(t *testing.T) {
	cfg, log := local(t), new(lines)
	cfg.Log = slog.New(slog.NewTextHandler(log, nil))
	s := serve(t, cfg)
	s.device("attic")
	eventually(t, "joining is over, and the device is connected", func() bool { return log.sessions() == 3 })
	before := log.sessions()
	ctx, cancel := context.WithCancel(t.Context())
	var flooding sync.WaitGroup
	var sent atomic.Int64
	flooding.Go(func() { flood(ctx, t, netip.MustParseAddrPort(s.Control), &sent) })
	defer flooding.Wait()
	defer cancel()
	began := time.Now()
	var slowest time.Duration
	const enough = 10_000 // or it is no flood
	for i := 0; i < 20 || sent.Load() < enough && time.Since(began) < patience; i++ {
		asked := time.Now()
		j, err := s.api().Add(ctx, apiclient.NewJob{
			Torrent: albumFile("http://127.0.0.1:1/announce", [2]string{fmt.Sprintf("%016384d", i), "two"}), Target: "device:attic",
		})
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the device reports of a job", func() bool {
			got, err := s.api().Job(ctx, j.ID)
			return err == nil && got.State == apiclient.StateDownloading
		})
		slowest = max(slowest, time.Since(asked))
		if err := s.api().Remove(ctx, j.ID, true); err != nil {
			t.Fatal(err)
		}
	}
	took := time.Since(began)
	cancel()
	flooding.Wait()
	t.Logf("%d datagrams in %v; a job took at most %v to the device and back", sent.Load(), took, slowest)
	if got := log.sessions(); before == 0 || got != before {
		t.Errorf("%d sessions of the device had begun or ended before the flood, %d have after it", before, got)
	}
	if sent.Load() < enough {
		t.Errorf("%d datagrams are no flood", sent.Load())
	}
}
