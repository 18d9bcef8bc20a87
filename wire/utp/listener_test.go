package utp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"
)

// stranger speaks packets from a plain socket.
type stranger struct {
	t    testing.TB
	conn *net.UDPConn
	to   netip.AddrPort
}

func newStranger(t testing.TB, e *Endpoint, ip string) *stranger {
	return &stranger{t: t, conn: listenUDP(t, ip), to: e.Addr().(*net.UDPAddr).AddrPort()}
}

func (s *stranger) send(p packet) {
	s.t.Helper()
	if _, err := s.conn.WriteToUDPAddrPort(p.appendMarshal(nil), s.to); err != nil {
		s.t.Fatal(err)
	}
}

// receive returns the next packet and its length, or false when none comes for a while.
func (s *stranger) receive(wait time.Duration) (packet, int, bool) {
	s.t.Helper()
	if err := s.conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		s.t.Fatal(err)
	}
	b := make([]byte, 2048)
	n, err := s.conn.Read(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return packet{}, 0, false
	}
	if err != nil {
		s.t.Fatal(err)
	}
	p, err := parsePacket(b[:n])
	if err != nil {
		s.t.Fatal(err)
	}
	return p, n, true
}

func (s *stranger) mustReceive(typ packetType) (packet, int) {
	s.t.Helper()
	p, n, ok := s.receive(patience)
	if !ok || p.typ != typ {
		s.t.Fatalf("got a %v (%v), want a %v", p.typ, ok, typ)
	}
	return p, n
}

func syn(id uint16) packet {
	return packet{typ: stSyn, connID: id, seq: 1, window: 1 << 20, timestamp: 1}
}

func TestConnectionIsAcceptedOnceItsAddressIsProven(t *testing.T) {
	e := newEndpoint(t, Config{})
	s := newStranger(t, e, "127.0.0.1")
	for range 2 { // the second is answered like the first
		s.send(syn(77))
		answer, n := s.mustReceive(stState)
		if n > headerLen {
			t.Errorf("a SYN of %d bytes was answered with %d", headerLen, n)
		}
		// An acknowledgement that is guessed proves nothing.
		s.send(packet{typ: stData, connID: 78, seq: 2, ack: answer.seq + 1, payload: []byte("forged")})
	}
	if got := e.Stats(); got.HalfOpen != 1 || got.Conns != 1 || len(e.backlog) != 0 {
		t.Fatalf("before proof: %+v, %d to be accepted", got, len(e.backlog))
	}
	s.send(syn(77))
	answer, _ := s.mustReceive(stState)
	s.send(packet{typ: stData, connID: 78, seq: 2, ack: answer.seq - 1, payload: []byte("hello")})
	c, err := e.Accept()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	if n, err := c.Read(b); string(b[:n]) != "hello" || err != nil {
		t.Errorf("read %q: %v", b[:n], err)
	}
	if got := e.Stats(); got.HalfOpen != 0 || got.Conns != 1 || got.Accepted != 1 {
		t.Errorf("after proof: %+v", got)
	}
	if err := c.(*Conn).Reset(); err != nil {
		t.Error(err)
	}
}

func TestHalfOpenConnectionEndsSilently(t *testing.T) {
	e := newEndpoint(t, Config{})
	s := newStranger(t, e, "127.0.0.1")
	s.send(syn(1))
	s.mustReceive(stState)
	e.mu.Lock()
	c := e.half.first
	e.mu.Unlock()
	c.tick(time.Now().Add(halfOpenTime))
	if got := e.Stats(); got.Conns != 0 || got.HalfOpen != 0 {
		t.Errorf("left behind: %+v", got)
	}
	if p, _, ok := s.receive(50 * time.Millisecond); ok {
		t.Errorf("an address that was never proven got a %v", p.typ)
	}
}

func TestFloodOfSYNsLeavesOthersUnharmed(t *testing.T) {
	const addresses, each = 100, 20
	to, from := newEndpoint(t, Config{}), newEndpoint(t, Config{})
	a, b := dialBetween(t, from, to, to.Addr().String())
	flood := make([]*stranger, addresses)
	for i := range flood {
		flood[i] = newStranger(t, to, fmt.Sprintf("127.0.1.%d", i+1))
	}
	for id := range uint16(each) {
		for _, s := range flood {
			s.send(syn(10 * id))
		}
	}
	eventually(t, "the flood arrived", func() bool { return to.Stats().RefusedSYNs == addresses*each-256 })
	got := to.Stats()
	if got.HalfOpen != 256 || got.Conns > 257 || got.Memory > 64<<10 {
		t.Errorf("a flood made us hold %+v", got)
	}
	c, d := dialBetween(t, from, to, to.Addr().String())
	exchange(t, a, b, 1<<20)
	exchange(t, c, d, 1<<20)
	for _, s := range flood {
		for n := 0; ; n++ {
			p, size, ok := s.receive(time.Millisecond)
			if !ok {
				break
			}
			if p.typ != stState || size > headerLen || n > each {
				t.Fatalf("answer %d to a flood: a %v of %d bytes", n, p.typ, size)
			}
		}
	}
	eventually(t, "the flood is over", func() bool {
		to.mu.Lock()
		defer to.mu.Unlock()
		return to.half.n <= to.half.limit && len(to.half.from) <= to.half.n
	})
}

