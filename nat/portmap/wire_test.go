package portmap

import (
	"encoding/hex"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var testNonce = nonce{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}

func TestRequestsAreWhatTheRFCsDraw(t *testing.T) {
	lan := netip.MustParseAddr("192.168.1.5")
	udp := Port{UDP, 6882}
	for _, c := range []struct {
		name string
		got  []byte
		want string
	}{
		{"RFC 6887 section 14.1: ANNOUNCE", pcpRequest{client: lan}.appendMarshal(nil),
			"02 00 0000 00000000 00000000000000000000ffffc0a80105"},
		{"RFC 6887 section 11.1: MAP", pcpRequest{client: lan, port: udp, nonce: testNonce, lifetime: 2 * time.Hour,
			external: netip.MustParseAddrPort("198.18.1.2:7000")}.appendMarshal(nil),
			"02 01 0000 00001c20 00000000000000000000ffffc0a80105 0102030405060708090a0b0c 11 000000 1ae2 1b58 00000000000000000000ffffc6120102"},
		{"RFC 6887 section 11.1: any IPv4 address", pcpRequest{client: lan, port: udp}.appendMarshal(nil),
			"02 01 0000 00000000 00000000000000000000ffffc0a80105 000000000000000000000000 11 000000 1ae2 0000 00000000000000000000ffff00000000"},
		{"RFC 6887 section 11.1: any IPv6 address", pcpRequest{client: netip.MustParseAddr("2001:db8::5"), port: Port{TCP, 1}}.appendMarshal(nil),
			"02 01 0000 00000000 20010db8000000000000000000000005 000000000000000000000000 06 000000 0001 0000 00000000000000000000000000000000"},
		{"RFC 6886 section 3.2", natPMPRequest{}.appendMarshal(nil), "0000"},
		{"RFC 6886 section 3.3", natPMPRequest{udp, 7000, 2 * time.Hour}.appendMarshal(nil), "00 01 0000 1ae2 1b58 00001c20"},
		{"RFC 6886 section 3.4: removal", natPMPRequest{port: Port{TCP, 6882}}.appendMarshal(nil), "00 02 0000 1ae2 0000 00000000"},
	} {
		if want := unhex(t, c.want); string(c.got) != string(want) {
			t.Errorf("%s: %x, want %x", c.name, c.got, want)
		}
	}
}

const (
	pcpGranted = "02 81 00 00 00000e10 00000064 000000000000000000000000" +
		"0102030405060708090a0b0c 11 000000 1ae2 1b58 00000000000000000000ffffc6120102"
	pcpAnnounced   = "02 80 00 00 00000000 00000064 000000000000000000000000"
	natPMPGranted  = "00 81 0000 00000064 1ae2 1b58 00000e10"
	natPMPAddress  = "00 80 0000 00000064 c6120102"
	natPMPRefused  = "00 82 0002 00000064"
	natPMPDoesOnly = "00 81 0001 00000064"
)

func TestResponsesAreReadAsTheRFCsDrawThem(t *testing.T) {
	got, err := parsePCP(unhex(t, pcpGranted))
	want := pcpResponse{op: opMAP, lifetime: time.Hour, epoch: 100, port: Port{UDP, 6882}, nonce: testNonce,
		external: netip.MustParseAddrPort("198.18.1.2:7000")}
	if err != nil || got != want {
		t.Errorf("MAP: %+v %v, want %+v", got, err, want)
	}
	got, err = parsePCP(unhex(t, pcpAnnounced))
	if err != nil || got != (pcpResponse{op: opAnnounce, epoch: 100}) {
		t.Errorf("ANNOUNCE: %+v %v", got, err)
	}
	// RFC 6887 section 9: how a server that knows only NAT-PMP answers.
	if _, err = parsePCP(unhex(t, natPMPDoesOnly)); !errors.Is(err, errVersion) {
		t.Errorf("PCP asked of NAT-PMP: %v", err)
	}
	for _, c := range []struct {
		packet string
		want   natPMPResponse
	}{
		{natPMPAddress, natPMPResponse{epoch: 100, address: netip.MustParseAddr("198.18.1.2")}},
		{natPMPGranted, natPMPResponse{op: opMapUDP, epoch: 100, port: Port{UDP, 6882}, external: 7000, lifetime: time.Hour}},
		{natPMPRefused, natPMPResponse{op: opMapTCP, result: 2, epoch: 100}},
	} {
		if got, err := parseNATPMP(unhex(t, c.packet)); err != nil || got != c.want {
			t.Errorf("NAT-PMP %s: %+v %v, want %+v", c.packet, got, err, c.want)
		}
	}
}

func TestTruncatedResponsesAreNone(t *testing.T) {
	for _, s := range []string{pcpGranted, pcpAnnounced} {
		b := unhex(t, s)
		for n := range b {
			if got, err := parsePCP(b[:n]); err == nil {
				t.Errorf("%x is %+v", b[:n], got)
			}
		}
	}
	for _, s := range []string{natPMPGranted, natPMPAddress, natPMPRefused} {
		b := unhex(t, s)
		for n := range b {
			if got, err := parseNATPMP(b[:n]); err == nil {
				t.Errorf("%x is %+v", b[:n], got)
			}
		}
	}
}

func TestRequestsAreNoResponses(t *testing.T) {
	// RFC 6887 section 8.3: the R bit; or what we send could be sent back to us.
	for _, b := range [][]byte{
		pcpRequest{client: netip.MustParseAddr("192.168.1.5")}.appendMarshal(nil),
		pcpRequest{client: netip.MustParseAddr("192.168.1.5"), port: Port{UDP, 1}}.appendMarshal(nil),
		natPMPRequest{port: Port{UDP, 1}}.appendMarshal(nil),
	} {
		if _, err := parsePCP(b); err == nil {
			t.Errorf("PCP takes %x", b)
		}
		if _, err := parseNATPMP(b); err == nil {
			t.Errorf("NAT-PMP takes %x", b)
		}
	}
}

func TestRefusalsSayWhy(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{pcpResponse{result: 12}.refusal(), "the gateway refuses: error 12, address mismatch: there is a NAT on the way to it"},
		{pcpResponse{result: 200}.refusal(), "the gateway refuses: error 200"},
		{pcpResponse{result: 1}.refusal(), errVersion.Error()},
		{natPMPResult(2).refusal(), "the gateway refuses: error 2, not authorized"},
		{natPMPResult(999).refusal(), "the gateway refuses: error 999"},
		{natPMPResult(1).refusal(), errVersion.Error()},
	} {
		if c.err == nil || c.err.Error() != c.want {
			t.Errorf("%v, want %s", c.err, c.want)
		}
	}
	if pcpResponse.refusal(pcpResponse{}) != nil || natPMPResult(0).refusal() != nil {
		t.Error("success is refused")
	}
}

