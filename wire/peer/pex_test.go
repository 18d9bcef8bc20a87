package peer

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// text is s as a bencoded string, in hexadecimal.
func text(s string) string { return hex.EncodeToString([]byte(strconv.Itoa(len(s)) + ":" + s)) }

var pexTable = []struct {
	name, hex string
	want      Pex
	same      bool // written back byte for byte
}{
	{"one of each",
		"64" + text("added") + "363a" + "c63364010d05" + text("added.f") + "313a" + "12" +
			text("added6") + "31383a" + "20010db8000000000000000000000001" + "1ae1" + text("added6.f") + "313a" + "10" +
			text("dropped") + "363a" + "c63364021ae1" + text("dropped6") + "31383a" + "20010db8000000000000000000000002" + "0001" + "65",
		Pex{
			Added: []PexPeer{
				{netip.MustParseAddrPort("198.51.100.1:3333"), PexSeed | PexReachable},
				{netip.MustParseAddrPort("[2001:db8::1]:6881"), PexReachable},
			},
			Dropped: []netip.AddrPort{netip.MustParseAddrPort("198.51.100.2:6881"), netip.MustParseAddrPort("[2001:db8::2]:1")},
		}, true},
	{"nothing new", "6465", Pex{}, true},
	{"libtorrent, all keys", "64" + text("added") + "303a" + text("added.f") + "303a" + text("added6") + "303a" + text("added6.f") + "303a" +
		text("dropped") + "303a" + text("dropped6") + "303a" + "65", Pex{}, false},
	{"no flags, keys out of order, one unknown",
		"64" + text("x") + "6c65" + text("dropped") + "303a" + text("added") + "31323a" + "c63364010000" + "c633640200ff" + "65",
		Pex{Added: []PexPeer{{Addr: netip.MustParseAddrPort("198.51.100.1:0")}, {Addr: netip.MustParseAddrPort("198.51.100.2:255")}}}, false},
	{"a mapped address", "64" + text("added6") + "33363a" + "00000000000000000000ffffc6336401" + "0001" + "20010db8000000000000000000000001" + "0002" +
		text("added6.f") + "323a" + "0204" + "65",
		Pex{Added: []PexPeer{{netip.MustParseAddrPort("[2001:db8::1]:2"), PexUTP}}}, false},
	{"lists that are none", "64" + text("added") + "693165" + text("dropped") + "6c65" + "65", Pex{}, false},
}

func TestPexMessagesAreReadAndWrittenAsInBEP11(t *testing.T) {
	for _, c := range pexTable {
		got, err := ParsePex(unhex(t, c.hex))
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s is read as %+v, %v; want %+v", c.name, got, err, c.want)
		}
		out := c.want.AppendMarshal(nil)
		if c.same && hex.EncodeToString(out) != c.hex {
			t.Errorf("%s is written as %q", c.name, out)
		}
		if again, err := ParsePex(out); err != nil || !reflect.DeepEqual(again, c.want) {
			t.Errorf("%s came back as %+v, %v", c.name, again, err)
		}
	}
}

func TestEveryTruncatedPexMessageFails(t *testing.T) {
	wire := unhex(t, pexTable[0].hex)
	for n := range wire {
		if _, err := ParsePex(wire[:n]); !errors.Is(err, ErrBencode) {
			t.Errorf("cut to %d bytes: error %v, want ErrBencode", n, err)
		}
	}
}

func TestListsThatAreNoWholeNumberOfAddressesAreRefused(t *testing.T) {
	for _, wire := range []string{"d5:added5:abcdee", "d6:added67:abcdefge", "d7:dropped1:xe", "d8:dropped617:abcdefghijklmnopqe"} {
		if _, err := ParsePex([]byte(wire)); !errors.Is(err, ErrLength) {
			t.Errorf("%q: error %v, want ErrLength", wire, err)
		}
	}
}

func TestTenThousandAddressesAreReadAsTheFirstFiveHundred(t *testing.T) {
	list := "60000:" + strings.Repeat("\xc6\x33\x64\x01\x1a\xe1", 10_000)
	p, err := ParsePex([]byte("d5:added" + list + "6:added618:" + strings.Repeat("x", 18) + "7:dropped" + list + "e"))
	if err != nil || len(p.Added) != MaxPexPeers || len(p.Dropped) != MaxPexPeers || p.Ignored != 2*9_500+1 {
		t.Errorf("%d added, %d dropped, %d ignored, %v", len(p.Added), len(p.Dropped), p.Ignored, err)
	}
}

func TestAddressesThatAreNoneAreNotWritten(t *testing.T) {
	mapped := netip.MustParseAddrPort("[::ffff:198.51.100.1]:80")
	out := Pex{Added: []PexPeer{{}, {Addr: mapped}}, Dropped: []netip.AddrPort{{}}}.AppendMarshal(nil)
	if want := []byte("d5:added6:\xc6\x33\x64\x01\x00\x507:added.f1:\x00e"); !bytes.Equal(out, want) {
		t.Errorf("written as %q, want %q", out, want)
	}
}

func FuzzPex(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParsePex(b)
		if err != nil {
			return
		}
		if len(p.Added) > MaxPexPeers || len(p.Dropped) > MaxPexPeers {
			t.Fatalf("%d added, %d dropped", len(p.Added), len(p.Dropped))
		}
		p.Ignored = 0
		out := p.AppendMarshal(nil)
		again, err := ParsePex(out)
		if err != nil || !reflect.DeepEqual(again, p) {
			t.Errorf("%+v was written as %q and came back as %+v, %v", p, out, again, err)
		}
	})
}
