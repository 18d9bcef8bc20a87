package tracker

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func addrs(list ...string) (out []netip.AddrPort) {
	for _, s := range list {
		out = append(out, netip.MustParseAddrPort(s))
	}
	return out
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestReplies(t *testing.T) {
	bounds := Response{Interval: 30 * time.Minute, MinInterval: time.Minute}
	with := func(change func(*Response)) Response {
		r := bounds
		change(&r)
		return r
	}
	for _, c := range []struct {
		name, in string
		want     Response
	}{
		{"nothing", "de", bounds},
		{"everything", "d8:completei3e10:incompletei5e8:intervali1200e12:min intervali120e5:peers6:" + string(unhex(t, "c0000201 1ae1")) +
			"6:peers618:" + string(unhex(t, "20010db8000000000000000000000001 1ae2")) + "10:tracker id2:id15:warning message4:slowe",
			Response{addrs("192.0.2.1:6881", "[2001:db8::1]:6882"), 20 * time.Minute, 2 * time.Minute, "slow", 3, 5, 0, true, false, "id"}},
		// BEP 3: a list of dictionaries; the ip may be IPv6 or a name.
		{"dictionaries", "d5:peersld2:ip9:192.0.2.17:peer id20:aaaaaaaaaaaaaaaaaaaa4:porti1eed4:porti2e2:ip11:2001:db8::1ed2:ip9:a.example4:porti3eeee",
			with(func(r *Response) { r.Peers = addrs("192.0.2.1:1", "[2001:db8::1]:2") })},
		{"odd dictionaries", "d5:peersld4:porti1eed2:ip9:192.0.2.1ed2:ipi5e4:port1:1ed2:ip9:192.0.2.14:porti65536eed2:ip9:192.0.2.14:porti-1eed2:ip12:fe80::1%eth04:porti1eeee", bounds},
		{"addresses of no peer", "d5:peers30:" + string(unhex(t, "c0000201 0000  00000000 0001  e0000001 0001  ffffffff 0001  c0000201 0001")) +
			"6:peers636:" + string(unhex(t, "00000000000000000000000000000000 0001  ff020000000000000000000000000001 0001")) + "e",
			with(func(r *Response) { r.Peers = addrs("192.0.2.1:1") })},
		{"one address in two forms", "d5:peers6:" + string(unhex(t, "c0000201 0001")) + "6:peers618:" + string(unhex(t, "00000000000000000000ffffc0000201 0001")) + "e",
			with(func(r *Response) { r.Peers = addrs("192.0.2.1:1") })},
		{"small intervals", "d8:intervali1e12:min intervali1ee", Response{Interval: time.Minute, MinInterval: 30 * time.Second}},
		{"huge intervals", "d8:intervali9223372036854775807e12:min intervali9223372036854775807ee", Response{Interval: 24 * time.Hour, MinInterval: 24 * time.Hour}},
		{"negative numbers", "d8:completei-1e8:intervali-5e12:min intervali0ee", with(func(r *Response) { r.HasCounts = true })},
		{"huge numbers", "d8:completei9223372036854775807e10:downloadedi9223372036854775807ee",
			with(func(r *Response) {
				r.Seeders, r.HasCounts, r.Downloads, r.HasDownloads = math.MaxInt32, true, math.MaxInt32, true
			})},
		{"peers6 as a list", "d6:peers6ld2:ip11:2001:db8::14:porti2eeee", with(func(r *Response) { r.Peers = addrs("[2001:db8::1]:2") })},
		{"numbers as text", "d8:complete1:38:interval4:1800e", bounds},
		{"unknown keys", "d3:foold1:a1:bei5ee5:filesd1:adeee", bounds},
		{"unsafe warning", "d15:warning message10:a\x1b[2J\nb\u202ee", with(func(r *Response) { r.Warning = "a_[2J_b_" })},
		{"long tracker id", "d10:tracker id300:" + strings.Repeat("x", 300) + "e", bounds},
		{"line break at the end", "de\r\n", bounds},
	} {
		got, err := parseReply([]byte(c.in))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
		whole := strings.TrimSpace(c.in)
		for n := range len(whole) {
			if _, err := parseReply([]byte(whole[:n])); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s: the first %d of %d bytes give %v", c.name, n, len(whole), err)
			}
		}
	}
}

