package utp

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
)

// strangers are packets without a network: what they would get is seen.
type strangers struct {
	*socket
	now time.Time
}

func newStrangers(c Config) strangers { return strangers{newSocket(New(c), nil), time.Now()} }

func (s strangers) verdict(from string, p packet) verdict {
	a := netip.MustParseAddrPort(from)
	s.secrets.renew(s.now)
	s.endpoint.mu.Lock()
	_, what := s.look(s.now, a, &p)
	s.endpoint.mu.Unlock()
	if what == unmet {
		_, what = s.meet(s.now, a, &p)
	}
	return what
}

func (s strangers) count(want verdict, from string, packets int, make func(i uint16) packet) (n int) {
	for i := range packets {
		if s.verdict(from, make(uint16(2*i))) == want {
			n++
		}
	}
	return n
}

func TestForgedSYNsAreNotReflectedToWhoDidNotAsk(t *testing.T) {
	s := newStrangers(Config{})
	for range 3 {
		const victim, flood = "198.18.0.1:6881", 20_000
		n := s.count(greeting, victim, flood/2, syn) + s.count(greeting, "198.18.0.1:53", flood/2, syn)
		if n != greetingsAtOnce {
			t.Errorf("%d forged SYNs were answered with %d packets, want %d", flood, n, greetingsAtOnce)
		}
		if got := s.verdict("198.18.0.2:6881", syn(7)); got != greeting {
			t.Errorf("another address got %v", got)
		}
		s.now = s.now.Add(time.Second)
		if n := s.count(greeting, victim, flood, syn); n != greetingsPerSecond {
			t.Errorf("a second later, they got %d more, want %d", n, greetingsPerSecond)
		}
		s.now = s.now.Add(time.Minute)
	}
	// A network of IPv6 is one source.
	if n := s.count(greeting, "[2001:db8::1]:1", 1000, syn) + s.count(greeting, "[2001:db8::2]:1", 1000, syn); n != greetingsAtOnce {
		t.Errorf("two addresses of one /64 got %d answers, want %d", n, greetingsAtOnce)
	}
}

// Many peers may be behind one address.
func TestWhoProvesItsAddressMayAskOn(t *testing.T) {
	s := newStrangers(Config{Backlog: 4096})
	const from = "198.18.0.1:6881"
	a := netip.MustParseAddrPort(from)
	for id := uint16(0); id < 2000; id += 2 {
		if got := s.verdict(from, syn(id)); got != greeting {
			t.Fatalf("SYN %d got %v", id, got)
		}
		s.verdict(from, packet{typ: stState, connID: id + 1, seq: 2, ack: s.secrets.seq(a, id, 1) - 1})
		if got := s.endpoint.Stats().Conns; got != int(id/2)+1 {
			t.Fatalf("%d connections are open after SYN %d", got, id)
		}
	}
}

func TestStrangersDoNotKeepForgottenPeersUntold(t *testing.T) {
	s := newStrangers(Config{})
	data := func(i uint16) packet { return packet{typ: stData, connID: 7 + i, seq: 1000, ack: 1000} }
	for range 5 {
		const flood = 5000
		if n := s.count(rejection, "198.18.0.1:6881", flood, data); n > resetsAtOnce {
			t.Errorf("%d packets of nobody's were answered with %d, want %d at most", flood, n, resetsAtOnce)
		}
		for i := range 500 { // each of which may be forged
			var ip [4]byte
			binary.BigEndian.PutUint32(ip[:], 0xc6130000+uint32(i))
			s.verdict(netip.AddrPortFrom(netip.AddrFrom4(ip), 6881).String(), data(0))
		}
		if got := s.verdict("203.0.113.1:6881", data(0)); got != rejection {
			t.Errorf("a forgotten peer got %v", got)
		}
		if got := s.verdict("203.0.113.1:6881", data(0)); got != unknown {
			t.Errorf("a forgotten peer that was just told got %v", got)
		}
		s.now = s.now.Add(time.Second)
	}
}

func TestEndedConnectionsTakeNoAnswersFromOthers(t *testing.T) {
	s := newStrangers(Config{})
	peer := netip.MustParseAddrPort("198.18.0.1:6881")
	data := packet{typ: stData, connID: 7, seq: 1000, ack: 1000}
	for id := range uint16(10 * resetsAtOnce) {
		s.endpoint.wasReset(s.now, &Conn{socket: s.socket, remote: peer, id: 1000 + id})
	}
	if got := s.verdict(peer.String(), data); got != rejection {
		t.Errorf("after many connections ended, a packet of another got %v", got)
	}
	data.connID = 1000 + 10*resetsAtOnce - 1
	if got := s.verdict(peer.String(), data); got != unknown {
		t.Errorf("who was just told got %v", got)
	}
	s.now = s.now.Add(time.Second)
	if got := s.verdict(peer.String(), data); got != rejection {
		t.Errorf("who was told a second ago got %v", got)
	}
}

// Made-up sources that fill the table take nothing from whom they do not name, once it is in there, nor memory.
func TestSourcesInTheTableKeepTheirAnswers(t *testing.T) {
	l := newLimit(greetingsPerSecond, greetingsAtOnce)
	honest := netip.MustParseAddr("203.0.113.1")
	if !l.allow(time.Second, honest) {
		t.Fatal("an empty table has no place")
	}
	answers := 0
	for i := range 100_000 {
		var ip [4]byte
		binary.BigEndian.PutUint32(ip[:], 0x0a000000+uint32(i))
		if l.allow(time.Second, netip.AddrFrom4(ip)) {
			answers++
		}
	}
	if answers == 0 || answers >= limitSets*limitWays {
		t.Errorf("100,000 sources got %d answers at once", answers)
	}
	if !l.allow(time.Second, honest) {
		t.Error("who was in the table got none")
	}
}

// What a stranger's packet costs, which belongs to nobody: one hash.
func BenchmarkPacketOfNobodys(b *testing.B) {
	s := newStrangers(Config{})
	from := netip.MustParseAddrPort("198.18.0.1:6881")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		p := packet{typ: stData, connID: uint16(i), seq: uint16(i * 7), ack: uint16(i * 3)}
		s.meet(s.now, from, &p)
	}
}
