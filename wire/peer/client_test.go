package peer

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestClientsAreNamedForPeople(t *testing.T) {
	for _, c := range []struct{ id, v, want string }{
		{"-qB4650-ABCDEFGHIJKL", "", "qBittorrent 4.6.5"},
		{"-qB4650-ABCDEFGHIJKL", "qBittorrent/4.6.5", "qBittorrent/4.6.5"},
		{"-TR3000-ABCDEFGHIJKL", "", "Transmission 3.0"},
		{"-LT20B0-ABCDEFGHIJKL", "", "libtorrent 2.0.11"},
		{"-lt0D80-ABCDEFGHIJKL", " \t ", "rTorrent 0.13.8"},
		{"-ZZ1200-ABCDEFGHIJKL", "", "ZZ 1.2"},
		{"-UT????-ABCDEFGHIJKL", "", "µTorrent"},
		{"-\x00\x01????-ABCDEFGHIJKL", "", "unknown"},
		{"M7-9-2--ABCDEFGHIJKL", "", "BitTorrent 7.9.2"},
		{"\x00\x01\x02\x03ABCDEFGHIJKLMNOP", "", "unknown"},
		{"-qB4650-ABCDEFGHIJKL", "a\x1b[31mb\u202e\r\nc\xff", "a[31mbc"},
	} {
		if got := ClientName([20]byte([]byte(c.id)), c.v); got != c.want {
			t.Errorf("%q with v %q is called %q, want %q", c.id, c.v, got, c.want)
		}
	}
}

func FuzzClientName(f *testing.F) {
	f.Fuzz(func(t *testing.T, id []byte, v string) {
		var peerID [20]byte
		copy(peerID[:], id)
		name := ClientName(peerID, v)
		if name == "" || len(name) > 64 || !utf8.ValidString(name) || strings.TrimSpace(name) != name {
			t.Errorf("name %q", name)
		}
		for _, c := range name {
			if !unicode.IsPrint(c) {
				t.Errorf("name %q has %U", name, c)
			}
		}
	})
}
