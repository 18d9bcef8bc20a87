package dht

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/anacrolix/dht/v2/krpc"
	"github.com/anacrolix/torrent/bencode"
)

func id(c byte) (id [20]byte) {
	for i := range id {
		id[i] = c
	}
	return id
}

func idp(c byte) *[20]byte {
	i := id(c)
	return &i
}

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// messages are datagrams as they are written. The first ones are the examples of BEP 5, with other ids.
var messages = []struct {
	name    string
	bytes   string // with hexadecimal digits between angle brackets
	message message
}{
	{
		"ping", "d1:ad2:id20:aaaaaaaaaaaaaaaaaaaae1:q4:ping1:t2:aa1:y1:qe",
		message{kind: kindQuery, t: "aa", method: methodPing, id: id('a')},
	}, {
		"answer to ping", "d1:rd2:id20:mmmmmmmmmmmmmmmmmmmme1:t2:aa1:y1:re",
		message{kind: kindResponse, t: "aa", id: id('m')},
	}, {
		"error", "d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee",
		message{kind: kindError, t: "aa", code: 201, text: "A Generic Error Ocurred"},
	}, {
		"find_node", "d1:ad2:id20:aaaaaaaaaaaaaaaaaaaa6:target20:mmmmmmmmmmmmmmmmmmmm4:wantl2:n42:n6ee1:q9:find_node1:t2:aa1:y1:qe",
		message{kind: kindQuery, t: "aa", method: methodFindNode, id: id('a'), target: idp('m'), want4: true, want6: true},
	}, {
		"get_peers", "d1:ad2:id20:aaaaaaaaaaaaaaaaaaaa9:info_hash20:mmmmmmmmmmmmmmmmmmmme1:q9:get_peers2:roi1e1:t2:aa1:y1:qe",
		message{kind: kindQuery, t: "aa", method: methodGetPeers, id: id('a'), infoHash: idp('m'), readOnly: true},
	}, {
		"answer with nodes and peers",
		"d2:ip6:<c61201021ae1>1:rd2:id20:aaaaaaaaaaaaaaaaaaaa5:nodes26:bbbbbbbbbbbbbbbbbbbb<c61202021ae1>6:nodes638:cccccccccccccccccccc<20010db80000000300000000000000021ae1>5:token8:aoeusnth6:valuesl6:<c6120402c8d5>18:<20010db8000000050000000000000002c8d5>ee1:t2:aa1:y1:re",
		message{
			kind: kindResponse, t: "aa", id: id('a'), token: "aoeusnth", seen: ap("198.18.1.2:6881"),
			nodes:  []node{{id('b'), ap("198.18.2.2:6881")}, {id('c'), ap("[2001:db8:0:3::2]:6881")}},
			values: []netip.AddrPort{ap("198.18.4.2:51413"), ap("[2001:db8:0:5::2]:51413")},
		},
	}, {
		"announce_peer", "d1:ad2:id20:aaaaaaaaaaaaaaaaaaaa12:implied_porti1e9:info_hash20:mmmmmmmmmmmmmmmmmmmm4:porti6881e5:token8:aoeusnthe1:q13:announce_peer1:t2:aa1:y1:qe",
		message{
			kind: kindQuery, t: "aa", method: methodAnnouncePeer, id: id('a'), infoHash: idp('m'), port: 6881, impliedPort: true, token: "aoeusnth",
		},
	},
}

// raw replaces hexadecimal digits between angle brackets by their bytes.
func raw(t testing.TB, s string) []byte {
	var b []byte
	for i, part := range strings.FieldsFunc(s, func(r rune) bool { return r == '<' || r == '>' }) {
		if i%2 == 0 {
			b = append(b, part...)
			continue
		}
		x, err := hex.DecodeString(part)
		if err != nil {
			t.Fatal(err)
		}
		b = append(b, x...)
	}
	return b
}

func TestMessagesAreWrittenAndRead(t *testing.T) {
	for _, c := range messages {
		b := raw(t, c.bytes)
		m, err := parseMessage(b)
		if err != nil || !reflect.DeepEqual(m, c.message) {
			t.Errorf("%s reads as %+v, %v", c.name, m, err)
		}
		if got := c.message.appendMarshal(nil); !bytes.Equal(got, b) {
			t.Errorf("%s is written as %q", c.name, got)
		}
	}
}

func TestTruncatedMessagesAreRefused(t *testing.T) {
	for _, c := range messages {
		b := raw(t, c.bytes)
		for n := range b {
			if m, err := parseMessage(b[:n]); err == nil {
				t.Errorf("%s cut to %q reads as %+v", c.name, b[:n], m)
			}
		}
	}
}

