package broker

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"simplebit/nat"
	"simplebit/wire/control"
)

// crowd is devices that hold one torrent, of which each has another part.
func crowd(n int, behaviour nat.Behaviour) *core {
	lines := map[id]Line{}
	c := newCore(noon, fillCounting(), func(who id) (Line, bool) { l, ok := lines[who]; return l, ok }, func(who id) string { return string(who) }, before)
	c.relays.limit(usual)
	for i := range n {
		who := id(fmt.Sprintf("%064d", i))
		at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)}), 6882)
		lines[who] = Line{at, 0, true}
		c.connected(noon, who, true)
		c.told(noon, who, nat.Network{Behaviour: behaviour, Candidates: []nat.Candidate{
			{Kind: nat.HostCandidate, Addr: netip.MustParseAddrPort("192.168.1.2:6882")}, {Kind: nat.ReflexiveCandidate, Addr: at},
		}})
		m := control.Progress{ID: torrent{1}, State: control.StateDownloading, Have: int64(i + 1)}
		for j := range byte(20) { // connections with others
			m.Peers = append(m.Peers, control.Peer{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, j}), 6882)})
		}
		c.progress(noon, who, m)
	}
	return c
}

// decide is what the broker does at most every pace: all attempts lead to paths, unless none does.
func (c *core) decide(now time.Time, paths bool) {
	for _, o := range c.poll(now) {
		if paths {
			c.punched(now, o.to, control.Punched{Attempt: o.punch.Attempt, Outcome: control.PunchConnected, Remote: o.punch.Observed})
		}
	}
	c.relay(now)
	c.wake(now)
}

// Decisions about a crowd: among devices with no way to each other, among those that begin to make paths, and later.
func BenchmarkDecision(b *testing.B) {
	for _, n := range []int{100, 300, 1000} {
		for name, behaviour := range map[string]string{"hopeless": "random", "fresh": "restricted", "steady": "restricted"} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				var c *core
				now := noon.Add(settling)
				begin := func() {
					c = crowd(n, behaviours[behaviour])
					now = noon.Add(settling)
					if name != "fresh" {
						c.decide(now, name == "steady")
					}
				}
				begin()
				if name == "steady" {
					for range 30 {
						now = now.Add(time.Second)
						c.decide(now, true)
					}
				}
				b.ReportAllocs()
				for b.Loop() {
					if name == "fresh" {
						b.StopTimer()
						begin()
						b.StartTimer()
					}
					now = now.Add(pace)
					c.decide(now, name == "steady")
				}
			})
		}
	}
}
