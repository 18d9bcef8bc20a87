package control

import (
	"encoding/hex"
	"errors"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"simplebit/nat"
)

var testID = [20]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}

func addr(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func mustAppend(t testing.TB, m Message) []byte {
	t.Helper()
	b, err := AppendMessage(nil, m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

func TestEveryTruncationOfAMessageFails(t *testing.T) {
	for _, e := range examples(t) {
		for n := range e.frame {
			if m, err := ParseMessage(e.frame[:n]); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s cut to %d bytes: %v, %v", e.title, n, m, err)
			}
		}
		if m, err := ParseMessage(append(e.frame, 0)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s and one byte: %v, %v", e.title, m, err)
		}
	}
}

const (
	id20    = "54 0102030405060708090a0b0c0d0e0f1011121314 "
	attempt = "01 48 0102030405060708 "
	punched = "00 0f " + attempt
	punch   = "00 0e " + attempt + "02 50 a00102030405060708090a0b0c0d0e0f "
)

func TestHostileMessagesAreRefused(t *testing.T) {
	for name, frame := range map[string]string{
		"nothing":                         "",
		"no map":                          "05",
		"null":                            "f6",
		"array for map":                   "81 05",
		"no type":                         "a1 01 00",
		"type zero":                       "a1 00 00",
		"type null":                       "a1 00 f6",
		"type negative":                   "a1 00 20",
		"type as text":                    "a1 00 61 35",
		"type as float":                   "a1 00 fb 4014000000000000",
		"duplicate type":                  "a2 00 05 00 05",
		"duplicate field":                 "a3 00 01 05 01 05 02",
		"duplicate unknown field":         "a3 00 05 18 40 01 18 40 01",
		"duplicate field in a peer":       "a3 00 04 01 " + id20 + "0b 81 a2 05 01 05 01",
		"map without end":                 "bf 00 05 ff",
		"text without end":                "a2 00 01 02 7f 61 61 ff",
		"array without end":               "a3 00 09 01 " + id20 + "02 9f ff",
		"tagged":                          "c1 a1 00 05",
		"tagged field":                    "a2 00 01 01 c1 01",
		"bignum":                          "a2 00 01 01 c2 41 01",
		"version beyond 64 bits":          "a2 00 01 01 c2 49 010000000000000000",
		"port beyond 16 bits":             "a2 00 01 05 1a 00010000",
		"name not UTF-8":                  "a2 00 01 03 62 c3 28",
		"name as bytes":                   "a2 00 01 03 41 61",
		"name with a line break":          "a2 00 01 03 61 0a",
		"name with an escape":             "a2 00 01 03 62 1b 5b",
		"name too long":                   "a2 00 01 03 78 41 " + strings.Repeat("61", 65),
		"token too long":                  "a2 00 01 04 78 81 " + strings.Repeat("61", 129),
		"reason too long":                 "a2 00 03 02 79 0401 " + strings.Repeat("61", 1025),
		"code beyond 8 bits":              "a2 00 03 01 19 0100",
		"observed too short":              "a2 00 02 04 45 0102030405",
		"observed as text":                "a2 00 02 04 66 616161616161",
		"info-hash missing":               "a1 00 06",
		"info-hash null":                  "a2 00 06 01 f6",
		"info-hash of 19 bytes":           "a2 00 06 01 53 01020304050607080910111213141516171819",
		"info-hash of 21 bytes":           "a2 00 06 01 55 010203040506070809101112131415161718192021",
		"info-hash as array":              "a2 00 06 01 94 " + strings.Repeat("01", 20),
		"info-hash as text":               "a2 00 06 01 74 " + strings.Repeat("61", 20),
		"negative size":                   "a3 00 04 01 " + id20 + "04 20",
		"size beyond 63 bits":             "a3 00 04 01 " + id20 + "04 1b 8000000000000000",
		"negative rate of a peer":         "a3 00 04 01 " + id20 + "0b 81 a1 05 20",
		"client too long":                 "a3 00 04 01 " + id20 + "0b 81 a1 02 78 41 " + strings.Repeat("61", 65),
		"transport too long":              "a3 00 04 01 " + id20 + "0b 81 a1 03 71 " + strings.Repeat("61", 17),
		"257 peers":                       "a3 00 04 01 " + id20 + "0b 99 0101 " + strings.Repeat("a0", 257),
		"peers as map":                    "a3 00 04 01 " + id20 + "0b a0",
		"paused as number":                "a3 00 07 01 " + id20 + "03 01",
		"501 candidates":                  "a3 00 09 01 " + id20 + "02 99 01f5 " + strings.Repeat("a1 01 46 cb0071091ae1", 501),
		"candidate without address":       "a3 00 09 01 " + id20 + "02 81 a1 02 01",
		"down limit negative":             "a3 00 07 01 " + id20 + "06 20",
		"up limit beyond 63 bits":         "a3 00 07 01 " + id20 + "07 1b 8000000000000000",
		"max peers beyond 16 bits":        "a3 00 07 01 " + id20 + "08 1a 00010000",
		"ratio beyond 32 bits":            "a3 00 07 01 " + id20 + "09 1b 0000000100000000",
		"1001 runs of files":              "a3 00 07 01 " + id20 + "0b 99 03e9 " + strings.Repeat("a1 01 01", 1001),
		"run without count":               "a3 00 07 01 " + id20 + "0b 81 a1 02 01",
		"run of no files":                 "a3 00 07 01 " + id20 + "0b 81 a2 01 00 02 01",
		"runs of 200,001 files":           "a3 00 07 01 " + id20 + "0b 82 a1 01 1a 00030d40 a1 01 01",
		"runs of 2^32 files":              "a3 00 07 01 " + id20 + "0b 82 a1 01 1a ffffffff a1 01 01",
		"run of a negative count":         "a3 00 07 01 " + id20 + "0b 81 a1 01 20",
		"priority beyond 8 bits":          "a3 00 07 01 " + id20 + "0b 81 a2 01 01 02 19 0100",
		"selected negative":               "a3 00 04 01 " + id20 + "0e 20",
		"selected have negative":          "a3 00 04 01 " + id20 + "0f 20",
		"501 unusable":                    "a3 00 0c 01 " + id20 + "02 99 01f5 " + strings.Repeat("a1 01 46 cb0071091ae1", 501),
		"unusable without address":        "a3 00 0c 01 " + id20 + "02 81 a1 02 01",
		"unusable of a negative reason":   "a3 00 0c 01 " + id20 + "02 81 a2 01 46 cb0071091ae1 02 20",
		"unusable with port 0":            "a3 00 0c 01 " + id20 + "02 81 a1 01 46 cb0071090000",
		"unusable without info-hash":      "a2 00 0c 02 80",
		"candidate with port 0":           "a3 00 09 01 " + id20 + "02 81 a1 01 46 cb0071090000",
		"relay with nobody":               "a2 00 11 01 " + id20,
		"relay without info-hash":         "a2 00 11 02 61 64",
		"relay with a long device":        "a3 00 11 01 " + id20 + "02 78 41 " + strings.Repeat("61", 65),
		"relay with a number":             "a3 00 11 01 " + id20 + "02 05",
		"relay with a garbled address":    "a4 00 11 01 " + id20 + "02 61 64 04 45 0102030405",
		"TCP port beyond 16 bits":         "a2 00 02 06 1a 00010000",
		"array of 1025 in an unknown key": "a2 00 05 18 40 99 0401 " + strings.Repeat("00", 1025),
		"map of 65 in an unknown key":     "a2 00 05 18 40 b8 41 " + pairs(65),
		"9 levels in an unknown key":      "a2 00 05 18 40 " + strings.Repeat("81", 8) + "00",
		"array that promises more":        "a2 00 05 18 40 9b 7fffffffffffffff 00",
		"text that promises more":         "a2 00 01 03 7b 7fffffffffffffff 61",
		"bytes that promise 2^63":         "a2 00 06 01 5b 8000000000000000",
		"piece length 0":                  "a6 00 0a 01 " + id20 + "04 01 05 01 06 01 03 00",
		"piece length above 64 MiB":       "a6 00 0a 01 " + id20 + "03 1a 04000001 04 01 05 01 06 01",
		"layout without bytes":            "a5 00 0a 01 " + id20 + "03 01 05 01 06 01",
		"pieces that do not fit":          "a6 00 0a 01 " + id20 + "03 01 04 02 05 01 06 01",
		"200,001 files":                   "a6 00 0a 01 " + id20 + "03 01 04 01 05 1a 00030d41 06 01",
		"4 Mi pieces and one":             "a6 00 0a 01 " + id20 + "03 01 04 1a 00400001 05 01 06 1a 00400001",
		"9 STUN servers":                  "a2 00 02 05 89 " + strings.Repeat("46 cb0071091151", 9),
		"STUN server with port 0":         "a2 00 02 05 81 46 cb0071090000",
		"STUN server at no address":       "a2 00 02 05 81 40",
		"STUN server of 5 bytes":          "a2 00 02 05 81 45 cb00710911",
		"STUN server at multicast":        "a2 00 02 05 81 46 e00000011151",
		"STUN server at broadcast":        "a2 00 02 05 81 46 ffffffff1151",
		"STUN servers as map":             "a2 00 02 05 a0",
		"17 candidates of a device":       "a2 00 0d 0b 91 " + strings.Repeat("a1 01 46 cb0071091ae1", 17),
		"device at no address":            "a2 00 0d 0b 81 a1 02 01",
		"device with port 0":              "a2 00 0d 0b 81 a1 01 46 cb0071090000",
		"device at 0.0.0.0":               "a2 00 0d 0b 81 a1 01 46 000000001ae1",
		"device at ::ffff:0.0.0.0":        "a2 00 0d 0b 81 a1 01 52 00000000000000000000ffff00000000 1ae1",
		"device at multicast":             "a2 00 0d 0b 81 a1 01 52 ff020000000000000000000000000001 1ae1",
		"device at broadcast in IPv6":     "a2 00 0d 0b 81 a1 01 52 00000000000000000000ffffffffffff 1ae1",
		"device's kind beyond 8 bits":     "a2 00 0d 0b 81 a2 01 46 cb0071091ae1 02 19 0100",
		"answer beyond 8 bits":            "a2 00 0d 02 19 0100",
		"answer negative":                 "a2 00 0d 02 20",
		"step of 65536 ports":             "a2 00 0d 06 1a 00010000",
		"step of -65536 ports":            "a2 00 0d 06 39 ffff",
		"step beyond 64 bits":             "a2 00 0d 06 3b ffffffffffffffff",
		"lifetime of a day and a second":  "a2 00 0d 09 1a 00015181",
		"lifetime negative":               "a2 00 0d 09 20",
		"blocked as number":               "a2 00 0d 01 01",
		"punch for no torrent":            "a4 " + punch + "05 80",
		"punch for what is not said":      "a3 " + punch,
		"punch for 17 torrents":           "a4 " + punch + "05 91 " + strings.Repeat(id20, 17),
		"punch for a torrent of 19 bytes": "a4 " + punch + "05 81 53 01020304050607080910111213141516171819",
		"punch without an attempt":        "a3 00 0e 02 50 a00102030405060708090a0b0c0d0e0f 05 81 " + id20,
		"punch without a key":             "a3 00 0e " + attempt + "05 81 " + id20,
		"punch with a key of zeros":       "a4 00 0e " + attempt + "02 50 00000000000000000000000000000000 05 81 " + id20,
		"attempt of zeros":                "a4 00 0e 01 48 0000000000000000 02 50 a00102030405060708090a0b0c0d0e0f 05 81 " + id20,
		"attempt of 9 bytes":              "a2 00 0f 01 49 010203040506070809",
		"punch in 10,001 ms":              "a5 " + punch + "05 81 " + id20 + "04 19 2711",
		"punch in the past":               "a5 " + punch + "05 81 " + id20 + "04 20",
		"hold of 2,001 ms":                "a5 " + punch + "05 81 " + id20 + "0d 19 07d1",
		"deadline of 30,001 ms":           "a5 " + punch + "05 81 " + id20 + "0e 19 7531",
		"129 sockets":                     "a5 " + punch + "05 81 " + id20 + "0f 18 81",
		"1,025 probes":                    "a5 " + punch + "05 81 " + id20 + "10 19 0401",
		"punch to 17 addresses":           "a5 " + punch + "05 81 " + id20 + "07 91 " + strings.Repeat("a1 01 46 cb0071091ae1", 17),
		"punch to multicast":              "a5 " + punch + "05 81 " + id20 + "07 81 a1 01 46 e00000011ae1",
		"punch to everybody":              "a5 " + punch + "05 81 " + id20 + "08 46 ffffffff1ae1",
		"punch from 5 bytes":              "a5 " + punch + "05 81 " + id20 + "09 45 cb00710911",
		"punch over too large steps":      "a5 " + punch + "05 81 " + id20 + "0a a1 06 1a 00010000",
		"punch to too large steps":        "a5 " + punch + "05 81 " + id20 + "0b a1 06 1a 00010000",
		"peer's name too long":            "a5 " + punch + "05 81 " + id20 + "06 78 41 " + strings.Repeat("61", 65),
		"peer's name with an escape":      "a5 " + punch + "05 81 " + id20 + "06 62 1b 5b",
		"33 tries":                        "a3 " + punched + "0a 98 21 " + strings.Repeat("a1 01 46 cb0071091ae1", 33),
		"try of no address":               "a3 " + punched + "0a 81 a1 02 01",
		"try with port 0":                 "a3 " + punched + "0a 81 a1 01 46 cb0071090000",
		"try before never":                "a3 " + punched + "0a 81 a2 01 46 cb0071091ae1 03 21",
		"try after 30 minutes":            "a3 " + punched + "0a 81 a2 01 46 cb0071091ae1 05 1a 001b7741",
		"65,536 datagrams of a try":       "a3 " + punched + "0a 81 a2 01 46 cb0071091ae1 06 1a 00010000",
		"path to everybody":               "a3 " + punched + "03 46 ffffffff1ae1",
		"path from socket 128":            "a3 " + punched + "05 18 80",
		"round trip of 30 minutes":        "a3 " + punched + "06 1a 6b49d201",
		"attempt of 30 minutes":           "a3 " + punched + "07 1a 001b7741",
		"reason of 257 bytes":             "a3 " + punched + "09 79 0101 " + strings.Repeat("61", 257),
		"reason with an escape":           "a3 " + punched + "09 62 1b 5b",
		"method too long":                 "a3 " + punched + "08 78 41 " + strings.Repeat("61", 65),
		"observed nowhere":                "a1 00 10",
		"observed at null":                "a2 00 10 01 f6",
		"observed at 5 bytes":             "a2 00 10 01 45 cb00710911",
		"observed at port 0":              "a2 00 10 01 46 cb0071090000",
		"observed at 0.0.0.0":             "a2 00 10 01 46 000000001ae1",
		"observed at multicast":           "a2 00 10 01 52 ff020000000000000000000000000001 1ae1",
		"observed at everybody":           "a2 00 10 01 46 ffffffff1ae1",
		"no files":                        "a2 00 0b 01 80",
		"513 files":                       "a2 00 0b 01 99 0201 " + strings.Repeat("a1 03 f5", 513),
		"file of negative length":         "a2 00 0b 01 81 a2 01 61 61 02 20",
		"file without path":               "a2 00 0b 01 81 a1 02 01",
		"file outside":                    "a2 00 0b 01 81 a1 01 64 2e2e2f61",
		"padding outside":                 "a2 00 0b 01 81 a2 01 64 2e2e2f61 03 f5",
		"absolute file":                   "a2 00 0b 01 81 a1 01 62 2f61",
		"file with a zero byte":           "a2 00 0b 01 81 a1 01 62 6100",
	} {
		if m, err := ParseMessage(unhex(frame)); !errors.Is(err, ErrMalformed) || m != nil {
			t.Errorf("%s: %v, %v", name, m, err)
		}
	}
	if _, err := ParseMessage(make([]byte, MaxFrame+1)); !errors.Is(err, ErrFrameTooLarge) {
		t.Errorf("more than a frame: %v", err)
	}
}

func pairs(n int) string {
	b := []byte{}
	for i := range n {
		b = append(b, 0x18, byte(100+i), 0)
	}
	return hex.EncodeToString(b)
}

func TestLaterVersionsMayAddKeysAndTypes(t *testing.T) {
	for name, c := range map[string]struct {
		frame string
		want  Message
	}{
		"a key":               {"a2 00 05 18 40 61 61", Synced{}},
		"a deep key":          {"a2 00 05 18 40 " + strings.Repeat("81", 7) + "00", Synced{}},
		"a text key":          {"a2 00 05 61 31 01", Synced{}},
		"a negative key":      {"a2 00 05 20 fb 3ff0000000000000", Synced{}},
		"a key in a peer":     {"a3 00 04 01 " + id20 + "0b 81 a2 05 01 18 40 a0", Progress{ID: testID, Peers: []Peer{{Down: 1}}}},
		"a state":             {"a3 00 04 01 " + id20 + "03 18 ff", Progress{ID: testID, State: 255}},
		"a transport":         {"a3 00 09 01 " + id20 + "02 81 a2 01 46 cb0071091ae1 03 09", Candidates{testID, []Candidate{{Addr: addr("203.0.113.9:6881"), Transport: 9}}}},
		"a kind of candidate": {"a3 00 09 01 " + id20 + "02 81 a2 01 46 cb0071091ae1 02 09", Candidates{testID, []Candidate{{Addr: addr("203.0.113.9:6881"), Kind: 9}}}},
		"a priority of files": {"a3 00 07 01 " + id20 + "0b 81 a2 01 01 02 09", Assign{ID: testID, Files: []FileRun{{1, 9}}}},
		"a reason":            {"a3 00 0c 01 " + id20 + "02 81 a2 01 46 cb0071091ae1 02 09", Unusable{testID, []UnusablePeer{{addr("203.0.113.9:6881"), 9}}}},
		"an answer":           {"a2 00 0d 02 09", Network{Behaviour: nat.Behaviour{Public: 9}}},
		"a dependence":        {"a2 00 0d 03 18 ff", Network{Behaviour: nat.Behaviour{Mapping: 255}}},
		"a kind of address":   {"a2 00 0d 0b 81 a2 01 46 cb0071091ae1 02 09", Network{Candidates: []nat.Candidate{{Addr: addr("203.0.113.9:6881"), Kind: 9}}}},
		"a key of an address": {"a2 00 0d 0b 81 a2 01 46 cb0071091ae1 18 40 a0", Network{Candidates: []nat.Candidate{{Addr: addr("203.0.113.9:6881")}}}},
		"a key of a relay":    {"a4 00 11 01 " + id20 + "02 61 64 18 40 a0", Relay{Torrent: testID, Device: "d"}},
		"an outcome":          {"a3 " + punched + "02 09", Punched{Attempt: [8]byte{1, 2, 3, 4, 5, 6, 7, 8}, Outcome: 9}},
		"a key of a try": {"a3 " + punched + "0a 81 a2 01 46 cb0071091ae1 18 40 a0",
			Punched{Attempt: [8]byte{1, 2, 3, 4, 5, 6, 7, 8}, Tries: []PunchTry{{Addr: addr("203.0.113.9:6881")}}}},
		"a key of where it is seen": {"a3 00 10 01 46 cb0071079cb0 18 40 a0", Observed{addr("203.0.113.7:40112")}},
		"keys in another order":     {"a2 01 " + id20 + "00 06", Gone{testID}},
		"IPv4 inside IPv6":          {"a2 00 02 04 52 00000000000000000000ffffcb007107 9cb0", Welcome{Observed: addr("203.0.113.7:40112")}},
	} {
		if m, err := ParseMessage(unhex(c.frame)); err != nil || !reflect.DeepEqual(m, c.want) {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
	for _, frame := range []string{"a1 00 12", "a1 00 1b ffffffffffffffff", "a2 00 18 63 01 99 0100" + strings.Repeat("00", 256)} {
		if m, err := ParseMessage(unhex(frame)); !errors.Is(err, ErrUnknownType) || m != nil {
			t.Errorf("type unknown: %v, %v", m, err)
		}
	}
}

func TestLargestProgressFitsInAFrame(t *testing.T) {
	m := Progress{
		ID: testID, Generation: math.MaxUint64, State: 255, Size: math.MaxInt64, Have: math.MaxInt64, Downloaded: math.MaxInt64,
		Uploaded: math.MaxInt64, DownRate: math.MaxInt64, UpRate: math.MaxInt64, Checked: math.MaxInt64, Partial: math.MaxInt64,
		Selected: math.MaxInt64, SelectedHave: math.MaxInt64,
		Error: strings.Repeat("e", 2*MaxText),
	}
	for range 2 * MaxPeers {
		m.Peers = append(m.Peers, Peer{
			addr("[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535"), strings.Repeat("c", 200), strings.Repeat("t", 200),
			strings.Repeat("p", 200), math.MaxInt64, math.MaxInt64,
		})
	}
	m.Peers[0].Client = "the most important"
	b := mustAppend(t, m)
	got, err := ParseMessage(b)
	if err != nil {
		t.Fatal(err)
	}
	p := got.(Progress)
	if len(p.Peers) != MaxPeers || p.Peers[0].Client != "the most important" || p.Error != m.Error[:MaxText] {
		t.Errorf("%d peers, first %q, error of %d bytes", len(p.Peers), p.Peers[0].Client, len(p.Error))
	}
	if len(m.Peers) != 2*MaxPeers {
		t.Error("the caller's peers were cut")
	}
}

func TestLargestAssignAndUnusableFitInAFrame(t *testing.T) {
	assign := Assign{
		ID: testID, Generation: math.MaxUint64, Paused: true, Verify: math.MaxUint64, Sequential: true, DownLimit: math.MaxInt64,
		UpLimit: math.MaxInt64, MaxPeers: math.MaxUint16, SeedRatio: math.MaxUint32, SeedTime: math.MaxUint32,
		Files: append(slicesOf(FileRun{1, 255}, MaxFileRuns-1), FileRun{MaxFiles - MaxFileRuns + 1, FileHigh}),
	}
	unusable := Unusable{testID, slicesOf(UnusablePeer{addr("[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535"), 255}, MaxCandidates)}
	for _, m := range []Message{assign, unusable} {
		if got, err := ParseMessage(mustAppend(t, m)); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%T came back as %+v, %v", m, got, err)
		}
	}
}

func TestLargestNetworkAndWelcomeFitInAFrame(t *testing.T) {
	far := addr("[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535")
	network := Network{
		Behaviour: nat.Behaviour{
			Blocked: true, Public: 255, Mapping: 255, Filtering: 255, Preserved: 255, Step: -MaxStep, Hairpin: 255, Double: 255,
			Lifetime: MaxLifetime, Reachable: 255,
		},
		Candidates: slicesOf(nat.Candidate{Kind: 255, Addr: far, TCP: true}, nat.MaxCandidates),
	}
	long := strings.Repeat("w", MaxName)
	welcome := Welcome{math.MaxUint64, long, long, far, slicesOf(far, MaxSTUN), math.MaxUint16}
	for _, m := range []Message{network, welcome} {
		if got, err := ParseMessage(mustAppend(t, m)); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%T came back as %+v, %v", m, got, err)
		}
	}
	welcome.STUN = append(welcome.STUN, addr("192.0.2.1:1"))
	if got, err := ParseMessage(mustAppend(t, welcome)); err != nil || !slices.Equal(got.(Welcome).STUN, slicesOf(far, MaxSTUN)) {
		t.Errorf("one server too many: %+v, %v", got, err)
	}
}

func TestLargestPunchAndPunchedFitInAFrame(t *testing.T) {
	far := addr("[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535")
	behaviour := nat.Behaviour{
		Blocked: true, Public: 255, Mapping: 255, Filtering: 255, Preserved: 255, Step: -MaxStep, Hairpin: 255, Double: 255,
		Lifetime: MaxLifetime, Reachable: 255,
	}
	punch := Punch{
		Attempt: [8]byte{1}, Key: [16]byte{1}, Controlling: true, In: MaxPunchIn, Torrents: slicesOf(testID, MaxPunchTorrents),
		Peer: strings.Repeat("w", MaxName), Remote: slicesOf(nat.Candidate{Kind: 255, Addr: far, TCP: true}, nat.MaxCandidates),
		Observed: far, Self: far.Addr(), Local: behaviour, Theirs: behaviour, Try: math.MaxUint16, Hold: MaxPunchHold,
		Deadline: MaxPunchDeadline, Sockets: MaxPunchSockets, Probes: MaxPunchProbes,
	}
	try := PunchTry{far, 255, MaxPunchTime, MaxPunchTime, PunchNever, math.MaxUint16}
	punched := Punched{
		Attempt: [8]byte{255}, Outcome: 255, Remote: far, LAN: true, Socket: MaxPunchSockets - 1, RTT: MaxPunchTime, Took: MaxPunchTime,
		Method: strings.Repeat("m", MaxName), Why: strings.Repeat("w", MaxWhy), Tries: slicesOf(try, MaxTries), Others: math.MaxUint16,
		Kept: MaxPunchKept, Chosen: strings.Repeat("c", MaxWhy),
	}
	for _, m := range []Message{punch, punched} {
		if got, err := ParseMessage(mustAppend(t, m)); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%T came back as %+v, %v", m, got, err)
		}
	}
}

func TestALifetimeIsALowerBoundOfWholeSeconds(t *testing.T) {
	for in, want := range map[time.Duration]time.Duration{
		time.Second - 1: 0, 119*time.Second + 999*time.Millisecond: 119 * time.Second, 48 * time.Hour: MaxLifetime, math.MaxInt64: MaxLifetime,
	} {
		m, err := ParseMessage(mustAppend(t, Network{Behaviour: nat.Behaviour{Lifetime: in}}))
		if err != nil || m.(Network).Behaviour.Lifetime != want {
			t.Errorf("%v: %+v, %v", in, m, err)
		}
	}
}

func TestTextForPeopleIsMadeFit(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                        "plain",
		"two\nlines\x1b[31m":           "two lines [31m",
		"bad \xff byte":                "bad \ufffd byte",
		strings.Repeat("é", 40):        strings.Repeat("é", 32),
		"x" + strings.Repeat("é", 40):  "x" + strings.Repeat("é", 31),
		strings.Repeat("\u0085", 1000): strings.Repeat(" ", 64),
		strings.Repeat("\xff", 1000):   strings.Repeat("\ufffd", 21),
	} {
		got := clip(in, 64)
		if got != want || !utf8.ValidString(got) {
			t.Errorf("clip(%q) = %q", in, got)
		}
		m, err := ParseMessage(mustAppend(t, Hello{Name: in}))
		if err != nil || m.(Hello).Name != want {
			t.Errorf("sent %q: %v, %v", in, m, err)
		}
	}
}

