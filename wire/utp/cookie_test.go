package utp

import (
	"net/netip"
	"testing"
)

func TestOnlyTheFirstPacketAfterItsSYNOpensAConnection(t *testing.T) {
	s := secret{1, 2, 3}
	from := netip.MustParseAddrPort("198.18.0.1:6881")
	const id, synSeq = 65_535, 65_530
	first := packet{typ: stData, connID: id + 1 - 65_536, seq: synSeq + 1, ack: s.seq(from, id, synSeq) - 1}
	if !s.opens(from, &first) || s.overtook(from, &first) {
		t.Fatal("the first packet is not taken for it")
	}
	for n := uint16(2); n <= firstFlight+1; n++ {
		p := first
		p.seq = synSeq + n
		if want := n <= firstFlight; s.opens(from, &p) || s.overtook(from, &p) != want {
			t.Errorf("packet %d: opens %v, overtook the first %v, want %v", n, s.opens(from, &p), s.overtook(from, &p), want)
		}
	}
	for what, change := range map[string]func(*packet, *netip.AddrPort, *secret){
		"another acknowledgement": func(p *packet, _ *netip.AddrPort, _ *secret) { p.ack++ },
		"another id":              func(p *packet, _ *netip.AddrPort, _ *secret) { p.connID++ },
		"another port":            func(_ *packet, a *netip.AddrPort, _ *secret) { *a = netip.AddrPortFrom(a.Addr(), 6882) },
		"another address":         func(_ *packet, a *netip.AddrPort, _ *secret) { *a = netip.MustParseAddrPort("198.18.0.2:6881") },
		"another secret":          func(_ *packet, _ *netip.AddrPort, s *secret) { s[0]++ },
		// A connection that was forgotten may go on like this when both ends had sent as much.
		"both numbers one further": func(p *packet, _ *netip.AddrPort, _ *secret) { p.seq, p.ack = p.seq+1, p.ack+1 },
	} {
		p, a, s := first, from, s
		if change(&p, &a, &s); s.opens(a, &p) {
			t.Errorf("%s opens a connection too", what)
		}
	}
}
