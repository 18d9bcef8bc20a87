package utp

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	var first packet
	for i := range uint32(2) { // a SYN that comes again is answered alike
		request := syn(77)
		request.timestamp = i
		s.send(request)
		answer, n := s.mustReceive(stState)
		if n > headerLen || answer.connID != 77 || answer.ack != request.seq || answer.window != 1<<20 || i > 0 && answer.seq != first.seq {
			t.Errorf("a SYN of %d bytes was answered with %d: %+v, before %+v", headerLen, n, answer, first)
		}
		if want := i * (answer.timestamp - 1); answer.timestampDiff != want {
			t.Errorf("a SYN of time %d was answered with a difference of %d, want %d", i, answer.timestampDiff, want)
		}
		first = answer
	}
	// An acknowledgement that is guessed proves nothing, nor does one that another address was given.
	secrets := &e.sockets[0].secrets
	guess := packet{typ: stData, connID: 78, seq: 2, ack: first.seq, payload: []byte("forged")}
	for secrets.follows(addrPort(s.conn), &guess) != 0 { // as one of thousands is
		guess.ack++
	}
	s.send(guess)
	s.mustReceive(stReset)
	other := newStranger(t, e, "127.0.0.2")
	for ack := range 4 {
		forged := packet{typ: stData, connID: 78, seq: 2, ack: first.seq - 1 - uint16(ack), payload: []byte("forged")}
		for secrets.follows(addrPort(other.conn), &forged) != 0 {
			forged.ack--
		}
		other.send(forged)
	}
	eventually(t, "the guess and the forged ones arrived", func() bool { return e.Stats().Unknown == 1+4 })
	if got := e.Stats(); got.Conns != 0 || got.Memory != 0 || len(e.backlog) != 0 {
		t.Fatalf("before proof: %+v, %d to be accepted", got, len(e.backlog))
	}
	for range 2 { // the second is a repetition
		s.send(packet{typ: stData, connID: 78, seq: 2, ack: first.seq - 1, payload: []byte("hello")})
		if p, _ := s.mustReceive(stState); p.seq != first.seq || p.ack != 2 {
			t.Errorf("the first packet was answered with %+v", p)
		}
	}
	c, err := e.Accept()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	if n, err := c.Read(b); string(b[:n]) != "hello" || err != nil {
		t.Errorf("read %q: %v", b[:n], err)
	}
	if got := e.Stats(); got.Conns != 1 || got.Accepted != 1 || got.SYNs != 2 || len(e.backlog) != 0 {
		t.Errorf("after proof: %+v", got)
	}
	if err := c.(*Conn).Reset(); err != nil {
		t.Error(err)
	}
}

func addrPort(c *net.UDPConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

// The first packet after the SYN is what opens a connection, whatever it is: who has nothing to say sends an
// acknowledgement, or ends his direction.
func TestAnyFirstPacketOpensAConnection(t *testing.T) {
	e := newEndpoint(t, Config{})
	for _, typ := range []packetType{stState, stData, stFin} {
		s := newStranger(t, e, "127.0.0.1")
		s.send(syn(77))
		answer, _ := s.mustReceive(stState)
		s.send(packet{typ: typ, connID: 78, seq: 2, ack: answer.seq - 1})
		c, err := e.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if typ == stFin {
			_ = c.SetDeadline(time.Now().Add(patience))
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("the end of a stream without bytes: %v", err)
			}
		}
	}
}

// A RESET for what overtook the first packet would end a connection that is about to begin.
func TestFirstPacketThatIsLostMayComeAgain(t *testing.T) {
	e := newEndpoint(t, Config{})
	s := newStranger(t, e, "127.0.0.1")
	s.send(syn(77))
	answer, _ := s.mustReceive(stState)
	data := func(n uint16) {
		s.send(packet{typ: stData, connID: 78, seq: 1 + n, ack: answer.seq - 1, payload: []byte{byte(n)}})
	}
	for n := uint16(2); n <= firstFlight; n++ {
		data(n)
	}
	eventually(t, "the others arrived", func() bool { return e.Stats().Unknown == firstFlight-1 })
	data(1)
	s.mustReceive(stState) // and nothing before
	data(2)
	s.mustReceive(stState)
	c, err := e.Accept()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 2)
	if _, err := io.ReadFull(c, b); b[0] != 1 || b[1] != 2 || err != nil {
		t.Errorf("read %v: %v", b, err)
	}
}

