package metainfo

import (
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

const (
	hexHash    = "c12fe1c06bba254a9dc9f519b335aa7c1367a88a"
	base32Hash = "YEX6DQDLXISUVHOJ6UM3GNNKPQJWPKEK"
	v2Hash     = "1220caf1e1c30e81cb361b9ee167c4aa64228a7fa4fa9f6105232b28ad099f3a302e"
)

func TestMagnetLinks(t *testing.T) {
	var hash [20]byte
	hex.Decode(hash[:], []byte(hexHash))
	for _, c := range []struct {
		name, link string
		want       Magnet
	}{
		{"hex", "magnet:?xt=urn:btih:" + hexHash, Magnet{InfoHash: hash}},
		{"upper case", "MAGNET:?XT=URN:BTIH:" + strings.ToUpper(hexHash), Magnet{InfoHash: hash}},
		{"base32", "magnet:?xt=urn:btih:" + base32Hash, Magnet{InfoHash: hash}},
		{"base32 lower case", "magnet:?xt=urn:btih:" + strings.ToLower(base32Hash), Magnet{InfoHash: hash}},
		{"escaped, with space around", " magnet:?xt=urn%3Abtih%3A" + hexHash + "#x\n", Magnet{InfoHash: hash}},
		{"hybrid", "magnet:?xt=urn:btmh:" + v2Hash + "&xt=urn:btih:" + hexHash, Magnet{InfoHash: hash}},
		{"numbered topics", "magnet:?xt.1=urn:sha1:" + base32Hash + "&xt.2=urn:btih:" + hexHash, Magnet{InfoHash: hash}},
		{"the same hash twice", "magnet:?xt=urn:btih:" + hexHash + "&xt=urn:btih:" + base32Hash, Magnet{InfoHash: hash}},
		{"name", "magnet:?dn=A+name%20%c3%a4%0a%ff&dn=other&xt=urn:btih:" + hexHash, Magnet{InfoHash: hash, Name: "A name ä__"}},
		{"trackers", "magnet:?xt=urn:btih:" + hexHash + "&tr=udp%3a%2f%2fa.example:80&tr.1=http://b.example/x%3fk%3d1&tr=wss://c.example&tr=udp://a.example:80",
			Magnet{InfoHash: hash, Trackers: []string{"udp://a.example:80", "http://b.example/x?k=1"}}},
		{"peers", "magnet:?xt=urn:btih:" + hexHash + "&x.pe=198.51.100.7:6881&x.pe=[2001:db8::1]:6881&x.pe=peer.example:1&x.pe=nowhere&x.pe=a:0&x.pe=:5&x.pe=a%20b:5",
			Magnet{InfoHash: hash, Peers: []string{"198.51.100.7:6881", "[2001:db8::1]:6881", "peer.example:1"}}},
		{"unknown parameters", "magnet:?xl=5&ws=http://w.example/&so=0-2&xt=urn:btih:" + hexHash + "&&=&%zz=1", Magnet{InfoHash: hash}},
		{"broken hints", "magnet:?xt=urn:btih:" + hexHash + "&dn=%zz&tr=%zz&x.pe=%zz", Magnet{InfoHash: hash}},
	} {
		got, err := ParseMagnet(c.link)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestBadMagnetGetsAClearError(t *testing.T) {
	for _, c := range []struct{ link, reason string }{
		{"", "start with magnet:?"},
		{"http://a.example/x.torrent", "start with magnet:?"},
		{"magnet:", "start with magnet:?"},
		{"magnet:?dn=x", "no info-hash"},
		{"magnet:?xt=urn:sha1:" + base32Hash, "no info-hash"},
		{"magnet:?xt=urn:btih:", `hash "urn:btih:" is not 40`},
		{"magnet:?xt=urn:btih:" + hexHash[1:], "is not 40"},
		{"magnet:?xt=urn:btih:" + hexHash + "00", "is not 40"},
		{"magnet:?xt=urn:btih:" + strings.Repeat("g", 40), "is not 40"},
		{"magnet:?xt=urn:btih:" + strings.Repeat("1", 32), "is not 40"},
		{"magnet:?xt=%zz", "is not 40"},
		{"magnet:?xt=urn:btih:" + hexHash + "&xt=urn:btih:" + strings.Repeat("0", 40), "two different torrents"},
		{"magnet:?xt=urn:btih:" + hexHash + "&dn=" + strings.Repeat("x", MaxMagnet), "more than the limit"},
	} {
		_, err := ParseMagnet(c.link)
		var bad *MagnetError
		if !errors.As(err, &bad) || !strings.Contains(bad.Reason, c.reason) {
			t.Errorf("%.80q gives %v, want %q", c.link, err, c.reason)
		}
	}
	if _, err := ParseMagnet("magnet:?xt=urn:btmh:" + v2Hash); !errors.Is(err, ErrV2Only) {
		t.Errorf("a v2-only link gives %v", err)
	}
}

func TestMagnetHintsAreLimited(t *testing.T) {
	link := "magnet:?xt=urn:btih:" + hexHash + "&dn=" + strings.Repeat("ä", 300)
	for i := range 300 {
		link += fmt.Sprintf("&tr=http://t%d.example/&x.pe=192.0.2.1:%d", i, i+1)
	}
	m, err := ParseMagnet(link)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Name) != 250 || len(m.Trackers) != MaxTrackers || len(m.Peers) != MaxMagnetPeers {
		t.Errorf("a name of %d bytes, %d trackers, %d peers", len(m.Name), len(m.Trackers), len(m.Peers))
	}
}

func FuzzParseMagnet(f *testing.F) {
	f.Fuzz(func(t *testing.T, link string) {
		m, err := ParseMagnet(link)
		if err != nil {
			return
		}
		again, err := ParseMagnet(m.String())
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Errorf("%+v is written as %q and read as %+v, %v", m, m, again, err)
		}
	})
}
