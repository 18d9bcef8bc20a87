package tracker

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestUDPRequestsOnTheWire(t *testing.T) {
	r := Request{Port: 6881, Uploaded: 3, Downloaded: 1, Left: 2, Event: EventStarted, Key: 0xabcdef01}
	for i := range r.InfoHash {
		r.InfoHash[i], r.PeerID[i] = 0x11, 0x22
	}
	hash, peer := strings.Repeat("11", 20), strings.Repeat("22", 20)
	const numbers = "0000000000000001 0000000000000002 0000000000000003"
	long := "/" + strings.Repeat("a", 299)
	for _, c := range []struct {
		name string
		got  []byte
		want string
	}{
		{"connect", appendHead(nil, protocolID, actionConnect, 7), "0000041727101980 00000000 00000007"},
		{"head of an announce", appendHead(nil, 0xfedcba9876543210, actionAnnounce, 7), "fedcba9876543210 00000001 00000007"},
		{"head of a scrape", appendHead(nil, 1, actionScrape, 7), "0000000000000001 00000002 00000007"},
		{"announce", appendAnnounce(nil, r, ""), hash + peer + numbers + "00000002 00000000 abcdef01 00000050 1ae1"},
		{"stopped, size unknown", appendAnnounce(nil, Request{InfoHash: r.InfoHash, PeerID: r.PeerID, Left: -1, Uploaded: -1, Downloaded: -1, Event: EventStopped}, ""),
			hash + peer + "0000000000000000 0000000000004000 0000000000000000 00000003 00000000 00000000 00000000 0000"},
		// BEP 41: option 2, length, text; more than 255 bytes in several options.
		{"path and query", appendAnnounce(nil, r, "/a?b=c"), hash + peer + numbers + "00000002 00000000 abcdef01 00000050 1ae1 02 06 2f613f623d63"},
		{"long path", appendAnnounce(nil, r, long), hash + peer + numbers + "00000002 00000000 abcdef01 00000050 1ae1" +
			"02 ff 2f" + strings.Repeat("61", 254) + "02 2d" + strings.Repeat("61", 45)},
	} {
		if want := unhex(t, c.want); !bytes.Equal(c.got, want) {
			t.Errorf("%s is\n%x, want\n%x", c.name, c.got, want)
		}
	}
	for e, want := range map[Event]uint32{EventNone: 0, EventCompleted: 1, EventStarted: 2, EventStopped: 3} {
		if got := udpEvent(e); got != want {
			t.Errorf("event %q is sent as %d, want %d", e, got, want)
		}
	}
}

func TestURLDataIsWhatFollowsTheHost(t *testing.T) {
	for tracker, want := range map[string]string{
		"udp://a.example:80":                       "",
		"udp://a.example:80/":                      "/",
		"udp://a.example:80/announce?key=k%20y":    "/announce?key=k%20y",
		"udp://a.example:80/a%2Fb/announce#part":   "/a%2Fb/announce",
		"udp://a.example:80?key":                   "?key",
		"udp://user:secret@[2001:db8::1]:80/x?y=z": "/x?y=z",
	} {
		u, err := url.Parse(tracker)
		if err != nil {
			t.Fatal(err)
		}
		if got := urlData(u); got != want {
			t.Errorf("%s gives %q, want %q", tracker, got, want)
		}
	}
}

func TestUDPAnswersToAnnounces(t *testing.T) {
	for _, c := range []struct {
		name, in string
		size     int
		want     Response
	}{
		{"no peers", "00000708 00000002 00000003", net4, Response{Interval: 30 * time.Minute, MinInterval: time.Minute, Leechers: 2, Seeders: 3, HasCounts: true}},
		{"IPv4 peers", "00000e10 00000000 00000000 c0000201 1ae1 c0000202 1ae2 c0000201 1ae1", net4,
			Response{Peers: addrs("192.0.2.1:6881", "192.0.2.2:6882"), Interval: time.Hour, MinInterval: time.Minute, HasCounts: true}},
		{"IPv6 peers", "00000e10 00000000 00000000 20010db8000000000000000000000001 1ae1", net6,
			Response{Peers: addrs("[2001:db8::1]:6881"), Interval: time.Hour, MinInterval: time.Minute, HasCounts: true}},
		{"addresses of no peer", "00000e10 00000000 00000000 00000000 1ae1 c0000202 0000 e0000001 0001 ffffffff 0001", net4,
			Response{Interval: time.Hour, MinInterval: time.Minute, HasCounts: true}},
		{"huge numbers", "7fffffff 7fffffff 7fffffff", net4,
			Response{Interval: 24 * time.Hour, MinInterval: time.Minute, Leechers: 0x7fffffff, Seeders: 0x7fffffff, HasCounts: true}},
		{"negative numbers", "ffffffff ffffffff 80000000", net4, Response{Interval: 30 * time.Minute, MinInterval: time.Minute, HasCounts: true}},
	} {
		in := unhex(t, c.in)
		got, err := parseAnnounce(in, c.size)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v, want %+v", c.name, got, err, c.want)
		}
		for n := range in {
			if whole := n >= 12 && (n-12)%(c.size+2) == 0; whole || n == 0 {
				continue // ends between two peers, or is a refusal
			}
			if _, err := parseAnnounce(in[:n], c.size); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s: the first %d of %d bytes give %v", c.name, n, len(in), err)
			}
		}
	}
}

