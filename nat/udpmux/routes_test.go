package udpmux

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

const (
	activeUser = "punch:1"
	otherUser  = "punch:2"
)

// The addresses that the tests give roles to.
var (
	controlAddr  = netip.MustParseAddrPort("203.0.113.1:4433")
	control6Addr = netip.MustParseAddrPort("[2001:db8::1]:4433")
	stunAddr     = netip.MustParseAddrPort("203.0.113.1:4434")
	bothAddr     = netip.MustParseAddrPort("203.0.113.2:4433")
)

// sample is a datagram and what it is but for its first byte.
type sample struct {
	name   string
	bytes  []byte
	framed bool // cookie and length are a STUN message's
	active bool // and its username is an active punch's
	older  bool // the length is a STUN message's, the cookie is not
	utp    bool // long enough for uTP, and its first extension is known
}

// stunMessage frames a message with the attributes.
func stunMessage(kind uint16, attributes ...[]byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, kind)
	b = append(b, 0, 0, 0x21, 0x12, 0xa4, 0x42)
	b = append(b, "transaction!"...)
	for _, a := range attributes {
		b = append(b, a...)
	}
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)-20))
	return b
}

func attribute(kind uint16, value string) []byte {
	b := binary.BigEndian.AppendUint16(nil, kind)
	b = binary.BigEndian.AppendUint16(b, uint16(len(value)))
	return append(b, value+strings.Repeat("\x00", (4-len(value)%4)%4)...)
}

// utpPacket is a packet of the type, with its first extension in place and a payload.
func utpPacket(kind, extension byte, payload int) []byte {
	b := make([]byte, 20, 26+payload)
	b[0], b[1] = kind<<4|1, extension
	if extension != 0 {
		b = append(b, 0, 4, 1, 2, 3, 4)
	}
	return append(b, make([]byte, payload)...)
}

func samples() []sample {
	s := []sample{
		{name: "empty", bytes: nil},
		{name: "one byte", bytes: []byte{0}},
		{name: "19 bytes", bytes: make([]byte, 19)},
		{name: "garbage with a known extension", bytes: append([]byte{0, 3}, make([]byte, 100)...), utp: true},
		{name: "garbage", bytes: append([]byte{0, 4}, make([]byte, 100)...)},
		{name: "QUIC long", bytes: append([]byte{0xc3, 0, 0, 0, 1, 8}, make([]byte, 1194)...), utp: true},
		{name: "QUIC short", bytes: append([]byte{0x41, 0xee}, make([]byte, 30)...)},
		{name: "DHT ping", bytes: []byte("d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe")},
		{name: "STUN request of a punch", bytes: stunMessage(0x0001, attribute(0x0006, activeUser)), framed: true, active: true, utp: true},
		{name: "STUN success of a punch", bytes: stunMessage(0x0101, attribute(0x8022, "soft"), attribute(0x0006, activeUser)), framed: true, active: true, utp: true},
		{name: "STUN request of a punch that ended", bytes: stunMessage(0x0001, attribute(0x0006, otherUser)), framed: true, utp: true},
		{name: "STUN request, second username", bytes: stunMessage(0x0001, attribute(0x0006, otherUser), attribute(0x0006, activeUser)), framed: true, utp: true},
		{name: "STUN success without attributes", bytes: stunMessage(0x0101), framed: true, utp: true},
		{name: "STUN with a type uTP does not have", bytes: stunMessage(0x0104, attribute(0x0006, activeUser)), framed: true, active: true},
		{name: "STUN with an attribute too long", bytes: stunMessage(0x0001, []byte{0x80, 0x22, 0, 99}, attribute(0x0006, activeUser)), framed: true, utp: true},
		{name: "STUN, length wrong", bytes: append(stunMessage(0x0001, attribute(0x0006, activeUser)), 0, 0, 0, 0), utp: true},
		{name: "STUN, length odd", bytes: []byte("\x00\x01\x00\x02\x21\x12\xa4\x42transaction!ab"), utp: true},
		{name: "STUN without its cookie", bytes: append([]byte{0, 1, 0, 0, 0, 0, 0, 0}, "transaction!"...), older: true, utp: true},
	}
	for kind := range byte(5) {
		for extension := range byte(6) {
			s = append(s, sample{
				name:  fmt.Sprintf("uTP type %d, extension %d", kind, extension),
				bytes: utpPacket(kind, extension, 7), utp: extension <= 3,
			})
		}
	}
	return s
}