func TestEpochShowsRestart(t *testing.T) {
	start := time.Unix(1e9, 0)
	for _, c := range []struct {
		name          string
		after         time.Duration
		before, epoch uint32
		want          bool
	}{
		{"a clock", time.Hour, 100, 3700, false},
		{"back by a second: two answers crossed", 0, 100, 99, false},
		{"back", 0, 100, 98, true},
		{"back after a while", time.Hour, 10000, 50, true},
		{"a clock an eighth too slow", 800 * time.Second, 0, 699, false},
		{"a clock far too slow", 800 * time.Second, 0, 600, true},
		{"a clock an eighth too fast", 800 * time.Second, 0, 914, false},
		{"a clock far too fast", 800 * time.Second, 0, 1000, true},
		{"the end of numbers", time.Second, 1<<32 - 1, 0, true},
	} {
		var e epoch
		if e.restarted(start, c.before) {
			t.Errorf("%s: the first reading is a restart", c.name)
		}
		if got := e.restarted(start.Add(c.after), c.epoch); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func FuzzPCP(f *testing.F) {
	f.Add(unhex(f, pcpGranted))
	f.Add(unhex(f, pcpAnnounced))
	f.Add(unhex(f, natPMPDoesOnly))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parsePCP(b)
		if err != nil || r.op != opMAP {
			return
		}
		// What a request for the same would hold is what was read, so nothing is taken from outside the response.
		again := pcpRequest{client: r.external.Addr(), port: r.port, nonce: r.nonce, external: r.external, lifetime: r.lifetime}.appendMarshal(nil)
		if r.port != (Port{}) {
			again[1] |= opResponse
			got, err := parsePCP(again)
			got.result, got.epoch = r.result, r.epoch
			if err != nil || got != r {
				t.Errorf("%+v became %+v, %v", r, got, err)
			}
		}
		r.refusal()
	})
}

func FuzzNATPMP(f *testing.F) {
	for _, s := range []string{natPMPGranted, natPMPAddress, natPMPRefused} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseNATPMP(b)
		if err != nil {
			if !reflect.DeepEqual(r, natPMPResponse{}) {
				t.Errorf("%x fails with %+v", b, r)
			}
			return
		}
		if r.result == 0 && (r.op == opExternal) != r.address.IsValid() {
			t.Errorf("%x is %+v", b, r)
		}
		if r.result == 0 && r.op != opExternal {
			again := natPMPRequest{r.port, r.external, r.lifetime}.appendMarshal(nil)
			if string(again[4:12]) != string(b[8:16]) {
				t.Errorf("%x became %x", b, again)
			}
		}
	})
}
