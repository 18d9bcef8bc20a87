package stun

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v2"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// RFC 5769's sample responses, sections 2.2 and 2.3.
const (
	sample4 = `0101003c 2112a442 b7e7a701bc34d686fa87dfae
		8022000b 7465737420766563746f7220
		00200008 0001a147e112a643
		00080014 2b91f599fd9e90c38c7489f92af9ba53f06be7d7
		80280004 c07d4c96`
	sample6 = `01010048 2112a442 b7e7a701bc34d686fa87dfae
		8022000b 7465737420766563746f7220
		00200014 0002a1470113a9faa5d3f179bc25f4b5bed2b9d9
		00080014 a382954e4be67bf11784c97c8292c275bfe3ed41
		80280004 c8fb0b4c`
)

func TestAddressesOfRFC5769AreRead(t *testing.T) {
	for _, c := range []struct{ message, want string }{
		{sample4, "192.0.2.1:32853"},
		{sample6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853"},
	} {
		m := new(stun.Message)
		if !decode(m, unhex(t, c.message)) {
			t.Fatalf("%s is not read", c.want)
		}
		if got := address(m, stun.AttrXORMappedAddress); got.String() != c.want {
			t.Errorf("%s, not %s", got, c.want)
		}
	}
}

func TestEveryTruncationAndEveryChangedBitIsRefused(t *testing.T) {
	for _, s := range []string{sample4, sample6} {
		b := unhex(t, s)
		good := func(b []byte) bool { return framed(b, bindingSuccess) && hasCookie(b) && decode(new(stun.Message), b) }
		if !good(b) {
			t.Fatal("the whole message is refused")
		}
		for n := range b {
			if good(b[:n]) {
				t.Errorf("%d of %d bytes are taken", n, len(b))
			}
			for bit := range 8 {
				bad := bytes.Clone(b)
				bad[n] ^= 1 << bit
				if m := new(stun.Message); good(bad) && m.Contains(stun.AttrFingerprint) {
					t.Errorf("byte %d may be %02x", n, bad[n])
				}
			}
		}
		if good(append(slices.Clip(b), 0, 0, 0, 0)) {
			t.Error("bytes after the message are taken")
		}
	}
}

func TestAddressesSurviveAMessage(t *testing.T) {
	for _, s := range []string{"192.0.2.1:1", "255.255.255.254:65535", "[2001:db8::1]:3478", "[fe80::1]:9"} {
		for _, kind := range []stun.AttrType{stun.AttrXORMappedAddress, stun.AttrMappedAddress, stun.AttrOtherAddress} {
			a := netip.MustParseAddrPort(s)
			m := new(stun.Message)
			start(m, bindingSuccess, id{1, 2, 3, 0xff})
			addAddress(m, kind, a)
			if n := len(m.Raw) - headerSize; n != addressSize(a) {
				t.Errorf("%s takes %d bytes, not %d", a, n, addressSize(a))
			}
			back := new(stun.Message)
			if !decode(back, m.Raw) || address(back, kind) != a {
				t.Errorf("%s became %s", a, address(back, kind))
			}
			// pion reads them as we do.
			if kind == stun.AttrXORMappedAddress {
				var x stun.XORMappedAddress
				if err := x.GetFrom(back); err != nil || x.IP.String() != a.Addr().String() || x.Port != int(a.Port()) {
					t.Errorf("pion reads %s: %v", x, err)
				}
			}
		}
	}
}

func TestAddressesThatMakeNoSenseAreNone(t *testing.T) {
	for _, c := range []struct{ name, value string }{
		{"nothing", ""},
		{"family 0", "0000 1234 c0000201"},
		{"family 3", "0003 1234 c0000201"},
		{"IPv4 as IPv6", "0002 1234 c0000201"},
		{"IPv6 as IPv4", "0001 1234 20010db8000000000000000000000001"},
		{"too short", "0001 1234 c00002"},
		{"too long", "0001 1234 c000020100000000"},
		{"reserved byte", "0101 1234 c0000201"},
		{"port 0", "0001 0000 c0000201"},
		{"unspecified", "0001 1234 00000000"},
		{"unspecified, mapped into IPv6", "0002 1234 00000000000000000000ffff00000000"},
		{"multicast", "0001 1234 e0000001"},
	} {
		m := new(stun.Message)
		start(m, bindingSuccess, id{})
		m.Add(stun.AttrMappedAddress, unhex(t, c.value))
		if got := address(m, stun.AttrMappedAddress); got.IsValid() {
			t.Errorf("%s: %s", c.name, got)
		}
	}
}

func TestQuestionsAreAsLongAsTheLongestAnswer(t *testing.T) {
	other := netip.MustParseAddrPort("[2001:db8::2]:3479")
	s := server(t, Config{Endpoints: grid("[2001:db8::1]", "[2001:db8::2]")})
	for _, o := range []Options{{}, {ChangeIP: true}, {ChangeIP: true, ChangePort: true, ResponsePort: 7, Other: other}} {
		q := question(id{1}, o)
		if len(q) != longest || !framed(q, bindingRequest) || !decode(new(stun.Message), q) {
			t.Errorf("%+v: %x", o, q)
		}
		r := s.Respond(time.Unix(1, 0), 0, netip.MustParseAddrPort("[2001:db8::9]:9"), q)
		m := new(stun.Message)
		if !decode(m, r.Message) || len(r.Message) != longest ||
			!address(m, stun.AttrOtherAddress).IsValid() || !address(m, stun.AttrResponseOrigin).IsValid() || !m.Contains(stun.AttrFingerprint) {
			t.Errorf("%+v: the answer has %d bytes of %d: %s", o, len(r.Message), longest, m)
		}
	}
}
