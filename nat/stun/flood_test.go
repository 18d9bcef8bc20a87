package stun

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
)

func TestOneSourceIsAnsweredUpToItsRate(t *testing.T) {
	s := server(t, Config{Endpoints: grid("192.0.2.1"), Rate: 10, Burst: 30})
	b := request(filler)
	answers := func(from netip.AddrPort, now time.Time, n int) (got int) {
		for i := range n {
			// Another port is no other source.
			if s.Respond(now, i%2, netip.AddrPortFrom(from.Addr(), from.Port()+uint16(i)), b).Message != nil {
				got++
			}
		}
		return got
	}
	if got := answers(stranger, noon, 1000); got != 30 {
		t.Errorf("%d answers at once, not 30", got)
	}
	if got := answers(stranger, noon.Add(500*time.Millisecond), 1000); got != 5 {
		t.Errorf("%d answers after half a second, not 5", got)
	}
	if got := answers(netip.MustParseAddrPort("203.0.113.10:1"), noon, 1); got != 1 {
		t.Error("a neighbour is not answered")
	}
	if got := answers(stranger, noon.Add(time.Hour), 1000); got != 30 {
		t.Errorf("%d answers after an hour, not 30", got)
	}
	// Whoever has IPv6 has at least a /64.
	answers(netip.MustParseAddrPort("[2001:db8:0:1::1]:1"), noon, 1000)
	if got := answers(netip.MustParseAddrPort("[2001:db8:0:1:ffff::2]:1"), noon, 1000); got != 0 {
		t.Errorf("%d answers more for another address of the same /64", got)
	}
	if got := answers(netip.MustParseAddrPort("[2001:db8:0:2::1]:1"), noon, 1); got != 1 {
		t.Error("the next /64 is not answered")
	}
}

// flood asks from made-up sources for one second, at a rate.
func flood(s *Server, now time.Time, rate int, b []byte) (in, out int) {
	for i := range rate {
		var ip [4]byte
		binary.BigEndian.PutUint32(ip[:], uint32(i)*2654435761)
		r := s.Respond(now.Add(time.Duration(i)*time.Second/time.Duration(rate)), 0, netip.AddrPortFrom(netip.AddrFrom4(ip), 53), b)
		in, out = in+len(b), out+len(r.Message)
	}
	return in, out
}

func TestFloodFromMadeUpSourcesComesOutNoLarger(t *testing.T) {
	for name, b := range map[string][]byte{"bare": request(), "classic": classic(request()), "filled": request(filler), "one address": question(id{}, Options{})} {
		s := server(t, Config{Endpoints: grid("192.0.2.1", "192.0.2.2")})
		in, out := flood(s, noon, 20_000, b)
		if out > in {
			t.Errorf("%s: %d bytes in, %d out", name, in, out)
		}
		const granted = 1000
		s = server(t, Config{Endpoints: grid("192.0.2.1", "192.0.2.2"), Excess: granted})
		in, out = flood(s, noon, 20_000, b)
		if over := out - in; over > (excessBurst+1)*granted {
			t.Errorf("%s: %d bytes more out than in, of %d granted", name, over, granted)
		}
	}
}

func TestExcessIsGrantedToAllTogether(t *testing.T) {
	s := server(t, Config{Endpoints: grid("192.0.2.1", "192.0.2.2"), Excess: 36, Rate: maxRate, Burst: maxRate})
	b := request() // 20 bytes, answered with 56
	answers := func(now time.Time) (got int) {
		for i := range 100 {
			if s.Respond(now, 0, netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}), 1), b).Message != nil {
				got++
			}
		}
		return got
	}
	if got := answers(noon); got != excessBurst {
		t.Errorf("%d answers at once, not %d", got, excessBurst)
	}
	if got := answers(noon.Add(3*time.Second + time.Millisecond)); got != 3 {
		t.Errorf("%d answers after three seconds, not 3", got)
	}
}

func TestFloodTakesNoPlaceFromThoseWhoWereThere(t *testing.T) {
	s := server(t, Config{Endpoints: grid("192.0.2.1"), Rate: 1, Burst: 1000})
	b := request(filler)
	now := noon
	s.Respond(now, 0, stranger, b)
	s.Respond(now, 0, stranger, b)
	// Very many sources for 8192 places, while the bucket of the one is never full.
	for range 5 {
		flood(s, now, 100_000, b)
		if s.Respond(now, 0, stranger, b).Message == nil {
			t.Fatal("the one who was there is not answered any more")
		}
	}
	used := 0
	for _, set := range s.sources.table {
		for _, p := range set {
			if p.source != 0 {
				used++
			}
		}
	}
	if used < sets*ways*9/10 {
		t.Errorf("only %d of %d places were used: no flood", used, sets*ways)
	}
	// Later the places are free again.
	fresh := 0
	for i := range 1000 {
		if s.Respond(now.Add(time.Hour), 0, netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 168, byte(i >> 8), byte(i)}), 1), b).Message != nil {
			fresh++
		}
	}
	if fresh < 995 {
		t.Errorf("after the flood %d of 1000 new sources are answered", fresh)
	}
}

func TestAnsweringAllocatesNothing(t *testing.T) {
	s := server(t, Config{Endpoints: grid("192.0.2.1", "192.0.2.2"), Rate: maxRate, Burst: maxRate})
	for name, b := range map[string][]byte{"plain": request(filler), "classic": classic(request(filler)), "too short": request()} {
		// Receive takes this from a pool.
		sc := new(scratch)
		s.respond(noon, 0, stranger, b, sc)
		if n := testing.AllocsPerRun(1000, func() { s.respond(noon, 0, stranger, b, sc) }); n > 0 {
			t.Errorf("%s: %v allocations for an answer", name, n)
		}
	}
}

type senderFunc func(to netip.AddrPort, b []byte) error

func (f senderFunc) Send(to netip.AddrPort, b []byte, _ int) error { return f(to, b) }

func BenchmarkAnswer(b *testing.B) {
	s := server(b, Config{Rate: maxRate, Burst: maxRate, Endpoints: []Endpoint{{
		Addr:   netip.MustParseAddrPort("192.0.2.1:3478"),
		Socket: senderFunc(func(netip.AddrPort, []byte) error { return nil }),
	}}})
	q := question(id{1}, Options{})
	now := noon
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Second)
		s.Receive(now, 0, stranger, q)
	}
}