func agentRoutes(t testing.TB) *Routes {
	t.Helper()
	r := NewRoutes(Agent)
	for _, err := range []error{
		r.SetControl(controlAddr, control6Addr, bothAddr), r.SetSTUN(stunAddr, bothAddr), r.AddPunch(activeUser),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// The oracle: what each source's datagrams are, by first byte, written down without the code it judges.
const utpFirst = "\x01\x11\x21\x31\x41" // DATA FIN STATE RESET SYN, all version 1

func fromControl(sample, byte) Kind { return QUIC }
func fromSTUN(sample, byte) Kind    { return STUN }

func fromBoth(s sample, first byte) Kind {
	if s.framed && first <= 0x3f {
		return STUN
	}
	return QUIC
}

func fromStranger(s sample, first byte) Kind {
	switch {
	case s.active && first <= 0x3f:
		return STUN
	case s.utp && strings.IndexByte(utpFirst, first) >= 0:
		return UTP
	}
	return Drop
}

func toFront(s sample, first byte) Kind {
	switch {
	case first == 0x64:
		return DHT
	case s.utp && strings.IndexByte(utpFirst, first) >= 0:
		return UTP
	}
	return Drop
}

func toSurrogate(s sample, first byte) Kind {
	if (s.framed || s.older) && first <= 0x3f {
		return STUN
	}
	return QUIC
}

func TestEveryFirstByteFromEverySourceHasOneOwner(t *testing.T) {
	agent, front, surrogate := agentRoutes(t), NewRoutes(Front), NewRoutes(Surrogate)
	for _, r := range []*Routes{front, surrogate} {
		if err := errors.Join(r.SetControl(controlAddr), r.SetSTUN(stunAddr)); err != nil {
			t.Fatal(err)
		}
	}
	sources := []struct {
		name   string
		routes *Routes
		from   string
		want   func(sample, byte) Kind
	}{
		{"control", agent, "203.0.113.1:4433", fromControl},
		{"control, mapped", agent, "[::ffff:203.0.113.1]:4433", fromControl},
		{"control, IPv6", agent, "[2001:db8::1]:4433", fromControl},
		{"STUN", agent, "203.0.113.1:4434", fromSTUN},
		{"control and STUN", agent, "203.0.113.2:4433", fromBoth},
		{"control's address, other port", agent, "203.0.113.1:4435", fromStranger},
		{"control's port, other address", agent, "203.0.113.3:4433", fromStranger},
		{"control's IPv6 address in a zone", agent, "[2001:db8::1%eth0]:4433", fromStranger},
		{"stranger", agent, "198.51.100.7:6881", fromStranger},
		{"stranger, IPv6", agent, "[2001:db8::7]:6881", fromStranger},
		{"front's stranger", front, "198.51.100.7:6881", toFront},
		{"front knows no control", front, "203.0.113.1:4433", toFront},
		{"surrogate's stranger", surrogate, "198.51.100.7:6882", toSurrogate},
		{"surrogate knows no control", surrogate, "203.0.113.1:4433", toSurrogate},
		{"surrogate knows no STUN server", surrogate, "203.0.113.1:4434", toSurrogate},
	}
	for _, src := range sources {
		from := netip.MustParseAddrPort(src.from)
		for _, s := range samples() {
			if len(s.bytes) == 0 {
				if got := src.routes.Classify(from, s.bytes); got != Drop {
					t.Errorf("%s: an empty datagram is %s's", src.name, got)
				}
				continue
			}
			for first := range 256 {
				s.bytes[0] = byte(first)
				if got, want := src.routes.Classify(from, s.bytes), src.want(s, byte(first)); got != want {
					t.Errorf("%s: %s with first byte %#02x is %s's, not %s's", src.name, s.name, first, got, want)
				}
			}
		}
	}
}

func TestRoutesFollowChanges(t *testing.T) {
	r := new(Routes)
	quic, probe := []byte{0xc0}, stunMessage(1, attribute(6, activeUser))
	from := netip.MustParseAddrPort("192.0.2.9:9")
	check := func(step string, from netip.AddrPort, b []byte, want Kind) {
		t.Helper()
		if got := r.Classify(from, b); got != want {
			t.Errorf("%s: %s, not %s", step, got, want)
		}
	}
	check("no surrogate", controlAddr, quic, Drop)
	r.SetControl(controlAddr, netip.MustParseAddrPort("[::ffff:203.0.113.5]:1"))
	check("control set", controlAddr, quic, QUIC)
	check("control set in its mapped form", netip.MustParseAddrPort("203.0.113.5:1"), quic, QUIC)
	r.SetSTUN(controlAddr)
	check("one port for both, QUIC", controlAddr, quic, QUIC)
	check("one port for both, STUN", controlAddr, probe, STUN)
	r.SetControl()
	check("control gone, STUN stays", controlAddr, quic, STUN)
	r.SetSTUN()
	check("both gone", controlAddr, quic, Drop)
	check("no punch", from, probe, Drop)
	r.AddPunch(activeUser)
	r.AddPunch(activeUser)
	check("a punch", from, probe, STUN)
	r.RemovePunch(activeUser)
	r.RemovePunch("unknown")
	check("the punch ended", from, probe, Drop)
}

func TestRoutesAreBounded(t *testing.T) {
	r := agentRoutes(t)
	for i := range MaxPunches - 1 {
		if err := r.AddPunch(fmt.Sprint("more", i)); err != nil {
			t.Fatal(err)
		}
	}
	if r.AddPunch("one more") == nil {
		t.Errorf("%d punches are active", MaxPunches+1)
	}
	if err := r.AddPunch(activeUser); err != nil {
		t.Errorf("a punch that is active already: %v", err)
	}
	if r.AddPunch("") == nil || r.AddPunch(strings.Repeat("u", MaxUsername+1)) == nil {
		t.Error("a username without bytes or with too many is taken")
	}
	if r.SetControl(make([]netip.AddrPort, MaxEndpoints+1)...) == nil || r.SetSTUN(netip.AddrPort{}) == nil {
		t.Error("too many endpoints, or none, are taken")
	}
	if got := r.Classify(controlAddr, []byte{0}); got != QUIC {
		t.Errorf("after changes that failed, control's datagrams are %s's", got)
	}
}
