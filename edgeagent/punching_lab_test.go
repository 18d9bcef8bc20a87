package edgeagent

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"simplebit/integration/natlab"
	"simplebit/nat"
	"simplebit/nat/punch"
	"simplebit/nat/udpmux"
	"simplebit/wire/control"
	"simplebit/wire/dial"
	"simplebit/wire/mse"
	"simplebit/wire/peer"
)

// puncherAt is what punches on a device of a lab, with its peer port.
type puncherAt struct {
	*punching
	host   *natlab.Host
	device string // what others are told that it is
	home   *natlab.Router
	id     [20]byte
	conns  chan *dial.Conn
	later  atomic.Int64 // how much its clock is fast
	stop   func()
}

// newPuncher runs one until the test ends.
func newPuncher(t *testing.T, home *natlab.Router, name string) *puncherAt {
	t.Helper()
	h, err := home.Host(name)
	ok(t, err)
	a := &puncherAt{host: h, device: name, home: home, id: peer.NewID(), conns: make(chan *dial.Conn, 10)}
	cfg := Config{Listen: ":6882"}
	if os.Getenv("SIMPLEBIT_TEST_LOG") != "" {
		cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("at", name)
	}
	cfg = cfg.withDefaults()
	var p *ports
	ok(t, h.Do(func() error {
		p, err = listen(cfg)
		return err
	}))
	answer := func(id infoHash) (peer.Handshake, bool) {
		return peer.Handshake{InfoHash: id, PeerID: a.id}, id == infoHash{1}
	}
	take := func(c *dial.Conn) { a.conns <- c }
	a.punching = newPunching(cfg, p, answer, take)
	a.lookEvery = 50 * time.Millisecond
	a.dialer.Connect = patience
	a.now = func() time.Time { return time.Now().Add(time.Duration(a.later.Load())) }
	p.punched = a.receive
	ctx, cancel := context.WithCancel(context.Background())
	var tasks sync.WaitGroup
	tasks.Go(func() { p.socket.Run(context.Background()) })
	var working sync.WaitGroup
	working.Go(func() { h.Do(func() error { return a.run(ctx) }) }) // its sockets are the host's
	working.Go(func() {
		in := entrance{door: dial.Acceptor{Answer: answer, Encryption: mse.Off}, take: take, log: cfg.Log}
		p.run(ctx, in.serve)
	})
	a.stop = sync.OnceFunc(func() {
		cancel()
		working.Wait()
		p.close()
		tasks.Wait()
	})
	t.Cleanup(a.stop)
	return a
}

