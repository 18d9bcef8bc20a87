package stun

import (
	"net/netip"
	"testing"

	"github.com/pion/stun/v2"
)

func TestServerOnAllAddressesAnswersFromTheOneThatWasAsked(t *testing.T) {
	from := netip.MustParseAddrPort
	two := Config{Endpoints: grid("192.0.2.1", "192.0.2.2", "[2001:db8::1]"), Ports: []uint16{3478, 3479}}
	one := Config{Ports: []uint16{3478}}
	const all = changeIP | changePort
	for _, c := range []struct {
		cfg           Config
		at            string
		change        byte
		source, other string // source "": it is refused
	}{
		{two, "192.0.2.1:3478", 0, "192.0.2.1:3478", "192.0.2.2:3479"},
		{two, "[::ffff:192.0.2.1]:3478", 0, "192.0.2.1:3478", "192.0.2.2:3479"},
		{two, "192.0.2.2:3479", all, "192.0.2.1:3478", "192.0.2.1:3478"},
		{two, "10.0.0.1:3478", 0, "10.0.0.1:3478", ""},
		{two, "10.0.0.1:3478", changePort, "10.0.0.1:3479", ""},
		{two, "10.0.0.1:3479", changePort, "10.0.0.1:3478", ""},
		{two, "10.0.0.1:3479", changeIP, "", ""},
		{two, "[fe80::1%eth0]:3479", changePort, "[fe80::1%eth0]:3478", ""},
		{two, "[2001:db8::1]:3479", changePort, "[2001:db8::1]:3478", ""},
		{two, "[2001:db8::1]:3479", all, "", ""},
		{one, "10.0.0.1:3478", 0, "10.0.0.1:3478", ""},
		{one, "10.0.0.1:3478", changePort, "", ""},
	} {
		s, answers := server(t, c.cfg), 0
		s.Answer(noon, from(c.at), stranger, request(attribute(stun.AttrChangeRequest, 0, 0, 0, c.change), filler), func(source, to netip.AddrPort, b []byte) {
			answers++
			m := read(t, Response{Message: b})
			want := bindingSuccess
			if c.source == "" {
				want, c.source = bindingError, unmap(from(c.at)).String()
			}
			if got := m.Type.Value(); source.String() != c.source || to != stranger || got != uint16(want) {
				t.Errorf("at %s, change %d: type %#x from %s to %s, want %#x from %s", c.at, c.change, got, source, to, want, c.source)
			}
			if other := address(m, stun.AttrOtherAddress); want == bindingSuccess && c.other != "" != other.IsValid() || c.other != "" && other.String() != c.other {
				t.Errorf("at %s: the other address is %s, not %s", c.at, other, c.other)
			}
		})
		if answers != 1 {
			t.Errorf("at %s, change %d: %d answers", c.at, c.change, answers)
		}
	}
}

func TestAnsweringOnAllAddressesAllocatesNothing(t *testing.T) {
	s := server(t, Config{Endpoints: grid("192.0.2.1", "192.0.2.2"), Ports: []uint16{3478, 3479}, Rate: maxRate, Burst: maxRate})
	q, sc, answers := request(filler), new(scratch), 0 // Answer takes this from a pool
	for _, at := range []string{"192.0.2.1:3478", "10.0.0.1:3478"} {
		at := netip.MustParseAddrPort(at)
		if allocs := testing.AllocsPerRun(1000, func() {
			if _, _, b := s.reply(noon, s.answerersAt(at), stranger, q, sc); b != nil {
				answers++
			}
		}); allocs > 0 {
			t.Errorf("%v allocations an answer at %s", allocs, at)
		}
	}
	if answers == 0 {
		t.Error("nobody was answered")
	}
}
