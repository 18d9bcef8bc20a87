package stun

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v2"
)

var (
	noon     = time.Unix(1_000_000, 0)
	stranger = netip.MustParseAddrPort("203.0.113.9:4444")
)

// grid is two ports on each address, in the order a:3478, a:3479, b:3478, b:3479.
func grid(addresses ...string) (list []Endpoint) {
	for _, a := range addresses {
		for _, port := range []string{":3478", ":3479"} {
			list = append(list, Endpoint{Addr: netip.MustParseAddrPort(a + port)})
		}
	}
	return list
}

func server(t testing.TB, c Config) *Server {
	t.Helper()
	s, err := NewServer(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// request makes a Binding request with the attributes, without a fingerprint.
func request(attributes ...stun.RawAttribute) []byte {
	m := new(stun.Message)
	start(m, bindingRequest, id{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})
	for _, a := range attributes {
		m.Add(a.Type, a.Value)
	}
	return m.Raw
}

func attribute(t stun.AttrType, v ...byte) stun.RawAttribute {
	return stun.RawAttribute{Type: t, Value: v}
}

// filler makes a request long enough for any answer.
var filler = attribute(stun.AttrSoftware, bytes.Repeat([]byte("x"), 100)...)

func read(t *testing.T, r Response) *stun.Message {
	t.Helper()
	m := new(stun.Message)
	if !decode(m, r.Message) {
		t.Fatalf("no answer, or none that can be read: %x", r.Message)
	}
	return m
}

func TestServerTellsWhereItIs(t *testing.T) {
	for _, c := range []struct {
		name          string
		endpoints     []Endpoint
		local         int
		change        byte
		via           int
		origin, other string
	}{
		{"one socket", grid("192.0.2.1")[:1], 0, 0, 0, "192.0.2.1:3478", "invalid AddrPort"},
		{"one address", grid("192.0.2.1"), 0, 0, 0, "192.0.2.1:3478", "invalid AddrPort"},
		{"one address, the other port", grid("192.0.2.1"), 1, changePort, 0, "192.0.2.1:3478", "invalid AddrPort"},
		{"two addresses", grid("192.0.2.1", "192.0.2.2"), 0, 0, 0, "192.0.2.1:3478", "192.0.2.2:3479"},
		{"the other port", grid("192.0.2.1", "192.0.2.2"), 0, changePort, 1, "192.0.2.1:3479", "192.0.2.2:3479"},
		{"the other address", grid("192.0.2.1", "192.0.2.2"), 1, changeIP, 3, "192.0.2.2:3479", "192.0.2.2:3478"},
		{"both", grid("192.0.2.1", "192.0.2.2"), 3, changeIP | changePort, 0, "192.0.2.1:3478", "192.0.2.1:3478"},
		{"not the other family's", grid("[2001:db8::1]", "192.0.2.1"), 2, changePort, 3, "192.0.2.1:3479", "invalid AddrPort"},
	} {
		s := server(t, Config{Endpoints: c.endpoints})
		r := s.Respond(noon, c.local, stranger, request(attribute(stun.AttrChangeRequest, 0, 0, 0, c.change), filler))
		m := read(t, r)
		if r.Via != c.via || r.To != stranger || m.Type.Value() != bindingSuccess ||
			address(m, stun.AttrXORMappedAddress) != stranger ||
			address(m, stun.AttrResponseOrigin).String() != c.origin || address(m, stun.AttrOtherAddress).String() != c.other {
			t.Errorf("%s: by %d to %s: %s %s", c.name, r.Via, r.To, m, m.Attributes)
		}
	}
}

func TestWhatTheServerCannotDoIsRefused(t *testing.T) {
	s := server(t, Config{Endpoints: grid("192.0.2.1")})
	for _, c := range []struct {
		name string
		add  stun.RawAttribute
	}{
		{"another address", attribute(stun.AttrChangeRequest, 0, 0, 0, changeIP)},
		{"both", attribute(stun.AttrChangeRequest, 0, 0, 0, changeIP|changePort)},
		{"RESPONSE-ADDRESS of RFC 3489: an answer to a victim", attribute(0x0002, 0, 1, 0x12, 0x34, 198, 51, 100, 1)},
		{"an unknown attribute", attribute(0x7fff)},
	} {
		r := s.Respond(noon, 0, stranger, request(c.add, filler))
		m := read(t, r)
		var code stun.ErrorCodeAttribute
		list, err := m.Get(stun.AttrUnknownAttributes)
		if code.GetFrom(m) != nil || code.Code != 420 || err != nil || len(list) != 2 || stun.AttrType(binary.BigEndian.Uint16(list)) != c.add.Type {
			t.Errorf("%s: %s %s", c.name, m, m.Attributes)
		}
		if r.To != stranger || r.Via != 0 {
			t.Errorf("%s: the answer goes to %s by %d", c.name, r.To, r.Via)
		}
	}
}

func TestAnswerGoesToAnotherPortOfTheSameAddress(t *testing.T) {
	s := server(t, Config{Endpoints: grid("192.0.2.1")})
	for _, v := range [][]byte{{0x12, 0x34}, {0x12, 0x34, 0, 0}} {
		r := s.Respond(noon, 0, stranger, request(attribute(stun.AttrResponsePort, v...), filler))
		if m := read(t, r); r.To != netip.AddrPortFrom(stranger.Addr(), 0x1234) || address(m, stun.AttrXORMappedAddress) != stranger {
			t.Errorf("%x: to %s: %s", v, r.To, m.Attributes)
		}
	}
}

func TestServerIsSilentAboutWhatIsNoRequest(t *testing.T) {
	good := request(filler)
	s := server(t, Config{Endpoints: grid("192.0.2.1", "192.0.2.2")})
	if s.Respond(noon, 0, stranger, good).Message == nil {
		t.Fatal("a good request is not answered")
	}
	changed := func(at int, v byte) []byte {
		b := bytes.Clone(good)
		b[at] = v
		return b
	}
	fingerprinted := question(id{1}, Options{})
	fingerprinted[len(fingerprinted)-1] ^= 1
	for name, b := range map[string][]byte{
		"nothing":              nil,
		"a header's beginning": good[:19],
		"a success response":   changed(0, 1),
		"an indication":        changed(1, 0x11),
		"another method":       changed(1, 3),
		"a byte missing":       good[:len(good)-1],
		"an attribute missing": good[:len(good)-4],
		"too much":             append(bytes.Clone(good), 0, 0, 0, 0),
		"a wrong fingerprint":  fingerprinted,
		"an attribute too long": func() []byte {
			b := request(attribute(stun.AttrSoftware, 1, 2, 3, 4))
			b[23] = 200
			return b
		}(),
		"CHANGE-REQUEST of 3 bytes": request(attribute(stun.AttrChangeRequest, 0, 0, 0), filler),
		"RESPONSE-PORT 0":           request(attribute(stun.AttrResponsePort, 0, 0), filler),
		"RESPONSE-PORT of 8 bytes":  request(attribute(stun.AttrResponsePort, 1, 2, 3, 4, 5, 6, 7, 8), filler),
		"more than is looked at":    request(attribute(stun.AttrSoftware, make([]byte, maxMessage)...)),
	} {
		if r := s.Respond(noon, 0, stranger, b); r.Message != nil {
			t.Errorf("%s is answered: %x", name, r.Message)
		}
	}
	for _, from := range []netip.AddrPort{{}, netip.AddrPortFrom(stranger.Addr(), 0)} {
		if r := s.Respond(noon, 0, from, good); r.Message != nil {
			t.Errorf("%s is answered", from)
		}
	}
	// So two servers never talk with each other.
	r := s.Respond(noon, 0, stranger, good)
	if again := s.Respond(noon, 1, s.endpoints[0].Addr, r.Message); again.Message != nil {
		t.Error("an answer is answered")
	}
}

func TestAnswerIsNeverLongerThanTheQuestion(t *testing.T) {
	for _, ip := range []string{"203.0.113.9", "2001:db8::9"} {
		from := netip.AddrPortFrom(netip.MustParseAddr(ip), 4444)
		s := server(t, Config{Endpoints: grid("192.0.2.1", "192.0.2.2"), Rate: maxRate, Burst: maxRate})
		answered := map[int]string{} // by length of the question, what the answer has
		for n := 0; n <= 100; n += 4 {
			b := request()
			if n > 0 {
				b = request(attribute(stun.AttrSoftware, make([]byte, n-4)...))
			}
			r := s.Respond(noon, 0, from, b)
			if len(r.Message) > len(b) {
				t.Errorf("%s: %d bytes for %d", ip, len(r.Message), len(b))
			}
			if r.Message != nil {
				m := read(t, r)
				answered[len(b)] = fmt.Sprint(address(m, stun.AttrXORMappedAddress).IsValid(),
					address(m, stun.AttrOtherAddress).IsValid(), address(m, stun.AttrResponseOrigin).IsValid())
			}
		}
		mapped := 12
		if from.Addr().Is6() {
			mapped = 24
		}
		for n := headerSize; n <= 120; n += 4 {
			want := ""
			switch {
			case n >= headerSize+mapped+24:
				want = "true true true"
			case n >= headerSize+mapped+12:
				want = "true true false"
			case n >= headerSize+mapped:
				want = "true false false"
			}
			if answered[n] != want {
				t.Errorf("%s: %d bytes are answered with %q, not %q", ip, n, answered[n], want)
			}
		}
	}
}

func TestRefusalIsNeverLongerThanTheQuestion(t *testing.T) {
	s := server(t, Config{Endpoints: grid("192.0.2.1"), Rate: maxRate, Burst: maxRate})
	for n := range 20 {
		var list []stun.RawAttribute
		for i := range n {
			list = append(list, attribute(stun.AttrType(0x7000+i)))
		}
		b := request(list...)
		r := s.Respond(noon, 0, stranger, b)
		if len(r.Message) > len(b) || (r.Message != nil) != (n >= 4) {
			t.Errorf("%d unknown attributes: %d bytes for %d", n, len(r.Message), len(b))
		}
	}
}

// classic makes a request of RFC 3489 out of one of RFC 5389.
func classic(b []byte) []byte {
	b = bytes.Clone(b)
	copy(b[4:], "\xde\xad\xbe\xef")
	return b
}

func TestClientsFromBeforeTheCookieGetTheOldAttributes(t *testing.T) {
	s := server(t, Config{Endpoints: grid("192.0.2.1", "192.0.2.2"), Excess: 64})
	b := classic(request(attribute(stun.AttrChangeRequest, 0, 0, 0, changePort)))
	r := s.Respond(noon, 0, stranger, b)
	if r.Message == nil || !bytes.Equal(r.Message[4:headerSize], b[4:headerSize]) {
		t.Fatalf("the transaction id is another one: %x", r.Message)
	}
	m := read(t, r)
	if r.Via != 1 || address(m, stun.AttrMappedAddress) != stranger || address(m, stun.AttrSourceAddress).String() != "192.0.2.1:3479" ||
		address(m, stun.AttrChangedAddress).String() != "192.0.2.2:3479" || len(m.Attributes) != 3 {
		t.Errorf("by %d: %s %s", r.Via, m, m.Attributes)
	}
}

func TestServerThatMakesNoSenseIsNotMade(t *testing.T) {
	one := grid("192.0.2.1")
	for name, c := range map[string]Config{
		"no endpoint":    {},
		"too many":       {Endpoints: make([]Endpoint, MaxEndpoints+1)},
		"no address":     {Endpoints: []Endpoint{{}}},
		"any address":    {Endpoints: grid("0.0.0.0")},
		"port 0":         {Endpoints: []Endpoint{{Addr: netip.MustParseAddrPort("192.0.2.1:0")}}},
		"twice the same": {Endpoints: append(one, Endpoint{Addr: netip.MustParseAddrPort("[::ffff:192.0.2.1]:3478")})},
		"three ports":    {Ports: []uint16{1, 2, 3}},
		"port 0 of all":  {Ports: []uint16{1, 0}},
		"the same port":  {Ports: []uint16{1, 1}},
		"rate":           {Endpoints: one, Rate: -1},
		"burst":          {Endpoints: one, Burst: maxRate + 1},
		"excess":         {Endpoints: one, Excess: 1<<20 + 1},
	} {
		if _, err := NewServer(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
