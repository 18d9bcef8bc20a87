package utp

import (
	"net/netip"
	"testing"
	"time"
)

func TestOnlyTheFirstPacketAfterItsSYNOpensAConnection(t *testing.T) {
	begin := time.Unix(1000, 0)
	s := secrets{pair: [2]secret{{1, 2, 3}, {4, 5, 6}}, since: begin}
	from := netip.MustParseAddrPort("198.18.0.1:6881")
	const id, synSeq = 65_535, 65_530
	for range 2 {
		first := packet{typ: stData, connID: id + 1 - 65_536, seq: synSeq + 1, ack: s.seq(from, id, synSeq) - 1}
		for n := uint16(1); n <= firstFlight+1; n++ {
			p := first
			p.seq = synSeq + n
			if got, want := s.follows(from, &p), n%(firstFlight+1); got != want {
				t.Errorf("packet %d follows as %d, want %d", n, got, want)
			}
		}
		for what, change := range map[string]func(*packet, *netip.AddrPort, *secrets){
			"another acknowledgement": func(p *packet, _ *netip.AddrPort, _ *secrets) { p.ack += 2 },
			"another id":              func(p *packet, _ *netip.AddrPort, _ *secrets) { p.connID++ },
			"another port":            func(_ *packet, a *netip.AddrPort, _ *secrets) { *a = netip.AddrPortFrom(a.Addr(), 6882) },
			"another address":         func(_ *packet, a *netip.AddrPort, _ *secrets) { *a = netip.MustParseAddrPort("198.18.0.2:6881") },
			"another secret":          func(_ *packet, _ *netip.AddrPort, s *secrets) { s.pair[s.current][0]++ },
			"the other secret":        func(p *packet, _ *netip.AddrPort, _ *secrets) { p.ack ^= 1 },
			// A connection that was forgotten may go on like this when both ends had sent as much.
			"both numbers one further": func(p *packet, _ *netip.AddrPort, _ *secrets) { p.seq, p.ack = p.seq+1, p.ack+1 },
			"both numbers two further": func(p *packet, _ *netip.AddrPort, _ *secrets) { p.seq, p.ack = p.seq+2, p.ack+2 },
		} {
			p, a, s := first, from, s
			if change(&p, &a, &s); s.follows(a, &p) == 1 {
				t.Errorf("%s opens a connection too", what)
			}
		}
		s.current ^= 1
	}
}

// The answer of one minute is none of the next hour: somebody may have seen what it opened a connection with.
func TestAnswerToASYNIsGoodForTwoToFourMinutes(t *testing.T) {
	begin := time.Unix(1000, 0)
	from := netip.MustParseAddrPort("198.18.0.1:6881")
	for _, issued := range []time.Duration{0, secretTime - 1, secretTime, 3 * secretTime / 2} {
		for _, c := range []struct {
			later time.Duration
			busy  bool // packets come all the time
			want  bool
		}{
			{0, true, true}, {secretTime, true, true}, {secretTime, false, true},
			{2 * secretTime, true, false}, {2 * secretTime, false, false}, {time.Hour, true, false}, {time.Hour, false, false},
		} {
			good := 0
			for id := range uint16(32) { // of which one in 32,768 is good by chance
				s := newSecrets(begin)
				now := begin.Add(issued)
				s.renew(now)
				p := packet{typ: stData, connID: id + 1, seq: 2, ack: s.seq(from, id, 1) - 1}
				if end := now.Add(c.later); c.busy {
					for ; now.Before(end); now = now.Add(10 * time.Second) {
						s.renew(now)
					}
				}
				s.renew(begin.Add(issued + c.later))
				if s.follows(from, &p) == 1 {
					good++
				}
			}
			if c.want && good != 32 || !c.want && good > 1 {
				t.Errorf("an answer of %v: %d of 32 are good %v later (busy: %v)", issued, good, c.later, c.busy)
			}
		}
	}
}
