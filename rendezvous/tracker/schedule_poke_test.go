package tracker

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func TestOnlyPeersThatNoTrackerNamedAreNew(t *testing.T) {
	n := newcomers{port: 6881}
	for _, c := range []struct {
		name  string
		peers []string
		fresh bool
	}{
		{"nobody", nil, false},
		{"ourselves", []string{"192.0.2.1:6881"}, false},
		{"ourselves again", []string{"192.0.2.1:6881"}, false},
		{"ourselves over IPv6", []string{"192.0.2.1:6881", "[2001:db8::1]:6881"}, false},
		{"another with our port", []string{"192.0.2.1:6881", "192.0.2.2:6881"}, true},
		{"known ones", []string{"192.0.2.2:6881", "192.0.2.1:6881"}, false},
		{"one more", []string{"192.0.2.2:6881", "192.0.2.2:6882"}, true},
	} {
		var peers []netip.AddrPort
		for _, p := range c.peers {
			peers = append(peers, netip.MustParseAddrPort(p))
		}
		if got := n.any(peers); got != c.fresh {
			t.Errorf("%s: new is %v", c.name, got)
		}
	}
}

func TestNoMoreThanThousandPeersAreRemembered(t *testing.T) {
	var n newcomers
	for i := range maxKnown {
		if !n.any([]netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 1}), uint16(i+1))}) {
			t.Fatalf("peer %d is not new", i)
		}
	}
	if n.any(addrs("192.0.2.2:1")) || len(n.known) != maxKnown {
		t.Errorf("%d peers are remembered, and another is new", len(n.known))
	}
}

// A job that is short of peers pokes every 10 s.
func TestSessionShortOfPeersDoesNotHammerItsTrackers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(func(context.Context, string, Request) (Response, error) {
			return Response{Peers: addrs("192.0.2.1:6881", "192.0.2.2:1"), Interval: 30 * time.Minute, MinInterval: time.Minute}, nil
		})
		s, end := start(t, SessionConfig{Client: f, Port: 6881, Tiers: [][]string{{"a"}, {"b"}, {"c"}}})
		for range 360 {
			s.Poke()
			time.Sleep(10 * time.Second)
		}
		f.expect(t,
			"0s a started", // names somebody
			"1m0s a ",      // names nobody new
			"1m0s b started", "1m10s c started", "2m0s b ", "2m10s c ", "3m0s a ", "4m0s b ", "4m10s c ", "7m0s a ", "8m0s b ", "8m10s c ",
			"15m0s a ", "16m0s b ", "16m10s c ", "31m0s a ", "32m0s b ", "32m10s c ")
		end()
	})
}