// seenFrom sends from the main socket to an echo, and returns where that sees it.
func (a *puncherAt) seenFrom(t *testing.T, echo net.PacketConn) netip.AddrPort {
	t.Helper()
	ok(t, a.ports.socket.Send(echo.LocalAddr().(*net.UDPAddr).AddrPort(), []byte("where am I?"), 0))
	_, from, err := echo.ReadFrom(make([]byte, 100))
	ok(t, err)
	at := from.(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
}

func (a *puncherAt) outcome(t *testing.T) control.Punched {
	t.Helper()
	var list []control.Punched
	eventually(t, "an outcome", func() bool { list = a.untold(); return len(list) > 0 })
	if len(list) != 1 {
		t.Errorf("outcomes %+v", list)
	}
	return list[0]
}

func (a *puncherAt) conn(t *testing.T) *dial.Conn {
	t.Helper()
	select {
	case c := <-a.conns:
		t.Cleanup(func() { c.Close() })
		return c
	case <-time.After(patience):
		t.Fatal("no connection")
	}
	return nil
}

// newHomes is a lab with a public host, which echoes, and two homes.
func newHomes(t *testing.T, kinds [2]natlab.Kind) (homes [2]*natlab.Router, echo net.PacketConn) {
	t.Helper()
	natlab.Require(t)
	lab, err := natlab.New(natlab.Config{})
	ok(t, err)
	t.Cleanup(func() { lab.Close() })
	public, err := lab.Host("public")
	ok(t, err)
	echo, err = public.ListenPacket("udp4", netip.AddrPortFrom(public.Addr(), 0).String())
	ok(t, err)
	t.Cleanup(func() { echo.Close() })
	echo.SetDeadline(time.Now().Add(4 * patience))
	for i := range homes {
		homes[i], err = lab.Router(string(rune('a'+i)), natlab.RouterConfig{Kind: kinds[i]})
		ok(t, err)
	}
	return homes, echo
}

// punch has two devices try, the first one controlling, as a surrogate would.
func punchBetween(t *testing.T, devices [2]*puncherAt, echo net.PacketConn, try int) (outcomes [2]control.Punched) {
	t.Helper()
	var m control.Punch
	rand.Read(m.Attempt[:])
	rand.Read(m.Key[:])
	m.Torrents = [][20]byte{{1}, {2}}
	m.In, m.Try, m.Deadline = 20*time.Millisecond, uint16(try), 10*time.Second
	var seen [2]netip.AddrPort
	for i, d := range devices {
		seen[i] = d.seenFrom(t, echo)
	}
	for i, d := range devices {
		m.Controlling, m.Peer = i == 0, devices[1-i].device
		m.Observed, m.Self = seen[1-i], seen[i].Addr()
		m.Local, m.Theirs = d.home.Expect(), devices[1-i].home.Expect()
		m.Remote = []nat.Candidate{{Kind: nat.ReflexiveCandidate, Addr: seen[1-i]}, {Kind: nat.HostCandidate, Addr: at("192.168.77.7:6882")}}
		d.begin(m)
	}
	for i, d := range devices {
		outcomes[i] = d.outcome(t)
	}
	return outcomes
}

// Peers meet on a path, it is told, and it ends when it falls silent.
func TestPeersMeetOverAPathThatIsPunched(t *testing.T) {
	t.Parallel()
	homes, echo := newHomes(t, [2]natlab.Kind{natlab.PortRestricted, natlab.PortRestricted})
	a, b := newPuncher(t, homes[0], "a-pc"), newPuncher(t, homes[1], "b-pc")
	for i, o := range punchBetween(t, [2]*puncherAt{a, b}, echo, 0) {
		if want := netip.AddrPortFrom(homes[1-i].External(), 6882); o.Outcome != control.PunchConnected || o.Remote != want || o.Socket != 0 ||
			o.RTT <= 0 || len(o.Tries) != 1 || o.Tries[0].Addr != want || o.Tries[0].Kind != nat.ReflexiveCandidate || o.LAN {
			t.Errorf("outcome %+v, want a path to %s and no private address tried", o, want)
		}
	}
	calls, takes := a.conn(t), b.conn(t)
	for _, c := range []struct {
		at   *puncherAt
		conn *dial.Conn
		out  bool
	}{{a, calls, true}, {b, takes, false}} {
		if !c.at.punched(c.conn) || c.conn.Transport != dial.UTP || c.conn.Outgoing != c.out {
			t.Errorf("%s has %+v, punched: %v", c.at.host.Name(), c.conn, c.at.punched(c.conn))
		}
	}
	exchangeBytes(t, calls, takes)
	if again := a.all(); len(again) != 1 || again[0].Outcome != control.PunchConnected {
		t.Errorf("a new surrogate is told %+v", again)
	}

	a.later.Store(int64(punch.MaxSilence))
	for _, c := range []*dial.Conn{calls, takes} {
		c.SetDeadline(time.Now().Add(patience))
		if _, err := c.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
			t.Errorf("after the silence: %v", err)
		}
	}
	if o := a.outcome(t); o.Outcome != control.PunchLost {
		t.Errorf("told %+v of a silent path", o)
	}
	if a.punched(calls) || len(a.all()) != 0 {
		t.Error("a lost path is still known")
	}
}

