package natlab

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"testing"
)

// fromHex decodes bytes that are written with spaces.
func fromHex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(string(bytes.ReplaceAll([]byte(s), []byte(" "), nil)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// UDP from 198.18.2.2 port 4096 to 198.18.1.2 port 53, "hi", computed by another program.
const (
	udp4 = "45000020 12344000 40119970 c6120202 c6120102 10000035 000cf80e 68690000"
	udp6 = "60000000 000a1140 20010db8 00000002 00000000 00000002 20010db8 00000001 00000000 00000002 10000035 000a2bc3 6869"
)

var core4, core6 = netip.MustParseAddr("198.18.2.1"), netip.MustParseAddr("2001:db8:0:2::1")

func TestPacketsAreReadAndAge(t *testing.T) {
	for _, c := range []struct{ in, src, dst, aged string }{
		{udp4, "198.18.2.2", "198.18.1.2", "45000020 12344000 3f119a70 c6120202 c6120102 10000035 000cf80e 68690000"},
		{udp6, "2001:db8:0:2::2", "2001:db8:0:1::2", "60000000 000a113f 20010db8 00000002 00000000 00000002 20010db8 00000001 00000000 00000002 10000035 000a2bc3 6869"},
	} {
		// Ethernet pads what is short.
		p, ok := parsePacket(append(fromHex(t, c.in), 0, 0, 0, 0))
		if !ok || p.src != netip.MustParseAddr(c.src) || p.dst != netip.MustParseAddr(c.dst) || p.hops != 64 {
			t.Fatalf("%s reads as %+v, %v", c.in, p, ok)
		}
		if p.age(); !bytes.Equal(p.bytes, fromHex(t, c.aged)) {
			t.Errorf("aged to %x, want %s", p.bytes, c.aged)
		}
		if again, ok := parsePacket(p.bytes); !ok || again.hops != 63 {
			t.Errorf("an aged packet reads as %+v, %v", again, ok)
		}
	}
}

func TestTruncatedAndDamagedPacketsAreDropped(t *testing.T) {
	for _, in := range []string{udp4, udp6} {
		whole := fromHex(t, in)
		for n := range whole {
			if _, ok := parsePacket(whole[:n]); ok {
				t.Errorf("%d of %d bytes of %s pass", n, len(whole), in)
			}
		}
	}
	damaged := fromHex(t, udp4)
	damaged[16]++
	if _, ok := parsePacket(damaged); ok {
		t.Error("a wrong checksum of the header passes")
	}
	if _, ok := parsePacket(fromHex(t, "44"+udp4[2:])); ok {
		t.Error("a header of 16 bytes passes")
	}
}

func TestComplaintsQuoteWhatTheyAreAbout(t *testing.T) {
	for _, c := range []struct {
		in   string
		what complaint
		mtu  int
		by   netip.Addr
		want string
	}{
		{udp4, timeExceeded, 0, core4, "45c0003c 00000000 4001e9d9 c6120201 c6120202 0b008446 00000000" + udp4},
		{udp4, tooBig, 1300, core4, "45c0003c 00000000 4001e9d9 c6120201 c6120202 0304872e 00000514" + udp4},
		{udp6, noRoute, 0, core6, "60000000 003a3a40 20010db8 00000002 00000000 00000001 20010db8 00000002 00000000 00000002 010031e3 00000000" + udp6},
	} {
		p, _ := parsePacket(fromHex(t, c.in))
		got := p.appendComplaint([]byte("frame"), c.what, c.mtu, c.by)
		if want := append([]byte("frame"), fromHex(t, c.want)...); !bytes.Equal(got, want) {
			t.Errorf("complaint %d:\ngot  %x\nwant %x", c.what, got, want)
		}
		if !p.answerable() {
			t.Errorf("%s may not be answered", c.in)
		}
		if answer, ok := parsePacket(got[len("frame"):]); !ok || answer.answerable() || answer.dst != p.src {
			t.Errorf("a complaint reads as %+v, %v: it must never be answered", answer, ok)
		}
	}
}

func TestSomePacketsAreNeverAnswered(t *testing.T) {
	change := func(in string, at int, to ...byte) packet {
		b := fromHex(t, in)
		copy(b[at:], to)
		if b[0]>>4 == 4 {
			copy(b[10:], []byte{0, 0})
			sum := checksum(0, b[:header4])
			copy(b[10:], []byte{byte(sum >> 8), byte(sum)})
		}
		p, ok := parsePacket(b)
		if !ok {
			t.Fatalf("%x does not read", b)
		}
		return p
	}
	for name, p := range map[string]packet{
		"a later fragment":      change(udp4, 6, 0, 10),
		"from nobody":           change(udp4, 12, 0, 0, 0, 0),
		"from loopback":         change(udp4, 12, 127, 0, 0, 1),
		"from a group":          change(udp4, 12, 224, 0, 0, 1),
		"from everybody":        change(udp4, 12, 255, 255, 255, 255),
		"an ICMP error":         change(change4ICMP, 20, 3),
		"from nobody in IPv6":   change(udp6, 8, make([]byte, 16)...),
		"from a link's address": change(udp6, 8, 0xfe, 0x80),
		"an ICMPv6 error":       change(change(udp6, 6, protocolICMP6).hex(), 40, 1),
	} {
		if p.answerable() {
			t.Errorf("%s: would be answered", name)
		}
	}
	if p := change(change4ICMP, 20, 8); !p.answerable() {
		t.Error("a ping would not be answered")
	}
}

// change4ICMP is udp4 with the protocol number of ICMP.
const change4ICMP = "45000020 12344000 40019980 c6120202 c6120102 08000035 000cf80e 68690000"

func (p packet) hex() string { return hex.EncodeToString(p.bytes) }

func FuzzPacketsAreForwardedOrAnsweredInBounds(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		p, ok := parsePacket(b)
		if !ok {
			return
		}
		by := core4
		if p.dst.Is6() {
			by = core6
		}
		if p.answerable() {
			for _, what := range []complaint{timeExceeded, noRoute, tooBig} {
				c, ok := parsePacket(p.appendComplaint(nil, what, 1280, by))
				if !ok || c.answerable() || len(c.bytes) > 1280 || c.dst != p.src || c.src != by {
					t.Fatalf("complaint %d about %x: %x", what, b, c.bytes)
				}
			}
		}
		if p.hops > 1 {
			p.age()
			if again, ok := parsePacket(p.bytes); !ok || again.hops != p.hops-1 {
				t.Fatalf("%x does not read after it has aged", b)
			}
		}
	})
}
