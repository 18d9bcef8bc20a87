package edgeagent

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"simplebit/integration/natlab"
	"simplebit/nat"
	"simplebit/nat/punch"
	"simplebit/wire/control"
)

// countUDP has a host's nft count the UDP datagrams that come in, and returns what tells how many there were.
func countUDP(t *testing.T, h *natlab.Host) (read func() int) {
	t.Helper()
	nft := func(in string, args ...string) []byte {
		t.Helper()
		cmd := h.Command(t.Context(), "nft", args...)
		cmd.Stdin = strings.NewReader(in)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("nft: %v: %s", err, out)
		}
		return out
	}
	nft(`table inet count { counter came {}; chain in { type filter hook prerouting priority -300; meta l4proto udp counter name "came" drop; }; }`, "-f", "-")
	return func() int {
		t.Helper()
		var list struct {
			Nftables []struct{ Counter struct{ Packets int } }
		}
		ok(t, json.Unmarshal(nft("", "-j", "list", "counters"), &list))
		n := 0
		for _, x := range list.Nftables {
			n += x.Counter.Packets
		}
		return n
	}
}

// A surrogate, or a device that lies to one, can aim attempts at somebody who has nothing to do with them.
func TestWhoDoesNotAnswerGetsFewDatagrams(t *testing.T) {
	t.Parallel()
	natlab.Require(t)
	lab, err := natlab.New(natlab.Config{})
	ok(t, err)
	t.Cleanup(func() { lab.Close() })
	home, err := lab.Router("home", natlab.RouterConfig{Kind: natlab.PortRestricted})
	ok(t, err)
	a := newPuncher(t, home, "pc")
	hard := nat.Behaviour{Mapping: nat.AddressAndPortDependent, Filtering: nat.AddressAndPortDependent}
	attempts := []struct {
		name     string
		peer     nat.Behaviour
		observed bool // the surrogate says that it sees the peer there
		ports    []uint16
		most     int
	}{
		{"known addresses", home.Expect(), false, []uint16{6882}, punch.MaxUnconfirmed},
		{"many ports of one address", home.Expect(), false, []uint16{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, punch.MaxUnconfirmed},
		{"guessed ports", hard, true, []uint16{6882}, punch.MaxObserved},
	}
	counts := make([]func() int, len(attempts))
	for i, c := range attempts {
		victim, err := lab.Host("victim" + string(rune('a'+i)))
		ok(t, err)
		counts[i] = countUDP(t, victim)
		m := control.Punch{
			Attempt: [8]byte{byte(i + 1)}, Key: [16]byte{1}, Controlling: true, Torrents: [][20]byte{{1}}, Deadline: 4 * time.Second,
			Self: home.External(), Local: home.Expect(), Theirs: c.peer,
		}
		if c.observed {
			m.Observed = netip.AddrPortFrom(victim.Addr(), 6882)
		}
		for _, port := range c.ports {
			m.Remote = append(m.Remote, nat.Candidate{Kind: nat.HostCandidate, Addr: netip.AddrPortFrom(victim.Addr(), port)})
		}
		a.begin(m)
	}
	var told []control.Punched
	eventually(t, "all have failed", func() bool { told = append(told, a.untold()...); return len(told) == len(attempts) })
	for i, c := range attempts {
		if told[i].Outcome != control.PunchFailed {
			t.Errorf("told %+v", told[i])
		}
		if n := counts[i](); n > c.most || n < 10 {
			t.Errorf("%s: %d datagrams came, want at most %d", c.name, n, c.most)
		} else {
			t.Logf("%s: %d datagrams", c.name, n)
		}
	}
}
