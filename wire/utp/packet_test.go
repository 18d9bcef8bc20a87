package utp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

// wirePackets are packets as other programs send them.
var wirePackets = []struct {
	name string
	hex  string
	want packet
}{
	{"syn of libtorrent", "41001a2b 0000c350 00000000 00100000 00010000",
		packet{typ: stSyn, connID: 0x1a2b, timestamp: 50000, window: 1 << 20, seq: 1}},
	{"state", "21001a2b 0000c350 00000010 00100000 ffff0001",
		packet{typ: stState, connID: 0x1a2b, timestamp: 50000, timestampDiff: 16, window: 1 << 20, seq: 0xffff, ack: 1}},
	{"data", "01001a2c ffffffff fffffff0 00000000 00020003 68656c6c6f",
		packet{typ: stData, connID: 0x1a2c, timestamp: 0xffffffff, timestampDiff: 0xfffffff0, seq: 2, ack: 3, payload: []byte("hello")}},
	{"fin", "11001a2c 00000001 00000002 ffffffff 00020003",
		packet{typ: stFin, connID: 0x1a2c, timestamp: 1, timestampDiff: 2, window: 0xffffffff, seq: 2, ack: 3}},
	{"reset", "31001a2c 00000001 00000002 00000000 00020003",
		packet{typ: stReset, connID: 0x1a2c, timestamp: 1, timestampDiff: 2, seq: 2, ack: 3}},
	{"selective ack", "21011a2b 00000001 00000002 00100000 00050003 00040d000080",
		packet{typ: stState, connID: 0x1a2b, timestamp: 1, timestampDiff: 2, window: 1 << 20, seq: 5, ack: 3, sack: []byte{13, 0, 0, 128}}},
	{"selective ack with data", "01011a2b 00000001 00000002 00100000 00050003 000401000000 6869",
		packet{typ: stData, connID: 0x1a2b, timestamp: 1, timestampDiff: 2, window: 1 << 20, seq: 5, ack: 3, sack: []byte{1, 0, 0, 0}, payload: []byte("hi")}},
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func samePacket(a, b packet) bool {
	return a.typ == b.typ && a.connID == b.connID && a.timestamp == b.timestamp && a.timestampDiff == b.timestampDiff &&
		a.window == b.window && a.seq == b.seq && a.ack == b.ack && bytes.Equal(a.sack, b.sack) && bytes.Equal(a.payload, b.payload)
}

func TestPacketsAreReadAndWrittenAsOthersDo(t *testing.T) {
	for _, c := range wirePackets {
		b := unhex(t, c.hex)
		got, err := parsePacket(b)
		if err != nil || !samePacket(got, c.want) {
			t.Errorf("%s: read as %+v, %v", c.name, got, err)
		}
		if w := c.want.appendMarshal([]byte("x")); !bytes.Equal(w[1:], b) {
			t.Errorf("%s: written as %x", c.name, w[1:])
		}
	}
}

func TestPacketTruncatedInItsHeadersIsRefused(t *testing.T) {
	for _, c := range wirePackets {
		b := unhex(t, c.hex)
		for n := range len(b) - len(c.want.payload) {
			if _, err := parsePacket(b[:n]); !errors.Is(err, errShort) && !errors.Is(err, errExtension) {
				t.Errorf("%s: %d bytes of %d gave %v", c.name, n, len(b), err)
			}
		}
	}
}

// Extensions that are not known are skipped wherever they are; a second selective acknowledgement is one too many.
func TestUnknownExtensionsAreSkipped(t *testing.T) {
	header := "00007 0000001 00000002 00100000 00050003"
	for _, c := range []struct{ name, hex, sack, payload string }{
		{"close reason of libtorrent", "0103" + header + "0004000000ff 6869", "", "hi"},
		{"extension bits, then a selective ack", "0102" + header + "01080000000000000000 0004 01000000 6869", "01000000", "hi"},
		{"two selective acks", "0101" + header + "010401000000 000402000000", "01000000", ""},
		{"unknown and empty", "01ff" + header + "fe00 0000 6869", "", "hi"},
		{"selective ack of an odd length", "0101" + header + "000301ff01", "01ff01", ""},
	} {
		p, err := parsePacket(unhex(t, strings.Replace(c.hex, "00007 ", "00070", 1)))
		if err != nil || !bytes.Equal(p.sack, unhex(t, c.sack)) || string(p.payload) != c.payload {
			t.Errorf("%s: %+v, %v", c.name, p, err)
		}
	}
}

func TestOtherThingsThanPacketsAreRefused(t *testing.T) {
	state := unhex(t, wirePackets[1].hex)
	for _, c := range []struct {
		name  string
		first byte
		want  error
	}{{"version 0", 0x20, errVersion}, {"version 2", 0x22, errVersion}, {"type 5", 0x51, errVersion}, {"type 15", 0xf1, errVersion}} {
		b := bytes.Clone(state)
		b[0] = c.first
		if _, err := parsePacket(b); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	b := append(bytes.Clone(state), 0xff, 200)
	b[1] = 0xff
	if _, err := parsePacket(b); !errors.Is(err, errExtension) {
		t.Errorf("an extension beyond the end: %v", err)
	}
	// A chain as long as a datagram can hold, each extension empty and the last one announcing another.
	chain := append(bytes.Clone(state), bytes.Repeat([]byte{0xff, 0}, 30_000)...)
	chain[1] = 0xff
	if _, err := parsePacket(chain); !errors.Is(err, errExtension) {
		t.Errorf("a chain without an end: %v", err)
	}
}

// Whatever the size of a probe, the extensions fill it exactly and begin with one that libutp accepts.
func TestPaddingIsReadAsNothing(t *testing.T) {
	p := wirePackets[2].want
	for n := leastMTUPadding; n < 3000; n++ {
		b := appendPadding(p.appendHeader(nil), n)
		if len(b) != headerLen+n || b[1] != extBits || b[headerLen+1] != extBitsLen {
			t.Fatalf("%d bytes of padding became %d that begin with %d", n, len(b)-headerLen, b[1])
		}
		if got, err := parsePacket(append(b, p.payload...)); err != nil || !samePacket(got, p) {
			t.Fatalf("with %d bytes of padding it is %+v, %v", n, got, err)
		}
	}
}

func TestPacketTypesHaveNames(t *testing.T) {
	if s := stSyn.String() + stState.String() + packetType(9).String(); s != "synstatetype 9" {
		t.Error(s)
	}
}