func TestAnEmptyUDPAnswerIsARefusal(t *testing.T) {
	var refused *FailureError
	if _, err := parseAnnounce(nil, net4); !errors.As(err, &refused) || !strings.Contains(err.Error(), "does not serve this torrent") {
		t.Errorf("error %v", err)
	}
}

func TestUDPAnswersToConnectsAndScrapes(t *testing.T) {
	connect := unhex(t, "00000000 00000007 fedcba9876543210 ff") // bytes may follow
	action, transaction, rest, err := parseHead(connect)
	if err != nil || action != actionConnect || transaction != 7 {
		t.Errorf("head: %d, %d, %v", action, transaction, err)
	}
	if id, err := parseConnect(rest); err != nil || id != 0xfedcba9876543210 {
		t.Errorf("connection id %x, %v", id, err)
	}
	scrape := unhex(t, "00000003 00000100 00000005")
	want := Scrape{Seeders: 3, Downloads: 256, Leechers: 5}
	if s, err := parseUDPScrape(scrape); err != nil || s != want {
		t.Errorf("%+v, %v, want %+v", s, err, want)
	}
	if s, err := parseUDPScrape(unhex(t, "ffffffff 80000000 fffffffe 00")); err != nil || s != (Scrape{}) {
		t.Errorf("negative counts are read as %+v, %v", s, err)
	}
	for n := range 8 {
		if _, _, _, err := parseHead(connect[:n]); !errors.Is(err, ErrMalformed) {
			t.Errorf("%d bytes of a head give %v", n, err)
		}
		if _, err := parseConnect(rest[:n]); !errors.Is(err, ErrMalformed) {
			t.Errorf("%d bytes of a connection id give %v", n, err)
		}
	}
	for n := range scrape {
		if _, err := parseUDPScrape(scrape[:n]); !errors.Is(err, ErrMalformed) {
			t.Errorf("%d bytes of a scrape give %v", n, err)
		}
	}
}

// appendPeers writes peers as a UDP tracker does.
func appendPeers(b []byte, peers []netip.AddrPort) []byte {
	for _, p := range peers {
		b = binary.BigEndian.AppendUint16(append(b, p.Addr().AsSlice()...), p.Port())
	}
	return b
}

func FuzzUDPAnnounce(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte, six bool) {
		size := net4
		if six {
			size = net6
		}
		r, err := parseAnnounce(b, size)
		if err != nil {
			return
		}
		if len(r.Peers) > maxPeers || r.Interval < time.Minute || r.Interval > 24*time.Hour || r.MinInterval < 30*time.Second || r.MinInterval > r.Interval || r.Seeders < 0 || r.Leechers < 0 {
			t.Errorf("out of bounds: %+v", r)
		}
		for _, p := range r.Peers {
			if p.Port() == 0 || p.Addr().IsUnspecified() || p.Addr().IsMulticast() || p.Addr().Is4In6() {
				t.Errorf("%v cannot be a peer's", p)
			}
			if six && p.Addr().Is4() {
				return // came in its IPv6 form, and goes in another
			}
		}
		var again []byte
		for _, n := range []int64{int64(r.Interval / time.Second), int64(r.Leechers), int64(r.Seeders)} {
			again = binary.BigEndian.AppendUint32(again, uint32(n))
		}
		if got, err := parseAnnounce(appendPeers(again, r.Peers), size); err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("%+v is read again as %+v, %v", r, got, err)
		}
	})
}

func FuzzUDPScrape(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseUDPScrape(b)
		if err != nil {
			return
		}
		if s.Seeders < 0 || s.Leechers < 0 || s.Downloads < 0 {
			t.Errorf("out of bounds: %+v", s)
		}
		var again []byte
		for _, n := range []int{s.Seeders, s.Downloads, s.Leechers} {
			again = binary.BigEndian.AppendUint32(again, uint32(n))
		}
		if got, err := parseUDPScrape(again); err != nil || got != s {
			t.Errorf("%+v is read again as %+v, %v", s, got, err)
		}
	})
}

// FuzzCall lets a tracker answer what it wants, and holds the call to what BEP 15 has a client send.
func FuzzCall(f *testing.F) {
	f.Fuzz(func(t *testing.T, answer []byte, cached bool, seconds uint8) {
		now := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
		c := call{action: actionScrape, body: make([]byte, 20), unit: 3 * time.Second, cached: cached}
		if cached {
			c.connection = connection{id: 9, until: now.Add(connectionTime)}
		}
		for transaction := range uint32(100) {
			switch b := c.poll(now, transaction); {
			case b == nil && !now.Before(c.due):
				t.Fatal("nothing is sent though it is due")
			case b == nil:
			case len(b) == requestHead:
				if !bytes.HasPrefix(b, unhex(t, "0000041727101980 00000000")) {
					t.Fatalf("sent %s", hex.EncodeToString(b))
				}
			case len(b) != requestHead+20 || !c.connection.valid(now):
				t.Fatalf("sent %s with connection %+v", hex.EncodeToString(b), c.connection)
			}
			if _, err := c.receive(now, answer); err != nil {
				return
			}
			now = now.Add(time.Duration(seconds) * time.Second)
		}
		if c.ignored > maxIgnored {
			t.Errorf("%d datagrams were passed over", c.ignored)
		}
	})
}