func TestWhatCannotBeSentIsRefusedBeforeItIsSent(t *testing.T) {
	for name, m := range map[string]Message{
		"token too long":            Hello{Token: strings.Repeat("t", MaxToken+1)},
		"token with a line break":   Hello{Token: "t\n"},
		"token not UTF-8":           Hello{Token: "\xff"},
		"negative size":             Progress{Size: -1},
		"negative rate":             Progress{Peers: []Peer{{Up: -1}}},
		"501 candidates":            Candidates{Peers: make([]Candidate, 501)},
		"candidate without address": Candidates{Peers: make([]Candidate, 1)},
		"candidate with port 0":     Candidates{Peers: []Candidate{{Addr: addr("203.0.113.9:0")}}},
		"negative limit":            Assign{DownLimit: -1},
		"1001 runs of files":        Assign{Files: slicesOf(FileRun{1, FileSkip}, MaxFileRuns+1)},
		"run of no files":           Assign{Files: make([]FileRun, 1)},
		"runs of 200,001 files":     Assign{Files: []FileRun{{MaxFiles, FileHigh}, {1, FileSkip}}},
		"negative selection":        Progress{Selected: -1},
		"501 unusable":              Unusable{Peers: make([]UnusablePeer, 501)},
		"unusable with port 0":      Unusable{Peers: []UnusablePeer{{Addr: addr("203.0.113.9:0")}}},
		"STUN server with port 0":   Welcome{STUN: []netip.AddrPort{addr("192.0.2.1:0")}},
		"STUN server of nobody":     Welcome{STUN: make([]netip.AddrPort, 1)},
		"STUN server at multicast":  Welcome{STUN: []netip.AddrPort{addr("[ff02::1]:4433")}},
		"17 addresses of a device":  Network{Candidates: slicesOf(nat.Candidate{Addr: addr("192.0.2.1:1")}, 17)},
		"device at no address":      Network{Candidates: make([]nat.Candidate, 1)},
		"device at ::":              Network{Candidates: []nat.Candidate{{Addr: addr("[::]:1")}}},
		"step of 65536 ports":       Network{Behaviour: nat.Behaviour{Step: 1 << 16}},
		"step of -65536 ports":      Network{Behaviour: nat.Behaviour{Step: -1 << 16}},
		"negative lifetime":         Network{Behaviour: nat.Behaviour{Lifetime: -1}},
		"punch without an attempt":  Punch{Key: [16]byte{1}, Torrents: slicesOf(testID, 1)},
		"punch without a key":       Punch{Attempt: [8]byte{1}, Torrents: slicesOf(testID, 1)},
		"punch for nothing":         Punch{Attempt: [8]byte{1}, Key: [16]byte{1}},
		"punch in the past":         Punch{Attempt: [8]byte{1}, Key: [16]byte{1}, Torrents: slicesOf(testID, 1), In: -1},
		"punch in two months":       Punch{Attempt: [8]byte{1}, Key: [16]byte{1}, Torrents: slicesOf(testID, 1), In: 1 << 32 * time.Millisecond},
		"punch to everybody":        Punch{Attempt: [8]byte{1}, Key: [16]byte{1}, Torrents: slicesOf(testID, 1), Observed: addr("255.255.255.255:1")},
		"result of no attempt":      Punched{Outcome: PunchFailed},
		"result before the attempt": Punched{Attempt: [8]byte{1}, Took: -1},
		"try of no address":         Punched{Attempt: [8]byte{1}, Tries: make([]PunchTry, 1)},
		"path from socket 128":      Punched{Attempt: [8]byte{1}, Socket: 128},
		"relay with nobody":         Relay{Torrent: testID},
		"relay with a line break":   Relay{Torrent: testID, Device: "a\n"},
		"observed nowhere":          Observed{},
		"observed at port 0":        Observed{addr("203.0.113.9:0")},
		"observed at multicast":     Observed{addr("224.0.0.1:1")},
		"pieces that do not fit":    LayoutHeader{PieceLength: 1, Length: 2, Files: 1, Pieces: 1},
		"no files":                  LayoutFiles{},
		"too many files":            LayoutFiles{make([]LayoutFile, MaxFrameFiles+1)},
		"files beyond a frame":      LayoutFiles{slicesOf(LayoutFile{Path: longPath}, 17)},
		"path with ..":              LayoutFiles{[]LayoutFile{{Path: "a/../b"}}},
		"path not UTF-8":            LayoutFiles{[]LayoutFile{{Path: "a\xff"}}},
	} {
		b, err := AppendMessage([]byte("kept"), m)
		if !errors.Is(err, ErrUnsendable) || errors.Is(err, ErrMalformed) || string(b) != "kept" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
}

var longPath = strings.Repeat(strings.Repeat("p", 255)+"/", 15) + strings.Repeat("p", 255)

func slicesOf[T any](v T, n int) []T {
	s := make([]T, n)
	for i := range s {
		s[i] = v
	}
	return s
}

func TestAddressesLoseTheirZone(t *testing.T) {
	m := Candidates{testID, []Candidate{{Addr: addr("[fe80::1%eth0]:1"), Kind: 1}, {Addr: addr("[::ffff:192.0.2.1]:2"), Kind: 1}}}
	got, err := ParseMessage(mustAppend(t, m))
	want := Candidates{testID, []Candidate{{Addr: addr("[fe80::1]:1"), Kind: 1}, {Addr: addr("192.0.2.1:2"), Kind: 1}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestRefusalIsAnErrorThatSaysWhatToDo(t *testing.T) {
	var err error = Refused{RefusedInvite, "ask for a new invite"}
	var refused Refused
	if !errors.As(err, &refused) || refused.Code != RefusedInvite || !strings.Contains(err.Error(), "ask for a new invite") {
		t.Errorf("%v", err)
	}
	if err := (Refused{Code: 77}); !strings.Contains(err.Error(), "77") {
		t.Errorf("%v", err)
	}
}

func TestStatesHaveNames(t *testing.T) {
	for s, want := range map[State]string{0: "unknown", StateLayout: "layout", StateFailed: "failed", StateFinished: "finished", 8: "unknown", 255: "unknown"} {
		if s.String() != want {
			t.Errorf("%d: %s", uint8(s), s)
		}
	}
}