// Peers that answer late, as Transmission which does after half a second, get in beside any number of requests, even where
// these claim to come from their address.
func TestLatePeerConnectsBesideAFloodOfSYNs(t *testing.T) {
	const addresses, each, late = 20, 500, 500 * time.Millisecond
	to := newEndpoint(t, Config{})
	honest := newStranger(t, to, "127.0.1.1")
	flood := []*stranger{honest}
	for i := 1; i < addresses; i++ {
		flood = append(flood, newStranger(t, to, fmt.Sprintf("127.0.1.%d", i+1)))
	}
	honest.send(syn(7))
	answer, _ := honest.mustReceive(stState)
	begin := time.Now()
	for n := range uint16(each) {
		for _, s := range flood {
			s.send(syn(10 + 2*n))
		}
		if most := int64(n) * addresses; n%5 == 0 {
			eventually(t, "the flood arrives", func() bool { return requests(to) > most })
		}
	}
	eventually(t, "the flood arrived", func() bool { return requests(to) == addresses*each+1 })
	if got := to.Stats(); got.Conns != 0 || got.Memory != 0 || got.RefusedSYNs == 0 {
		t.Errorf("a flood made us hold %+v", got)
	}
	most := greetingsAtOnce + greetingsPerSecond*(int(time.Since(begin)/time.Second)+1)
	for _, s := range flood {
		for n := 0; ; n++ {
			p, size, ok := s.receive(time.Millisecond)
			if !ok {
				break
			}
			if p.typ != stState || size > headerLen || n >= most {
				t.Fatalf("answer %d to a flood: a %v of %d bytes", n, p.typ, size)
			}
		}
	}
	<-time.After(time.Until(begin.Add(late)))
	honest.send(packet{typ: stData, connID: 8, seq: 2, ack: answer.seq - 1, payload: []byte("hello")})
	c, err := to.Accept()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 5)
	if _, err := io.ReadFull(c, b); string(b) != "hello" || err != nil {
		t.Errorf("read %q: %v", b, err)
	}
	honest.mustReceive(stState)
	from := newEndpoint(t, Config{})
	d, f := dialBetween(t, from, to, to.Addr().String())
	exchange(t, d, f, 1<<20)
}

// requests is how many came.
func requests(e *Endpoint) int64 {
	s := e.Stats()
	return s.SYNs + s.RefusedSYNs
}

func TestRequestsBeyondTheBacklogAreIgnored(t *testing.T) {
	to, from := newEndpoint(t, Config{Backlog: 2}), newEndpoint(t, Config{})
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
	eventually(t, "the request was refused", func() bool { return to.Stats().RefusedSYNs > 0 })
	if got := to.Stats(); got.Conns != 2 {
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
		p := packet{typ: stData, connID: i, seq: i, payload: []byte("?")}
		for e.sockets[0].secrets.follows(addrPort(s.conn), &p) != 0 { // as one of thousands opens a connection
			p.ack++
		}
		s.send(p)
		s.send(packet{typ: stReset, connID: i, seq: i})
		if i%100 == 0 {
			eventually(t, "they arrive", func() bool { return e.Stats().Unknown >= 2*int64(i) })
		}
	}
	eventually(t, "all arrived", func() bool { return e.Stats().Unknown == 2*packets })
	most := resetsAtOnce + resetsPerSecond*(int(time.Since(begin)/time.Second)+1)
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
	answer, _ := s.mustReceive(stState)
	s.send(packet{typ: stState, connID: 501, seq: 2, ack: answer.seq - 1})
	if _, err := e.Accept(); err != nil {
		t.Fatal(err)
	}
	s.send(packet{typ: stReset, connID: 502, ack: answer.seq - 1})
	eventually(t, "the other RESET arrived", func() bool { return e.Stats().Unknown == 1 })
	if e.Stats().Conns != 1 {
		t.Error("a RESET for a neighbour was taken")
	}
}

// What was on its way when a connection ended is no reason to say so again.
func TestConnectionIsToldOfItsEndOnceASecond(t *testing.T) {
	e := newEndpoint(t, Config{})
	s := newStranger(t, e, "127.0.0.1")
	s.send(syn(77))
	answer, _ := s.mustReceive(stState)
	data := packet{typ: stData, connID: 78, seq: 2, ack: answer.seq - 1, payload: []byte("hello")}
	s.send(data)
	s.mustReceive(stState)
	c, err := e.Accept()
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if err := c.(*Conn).Reset(); err != nil {
		t.Fatal(err)
	}
	s.mustReceive(stReset)
	const more = 50
	for n := range uint16(more) {
		data.seq, data.ack = 10_000+n, answer.seq+10_000
		s.send(data)
	}
	eventually(t, "all arrived", func() bool { return e.Stats().Unknown == more })
	if most := int64(time.Since(begin) / time.Second); e.Stats().Resets > most {
		t.Errorf("%d RESETs more in %d seconds", e.Stats().Resets, most)
	}
	eventually(t, "it is told once more", func() bool {
		s.send(data)
		return e.Stats().Resets > 0
	})
}