func TestWhatOthersSendBesidesIsLeftOut(t *testing.T) {
	long := strings.Repeat("6:<c6120402c8d5>", 300)
	for _, c := range []struct{ bytes, want string }{
		// Keys of other extensions, of any kind; keys that are not sorted.
		{"d1:y1:q1:v4:UT<0001>1:q4:ping1:t1:x1:ad4:scopd1:xli1eee2:id20:aaaaaaaaaaaaaaaaaaaaee", "d1:ad2:id20:aaaaaaaaaaaaaaaaaaaae1:q4:ping1:t1:x1:y1:qe"},
		// BEP 42 says six bytes, some send four; strings in values that are no addresses.
		{"d2:ip4:<c6120102>1:rd2:id20:aaaaaaaaaaaaaaaaaaaa6:valuesl1:x0:i5e6:<c6120402c8d5>ee1:t1:x1:y1:re", "d1:rd2:id20:aaaaaaaaaaaaaaaaaaaa6:valuesl6:<c6120402c8d5>ee1:t1:x1:y1:re"},
		// An IPv4 address mapped into IPv6.
		{"d1:rd2:id20:aaaaaaaaaaaaaaaaaaaa6:nodes638:cccccccccccccccccccc<00000000000000000000ffffc61201021ae1>e1:t1:x1:y1:re", "d1:rd2:id20:aaaaaaaaaaaaaaaaaaaae1:t1:x1:y1:re"},
		{"d1:rd2:id20:aaaaaaaaaaaaaaaaaaaa6:valuesl" + long + "ee1:t1:x1:y1:re", "d1:rd2:id20:aaaaaaaaaaaaaaaaaaaa6:valuesl" + long[:16*maxValues] + "ee1:t1:x1:y1:re"},
		{"d1:e0:1:t1:x1:y1:ee", "d1:eli0e0:e1:t1:x1:y1:ee"},
		{"d1:eli203e4:textld1:xi1eeee1:t1:x1:y1:ee", "d1:eli203e4:texte1:t1:x1:y1:ee"},
	} {
		m, err := parseMessage(raw(t, c.bytes))
		if got := m.appendMarshal(nil); err != nil || !bytes.Equal(got, raw(t, c.want)) {
			t.Errorf("of %.80q remains %.200q, %v", c.bytes, got, err)
		}
	}
}

func TestDatagramsThatBreakTheProtocolAreRefused(t *testing.T) {
	const ping = "d1:ad2:id20:aaaaaaaaaaaaaaaaaaaae1:q4:ping1:t2:aa1:y1:qe"
	for name, b := range map[string]string{
		"nothing":               "",
		"other protocol":        "\x41\x00\x00\x00",
		"list":                  "le",
		"trailing bytes":        ping + "e",
		"query without body":    "d1:q13:announce_peer1:t1:x1:y1:qe", // library v2.23.0 panics
		"one-byte ip in answer": "d1:rd2:id3:aaae1:t1:x1:y1:re",
		"short id":              strings.Replace(ping, "20:aaaaaaaaaaaaaaaaaaaa", "19:aaaaaaaaaaaaaaaaaaa", 1),
		"no id":                 "d1:rde1:t1:x1:y1:re",
		"no transaction":        "d1:rd2:id20:aaaaaaaaaaaaaaaaaaaae1:y1:re",
		"long transaction":      "d1:rd2:id20:aaaaaaaaaaaaaaaaaaaae1:t33:" + strings.Repeat("x", 33) + "1:y1:re",
		"long token":            "d1:rd2:id20:aaaaaaaaaaaaaaaaaaaa5:token65:" + strings.Repeat("x", 65) + "e1:t1:x1:y1:re",
		"two bodies":            "d1:ad2:id20:aaaaaaaaaaaaaaaaaaaae1:q4:ping1:rd2:id20:aaaaaaaaaaaaaaaaaaaae1:t1:x1:y1:re",
		"other kind":            strings.Replace(ping, "1:y1:q", "1:y1:r", 1),
		"unknown kind":          strings.Replace(ping, "1:y1:q", "1:y1:z", 1),
		"empty kind":            strings.Replace(ping, "1:y1:q", "1:y0:", 1),
		"number as kind":        strings.Replace(ping, "1:y1:q", "1:yi1e", 1),
		"ragged nodes":          "d1:rd2:id20:aaaaaaaaaaaaaaaaaaaa5:nodes25:bbbbbbbbbbbbbbbbbbbbxxxxxe1:t1:x1:y1:re",
		"values no list":        "d1:rd2:id20:aaaaaaaaaaaaaaaaaaaa6:values6:xxxxxxe1:t1:x1:y1:re",
		"huge string":           "d1:t99999999:",
		"string beyond the end": "d1:t2:a",
		"negative length":       "d1:t-1:a",
		"leading zero":          "d1:t02:aa",
		"huge number":           "d2:roi99999999999999999999e1:t1:x1:y1:re",
		"port too large":        "d1:ad2:id20:aaaaaaaaaaaaaaaaaaaa4:porti65536ee1:q4:ping1:t2:aa1:y1:qe",
		"negative port":         "d1:ad2:id20:aaaaaaaaaaaaaaaaaaaa4:porti-1ee1:q4:ping1:t2:aa1:y1:qe",
		"deep lists":            "d1:z" + strings.Repeat("l", 2000) + strings.Repeat("e", 2000) + ping[1:],
		"deep dictionaries":     "d1:z" + strings.Repeat("d1:z", 1000),
		"too long":              "d1:z4090:" + strings.Repeat("x", 4090) + ping[1:],
	} {
		if m, err := parseMessage([]byte(b)); err == nil {
			t.Errorf("%s reads as %+v", name, m)
		}
	}
}

func FuzzMessage(f *testing.F) {
	for _, c := range messages {
		f.Add(raw(f, c.bytes))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseMessage(b)
		if err != nil {
			return
		}
		if len(m.values) > maxValues || len(m.nodes) > 2*maxNodes || len(m.t) > maxTransaction || len(m.token) > maxToken {
			t.Errorf("%q exceeds a bound: %+v", b, m)
		}
		again, err := parseMessage(m.appendMarshal(nil))
		if err != nil && len(m.appendMarshal(nil)) <= maxDatagram || err == nil && !reflect.DeepEqual(again, m) {
			t.Errorf("%q reads as %+v, written and read again %+v, %v", b, m, again, err)
		}
		var library krpc.Msg
		if err := bencode.Unmarshal(m.appendMarshal(nil), &library); err != nil {
			t.Errorf("of %q the library is given %q, which it cannot read: %v", b, m.appendMarshal(nil), err)
		}
	})
}