func TestOneAddressGetsFewHalfOpenConnections(t *testing.T) {
	e := newEndpoint(t, Config{})
	s := newStranger(t, e, "127.0.0.1")
	for id := range uint16(40) {
		s.send(syn(10 * id))
	}
	eventually(t, "all SYNs arrived", func() bool { return e.Stats().RefusedSYNs == 40-halfOpenPerIP })
	if got := e.Stats(); got.HalfOpen != halfOpenPerIP {
		t.Errorf("one address holds %d half-open connections", got.HalfOpen)
	}
}

func TestRequestsBeyondTheBacklogAreIgnored(t *testing.T) {
	to, from := newEndpoint(t, Config{MaxHalfOpen: 2}), newEndpoint(t, Config{})
	dial := func(d time.Duration) error {
		ctx, cancel := context.WithTimeout(context.Background(), d)
		defer cancel()
		c, err := from.DialContext(ctx, "utp", to.Addr().String())
		if err == nil {
			t.Cleanup(func() { _ = c.Close() })
		}
		return err
	}
	for i := range 2 {
		if err := dial(patience); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it waits to be accepted", func() bool { return len(to.backlog) == i+1 })
	}
	if err := dial(100 * time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("dialling who is busy: %v", err)
	}
	if got := to.Stats(); got.RefusedSYNs == 0 || got.Conns != 2 {
		t.Errorf("who is busy has %+v", got)
	}
	if _, err := to.Accept(); err != nil {
		t.Fatal(err)
	}
	if err := dial(patience); err != nil {
		t.Error(err)
	}
}

func TestClosedListenerLeavesConnectionsOpen(t *testing.T) {
	to, from := newEndpoint(t, Config{}), newEndpoint(t, Config{})
	a, b := dialBetween(t, from, to, to.Addr().String())
	waiting, err := from.DialContext(context.Background(), "utp", to.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "it waits to be accepted", func() bool { return len(to.backlog) == 1 })
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	_ = waiting.SetDeadline(time.Now().Add(patience))
	if _, err := waiting.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("who was not accepted: %v", err)
	}
	exchange(t, a, b, 100_000)
}

func TestPacketsOfNoConnectionAreAnsweredNowAndThen(t *testing.T) {
	e := newEndpoint(t, Config{})
	s := newStranger(t, e, "127.0.0.1")
	begin := time.Now()
	const packets = 2000
	for i := range uint16(packets) {
		s.send(packet{typ: stData, connID: i, seq: i, payload: []byte("?")})
		s.send(packet{typ: stReset, connID: i, seq: i})
		if i%100 == 0 {
			eventually(t, "they arrive", func() bool { return e.Stats().Unknown >= 2*int64(i) })
		}
	}
	eventually(t, "all arrived", func() bool { return e.Stats().Unknown == 2*packets })
	most := repliesPerSecond * (int(time.Since(begin)/time.Second) + 2)
	answers := 0
	for {
		p, n, ok := s.receive(50 * time.Millisecond)
		if !ok {
			break
		}
		answers++
		if p.typ != stReset || p.ack != p.connID || n != headerLen {
			t.Fatalf("answer: %+v of %d bytes", p, n)
		}
	}
	if answers == 0 || answers > most || int64(answers) != e.Stats().Resets {
		t.Errorf("%d answers to %d packets, want 1 to %d; counted %d", answers, packets, most, e.Stats().Resets)
	}
}

func TestResetWithTheIDOfWhatItAnswersIsTaken(t *testing.T) {
	e := newEndpoint(t, Config{})
	s := newStranger(t, e, "127.0.0.1")
	for _, own := range []bool{true, false} {
		s.send(syn(500))
		answer, _ := s.mustReceive(stState)
		s.send(packet{typ: stState, connID: 501, seq: 2, ack: answer.seq - 1})
		if _, err := e.Accept(); err != nil {
			t.Fatal(err)
		}
		id := uint16(501)
		if own {
			id = answer.connID
		}
		s.send(packet{typ: stReset, connID: id, ack: answer.seq - 1})
		eventually(t, "the connection is reset", func() bool { return e.Stats().Conns == 0 })
	}
	s.send(syn(500))
	s.mustReceive(stState)
	s.send(packet{typ: stReset, connID: 502})
	eventually(t, "the other RESET arrived", func() bool { return e.Stats().Unknown == 1 })
	if e.Stats().Conns != 1 {
		t.Error("a RESET for a neighbour was taken")
	}
}