func TestBadRepliesGetAClearError(t *testing.T) {
	for _, c := range []struct{ name, in, reason string }{
		{"empty", "", "middle of a value"},
		{"a page", "<html>", "not bencoded"},
		{"a list", "le", "not bencoded"},
		{"two", "dede", "2 bytes follow"},
		{"five bytes of peers", "d5:peers5:aaaaae", "5 bytes, not a multiple of 6"},
		{"peers6 in the form of peers", "d6:peers66:aaaaaae", "6 bytes, not a multiple of 18"},
		{"peers a dictionary", "d5:peersd1:0d2:ip1:aeee", "neither a string nor a list"},
		{"peers of strings", "d5:peersl6:aaaaaaee", "not bencoded"},
		{"nested", "d1:x" + strings.Repeat("l", 1<<20), "nested"},
		{"nested in a peer", "d5:peersld1:x" + strings.Repeat("l", 1<<20), "nested"},
		{"long number", "d8:intervali" + strings.Repeat("9", 1000) + "ee", "not bencoded"},
		{"number too large", "d8:intervali9223372036854775808ee", "not bencoded"},
		{"claimed length", "d5:peers99999999999999999999:", "middle of a value"},
		{"key a number", "di1ei2ee", "not bencoded"},
	} {
		_, err := parseReply([]byte(c.in))
		if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%s: %v, want %q", c.name, err, c.reason)
		}
	}
}

func TestFailureReasonIsTyped(t *testing.T) {
	_, err := parseReply([]byte("d14:failure reason20:unregistered torrent8:intervali5e5:peers0:e"))
	var failure *FailureError
	if !errors.As(err, &failure) || failure.Reason != "unregistered torrent" {
		t.Errorf("error %v", err)
	}
	_, err = parseReply([]byte("d14:failure reason1000:" + strings.Repeat("\xff\n", 500) + "e"))
	if !errors.As(err, &failure) || len(failure.Reason) > 300 || !utf8.ValidString(failure.Reason) || strings.Contains(failure.Reason, "\n") {
		t.Errorf("error %q", err)
	}
}

// BEP 31: "retry in" has minutes, or "never".
func TestRefusalsSayWhenToComeBack(t *testing.T) {
	for _, c := range []struct {
		in    string
		retry time.Duration
		never bool
	}{
		{"", 0, false},
		{"8:retry ini5e", 5 * time.Minute, false},
		{"8:retry in2:15", 15 * time.Minute, false},
		{"8:retry in5:never", 0, true},
		{"8:retry ini-5e", 0, false},
		{"8:retry ini9223372036854775807e", 24 * time.Hour, false},
		{"8:retry in4:soon", 0, false},
		{"8:retry inle", 0, false},
	} {
		want := FailureError{Reason: "no", RetryIn: c.retry, Never: c.never}
		_, announce := parseReply([]byte("d14:failure reason2:no" + c.in + "e"))
		_, scrape := parseScrape([]byte("d14:failure reason2:no"+c.in+"e"), [20]byte{})
		for _, err := range []error{announce, scrape} {
			var got *FailureError
			if !errors.As(err, &got) || *got != want {
				t.Errorf("%s is read as %+v, want %+v", c.in, err, want)
			}
		}
	}
	if _, err := parseReply([]byte("d8:retry in5:nevere")); err != nil {
		t.Errorf("an answer that is no refusal gives %v", err)
	}
}

func TestNoMorePeersAreTakenThanAreKept(t *testing.T) {
	var compact []byte
	for i := range 2500 {
		compact = append(compact, 192, 0, 2, byte(i), byte(1+i>>8), 1)
	}
	for _, in := range []string{fmt.Sprintf("d5:peers%d:%se", len(compact), compact), dictionaries(2500)} {
		r, err := parseReply([]byte(in))
		if err != nil || len(r.Peers) != maxPeers {
			t.Errorf("%d peers, %v", len(r.Peers), err)
		}
	}
}

func dictionaries(n int) string {
	var b strings.Builder
	b.WriteString("d5:peersl")
	for i := range n {
		fmt.Fprintf(&b, "d2:ip9:192.0.2.14:porti%dee", i+1)
	}
	return b.String() + "ee"
}

