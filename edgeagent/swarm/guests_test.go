package swarm

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func TestNoHostHoldsMoreThanHalfOfThePlaces(t *testing.T) {
	s := NewShared(SharedConfig{MaxPeers: 12})
	one, other := netip.MustParsePrefix("198.18.1.1/32"), netip.MustParsePrefix("2001:db8::/64")
	for i := range 7 {
		if got := s.invite(one); got != (i < 6) {
			t.Errorf("connection %d of 12 places: %t", i+1, got)
		}
	}
	if !s.invite(other) {
		t.Error("another host is kept out")
	}
	s.dismiss(one)
	if !s.invite(one) {
		t.Error("a connection that ended still counts")
	}
	s.dismiss(other)
	if len(s.guests) != 1 {
		t.Errorf("%d hosts are remembered, want the one that is here", len(s.guests))
	}
	few := NewShared(SharedConfig{MaxPeers: 2})
	for range fewGuests {
		if !few.invite(one) {
			t.Error("with few places a host is no crowd yet")
		}
	}
}

// Whoever has many connections and uses none of them gives way to a newcomer, at once.
func TestAHostThatFillsThePlacesGivesWayToNewcomers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(1<<20, 16<<10)
		n := c.start(t, "node", c.data, Config{Shared: NewShared(SharedConfig{MaxPeers: 12})})
		from := func(host, port int) netip.AddrPort {
			return netip.AddrPortFrom(addr(host).Addr(), uint16(port))
		}
		hosts := func() map[netip.Addr]int {
			synctest.Wait()
			time.Sleep(time.Second) // for the status
			m := map[netip.Addr]int{}
			for _, p := range n.Status().Peers {
				m[p.Addr.Addr()]++
			}
			return m
		}
		for i := range 20 {
			for host := 1; host <= 2; host++ {
				n.connect(t, features{name: fmt.Sprintf("%d-%d", host, i), addr: from(host, 1000+i)})
			}
		}
		if got := hosts(); got[addr(1).Addr()] != 6 || got[addr(2).Addr()] != 6 {
			t.Fatalf("two hosts hold %v of 12 places", got)
		}
		for host := 10; host < 14; host++ {
			n.connect(t, features{name: fmt.Sprint("new", host), addr: from(host, 1)})
		}
		got := hosts()
		for host := 10; host < 14; host++ {
			if got[addr(host).Addr()] != 1 {
				t.Errorf("newcomer %d has no place: %v", host, got)
			}
		}
		// A host with few connections is not pushed out by another's newcomers.
		for i := range 20 {
			n.connect(t, features{name: fmt.Sprint("again", i), addr: from(10, 100+i)})
		}
		if got := hosts(); got[addr(1).Addr()] < fewGuests || got[addr(2).Addr()] < fewGuests || got[addr(11).Addr()] != 1 {
			t.Errorf("after one host came again and again: %v", got)
		}
	})
}