// What a connection on the path hears counts, so the cut may come just before the next answer would.
func TestAShortCutInTheMiddleOfATransferDoesNotEndThePath(t *testing.T) {
	t.Parallel()
	homes, echo := newHomes(t, [2]natlab.Kind{natlab.PortRestricted, natlab.PortRestricted})
	a, b := newPuncher(t, homes[0], "a-pc"), newPuncher(t, homes[1], "b-pc")
	punchBetween(t, [2]*puncherAt{a, b}, echo, 0)
	calls, takes := a.conn(t), b.conn(t)
	began := time.Now()
	var came atomic.Int64
	var transfer sync.WaitGroup
	ends := began.Add(time.Minute)
	calls.SetDeadline(ends)
	takes.SetDeadline(ends)
	done := make(chan struct{})
	transfer.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(10 * time.Millisecond):
			}
			if _, err := calls.Write(make([]byte, 10_000)); err != nil {
				select {
				case <-done:
				default:
					t.Errorf("after %s: %v", time.Since(began), err)
				}
				return
			}
		}
	})
	transfer.Go(func() {
		buf := make([]byte, 64<<10)
		for {
			n, err := takes.Read(buf)
			came.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	eventually(t, "the next answer is near", func() bool { return time.Since(began) > 7500*time.Millisecond })
	ok(t, homes[0].Cut())
	eventually(t, "nothing comes any more", func() bool {
		was := came.Load()
		time.Sleep(200 * time.Millisecond)
		return came.Load() == was
	})
	was := came.Load()
	time.Sleep(time.Until(began.Add(punch.MaxSilence + time.Second)))
	ok(t, homes[0].Restore())
	eventually(t, "data comes again", func() bool { return came.Load() > was })
	if told := append(a.untold(), b.untold()...); len(told) != 0 || len(a.all()) != 1 || len(b.all()) != 1 {
		t.Errorf("told %+v", told)
	}
	close(done)
	calls.Close()
	takes.Close()
	transfer.Wait()
}

// Behind a NAT of random ports a device has many sockets, and one of them wins.
func TestASocketThatWinsIsKeptAsLongAsItsPath(t *testing.T) {
	t.Parallel()
	homes, echo := newHomes(t, [2]natlab.Kind{natlab.Symmetric, natlab.PortRestricted})
	for try := range 4 {
		devices := [2]*puncherAt{newPuncher(t, homes[0], fmt.Sprintf("a%d", try)), newPuncher(t, homes[1], fmt.Sprintf("b%d", try))}
		o := punchBetween(t, devices, echo, try)
		if o[0].Outcome != control.PunchConnected || o[0].Socket == 0 {
			continue // as the machine may
		}
		calls, takes := devices[0].conn(t), devices[1].conn(t)
		if !devices[0].punched(calls) || !devices[1].punched(takes) {
			t.Error("the connection is not known to be punched")
		}
		if main := devices[0].ports.socket.LocalAddr().String(); calls.LocalAddr().String() == main {
			t.Errorf("the connection leaves from %s", main)
		}
		exchangeBytes(t, calls, takes)
		devices[0].stop()
		takes.SetDeadline(time.Now().Add(patience))
		if _, err := takes.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
			t.Errorf("the end of the other device is told as %v", err)
		}
		return
	}
	t.Error("no path by a further socket in 4 attempts")
}

// Either side may have closed it, or have been stopped for a while.
func TestAConnectionThatEndsOnAPathIsMadeAgain(t *testing.T) {
	t.Parallel()
	homes, echo := newHomes(t, [2]natlab.Kind{natlab.PortRestricted, natlab.Bare})
	a, b := newPuncher(t, homes[0], "a-pc"), newPuncher(t, homes[1], "b-pc")
	var connected atomic.Bool
	connected.Store(true)
	a.recallEvery, a.connected = 50*time.Millisecond, func(id infoHash, remote netip.AddrPort) bool {
		return id != infoHash{1} || remote != netip.AddrPortFrom(homes[1].External(), 6882) || connected.Swap(true)
	}
	punchBetween(t, [2]*puncherAt{a, b}, echo, 0)
	calls, takes := a.conn(t), b.conn(t)
	exchangeBytes(t, calls, takes)
	calls.Close()
	takes.Close()
	connected.Store(false) // until it has been asked for
	calls, takes = a.conn(t), b.conn(t)
	if !a.punched(calls) || !b.punched(takes) {
		t.Error("the connection is not on the path")
	}
	exchangeBytes(t, calls, takes)
	if len(a.untold()) != 0 || len(a.all()) != 1 {
		t.Error("it is another path")
	}
}

func TestAPathThatNobodyUsesIsGivenUp(t *testing.T) {
	t.Parallel()
	homes, echo := newHomes(t, [2]natlab.Kind{natlab.Bare, natlab.PortRestricted})
	a, b := newPuncher(t, homes[0], "a-pc"), newPuncher(t, homes[1], "b-pc")
	a.idle, b.idle = 2*time.Second, time.Hour // before they hear of anything
	punchBetween(t, [2]*puncherAt{a, b}, echo, 0)
	calls, takes := a.conn(t), b.conn(t)
	for range 3 { // longer than it would be kept
		a.later.Add(int64(a.idle))
		time.Sleep(2 * a.lookEvery)
		exchangeBytes(t, calls, takes)
	}
	if !a.punched(calls) {
		t.Error("a path in use was given up")
	}
	calls.Close()
	takes.Close()
	eventually(t, "it is given up", func() bool { return len(a.all()) == 0 })
	if told := a.untold(); len(told) != 0 || len(b.all()) != 1 {
		t.Errorf("told %+v", told)
	}
}

// exchangeBytes sends some each way.
func exchangeBytes(t *testing.T, a, b net.Conn) {
	t.Helper()
	data := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
	var both sync.WaitGroup
	for _, c := range [2][2]net.Conn{{a, b}, {b, a}} {
		c[0].SetDeadline(time.Now().Add(patience))
		both.Go(func() {
			if _, err := c[0].Write(data); err != nil {
				t.Error(err)
			}
		})
		both.Go(func() {
			got := make([]byte, len(data))
			if _, err := io.ReadFull(c[1], got); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes came, %v", len(got), err)
			}
		})
	}
	both.Wait()
}

