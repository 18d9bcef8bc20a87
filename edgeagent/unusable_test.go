package edgeagent

import (
	"net/netip"
	"testing"
	"time"

	"simplebit/edgeagent/swarm"
	"simplebit/wire/control"
)

func verdicts(count int) []swarm.Verdict {
	list := make([]swarm.Verdict, count)
	for i := range list {
		list[i] = swarm.Verdict{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 6881), Reason: swarm.Lied}
	}
	return list
}

func TestAddressesOfNoUseAreToldAtMostOnceASecond(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	red, blue := infoHash{1}, infoHash{2}
	var u unusable
	u.add(red, verdicts(1))
	u.begin()
	if got := u.due(now, time.Second); len(got) != 0 {
		t.Errorf("told before there was a session: %v", got)
	}
	u.add(red, verdicts(2))
	u.add(blue, verdicts(1))
	u.add(red, verdicts(3))
	told := map[infoHash]int{}
	for _, m := range u.due(now, time.Second) {
		told[m.ID] += len(m.Peers)
		if m.Peers[0].Reason != control.UnusableLied {
			t.Errorf("told reason %d", m.Peers[0].Reason)
		}
	}
	if len(told) != 2 || told[red] != 5 || told[blue] != 1 {
		t.Errorf("told %v", told)
	}
	u.add(red, verdicts(1))
	if got := u.due(now.Add(999*time.Millisecond), time.Second); len(got) != 0 {
		t.Errorf("told again within a second: %v", got)
	}
	if got := u.due(now.Add(time.Second), time.Second); len(got) != 1 {
		t.Errorf("told %v a second later", got)
	}
	u.add(red, verdicts(1))
	u.end()
	u.add(red, verdicts(1))
	u.begin()
	if got := u.due(now.Add(time.Hour), time.Second); len(got) != 0 {
		t.Errorf("a later session is told %v", got)
	}
}

func TestAddressesOfNoUseAreBounded(t *testing.T) {
	var u unusable
	u.begin()
	for i := range 100 {
		u.add(infoHash{byte(i)}, verdicts(2*control.MaxCandidates))
	}
	u.add(infoHash{0}, []swarm.Verdict{{}, {Addr: netip.MustParseAddrPort("10.0.0.1:0")}})
	total := 0
	for _, m := range u.due(time.Now(), time.Second) {
		if _, err := control.AppendMessage(nil, m); err != nil {
			t.Error(err)
		}
		total += len(m.Peers)
	}
	if total != maxUnusable {
		t.Errorf("%d addresses are kept, want %d", total, maxUnusable)
	}
}