// marshal writes a Response as a tracker would send it.
func marshal(r Response) []byte {
	var v4, v6 []byte
	for _, p := range r.Peers {
		if p.Addr().Is4() {
			v4 = binary.BigEndian.AppendUint16(append(v4, p.Addr().AsSlice()...), p.Port())
		} else {
			v6 = binary.BigEndian.AppendUint16(append(v6, p.Addr().AsSlice()...), p.Port())
		}
	}
	b := []byte("d")
	if r.HasCounts {
		b = fmt.Appendf(b, "8:completei%de10:incompletei%de", r.Seeders, r.Leechers)
	}
	if r.HasDownloads {
		b = fmt.Appendf(b, "10:downloadedi%de", r.Downloads)
	}
	return fmt.Appendf(b, "8:intervali%de12:min intervali%de5:peers%d:%s6:peers6%d:%s10:tracker id%d:%s15:warning message%d:%se",
		r.Interval/time.Second, r.MinInterval/time.Second, len(v4), v4, len(v6), v6, len(r.TrackerID), r.TrackerID, len(r.Warning), r.Warning)
}

func FuzzReply(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseReply(b)
		if err != nil {
			return
		}
		if len(r.Peers) > maxPeers || r.Interval < time.Minute || r.Interval > 24*time.Hour || r.MinInterval < 30*time.Second || r.MinInterval > r.Interval ||
			r.Seeders < 0 || r.Leechers < 0 || len(r.Warning) > 300 || len(r.TrackerID) > 256 {
			t.Errorf("out of bounds: %+v", r)
		}
		for _, p := range r.Peers {
			if ip := p.Addr(); p.Port() == 0 || !ip.IsValid() || ip.IsUnspecified() || ip.IsMulticast() || ip.Is4In6() || ip.Zone() != "" {
				t.Errorf("%v cannot be a peer's", p)
			}
		}
		again, err := parseReply(marshal(r))
		byFamily := func(a, b netip.AddrPort) int { return a.Addr().BitLen() - b.Addr().BitLen() }
		slices.SortStableFunc(r.Peers, byFamily)
		if err != nil || !reflect.DeepEqual(again, r) {
			t.Errorf("%+v is read again as %+v, %v", r, again, err)
		}
	})
}

func TestEveryByteOfAHashIsEscaped(t *testing.T) {
	var r Request
	for i := range r.InfoHash {
		r.InfoHash[i] = byte(i * 13)
	}
	copy(r.PeerID[:], "-SB0001- +&=?%/~_.zZ")
	r.Port, r.Uploaded, r.Downloaded, r.Left, r.Event, r.Key, r.TrackerID = 6881, 1, 2, 3, EventStarted, 0xabc, "a b"
	want := "info_hash=%00%0D%1A%274AN%5Bhu%82%8F%9C%A9%B6%C3%D0%DD%EA%F7" +
		"&peer_id=-SB0001-%20%2B%26%3D%3F%25%2F~_.zZ" +
		"&port=6881&uploaded=1&downloaded=2&left=3&compact=1&no_peer_id=1&numwant=80&key=abc&event=started&trackerid=a%20b"
	if got := r.query(); got != want {
		t.Errorf("query is\n%s, want\n%s", got, want)
	}
}

func TestQueryOfUnusualRequests(t *testing.T) {
	for _, c := range []struct {
		r    Request
		want string
	}{
		{Request{Left: -1}, "left=16384"},
		{Request{Left: 0}, "left=0"},
		{Request{Uploaded: -1}, "uploaded=0"},
		{Request{NumWant: 7}, "numwant=7"},
		{Request{NumWant: -1}, "numwant=0"},
		{Request{NumWant: 7, Event: EventStopped}, "numwant=0"},
	} {
		if q := strings.Split(c.r.query(), "&"); !slices.Contains(q, c.want) {
			t.Errorf("%+v is sent as %v, without %s", c.r, q, c.want)
		}
	}
	if q := (Request{}).query(); bytes.ContainsAny([]byte(q), " ") || strings.Contains(q, "event") || strings.Contains(q, "key") || strings.Contains(q, "trackerid") {
		t.Errorf("an empty request is sent as %s", q)
	}
}