// Nobody waits for what cannot be.
func TestMoreAttemptsThanADeviceMakesAreRefused(t *testing.T) {
	t.Parallel()
	cfg := Config{Listen: "127.0.0.1:0"}.withDefaults()
	p, err := listen(cfg)
	ok(t, err)
	defer p.close()
	a := newPunching(cfg, p, nil, nil)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { a.run(ctx) })
	far := at("203.0.113.9:6882")
	for i := range maxAttempts + 1 {
		m := control.Punch{Attempt: [8]byte{byte(i + 1)}, Key: [16]byte{1}, In: time.Minute, Torrents: [][20]byte{{1}}, Observed: far, Controlling: true}
		eventually(t, "there is room for one more", func() bool { return len(a.plans) == 0 })
		a.begin(m)
		if i == 0 {
			a.begin(m) // is not another one
		}
	}
	var told []control.Punched
	eventually(t, "one is refused", func() bool { told = append(told, a.untold()...); return len(told) > 0 })
	if len(told) != 1 || told[0].Outcome != control.PunchBusy || told[0].Attempt[0] != maxAttempts+1 {
		t.Errorf("refused are %+v", told)
	}
	cancel()
	running.Wait()
	if len(a.awaited) != 0 || p.socket.Routes().Classify(far, probeOf([8]byte{1})) == udpmux.STUN {
		t.Error("attempts are left")
	}
}

// probeOf has the shape of a message of the other side of an attempt.
func probeOf(attempt [8]byte) []byte {
	name := fmt.Sprintf("%x:b", attempt)
	b := []byte{0, 1, 0, 24, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, byte(len(name))}
	return append(append(b, name...), 0, 0)
}

func TestMessagesOfAnAttemptAreToldByTheirUserName(t *testing.T) {
	probe := probeOf([8]byte{0xab, 7: 1})
	if got := string(sender(probe)); got != "ab00000000000001:b" {
		t.Errorf("it is from %q", got)
	}
	for n := range 42 {
		if got := sender(probe[:n]); got != nil {
			t.Errorf("%d bytes are from %q", n, got)
		}
	}
	probe[21] = 7
	if got := sender(probe); got != nil {
		t.Errorf("another attribute says %q", got)
	}
}
