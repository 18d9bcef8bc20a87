package front

import (
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"simplebit/wire/peer"
)

// exchanging is a peer that speaks PEX, and stays.
func exchanging(c net.Conn) {
	f, err := greet(c)
	if err != nil || f.extended(peer.ExtHandshake, peer.Extensions{PexID: 1, MetadataID: theirID}.AppendMarshal(nil)) != nil {
		return
	}
	for {
		if _, err := f.r.Next(); err != nil {
			return
		}
	}
}

func TestConnectionToADeviceOfOursIsClosedAsSoonAsItIsVerified(t *testing.T) {
	for _, c := range []struct {
		name string
		size int // of the info dictionary; 0: wanted
		from []Source
	}{
		{"a device", 1, []Source{SourceDevice}},
		{"a device, while metadata is wanted", 0, []Source{SourceDevice}},
		{"a tracker named it before", 1, []Source{SourceTracker, SourceDevice}},
		{"a tracker names it afterwards", 0, []Source{SourceDevice, SourceTracker}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := newSwarm(exchanging)
				p := s.enter(t, Torrent{InfoHash: [20]byte{1}, InfoSize: c.size})
				p.Hungry(true)
				for _, from := range c.from {
					p.Add(addrs(0, 1), from)
					time.Sleep(time.Second)
				}
				synctest.Wait()
				if list := p.Reachable(); !slices.Equal(addrsOf(list), addrs(0, 1)) {
					t.Errorf("reachable are %v", list)
				}
				if st := p.Status(); st.Links != 0 || s.open != 0 {
					t.Errorf("%d links, %d connections", st.Links, s.open)
				}
				time.Sleep(freshFor - time.Minute)
				if n := len(s.dialled(addr(0))); n != 1 {
					t.Errorf("it was dialled %d times while its verification was fresh", n)
				}
				p.Leave()
				s.wg.Wait()
			})
		})
	}
}

func TestDeviceOfOursThatDialsUsIsSentAway(t *testing.T) {
	for _, before := range []bool{false, true} {
		c := testCore(1000)
		name := func() { c.add(epoch, addrs(0, 1), SourceDevice, 1) }
		if before {
			name()
		}
		id, err := c.accepted(epoch, netip.AddrPortFrom(addr(0).Addr(), 999), peer.Handshake{Reserved: peer.Reserved(false, true)})
		if err != nil {
			t.Fatal(err)
		}
		c.extended(epoch, id, peer.Extensions{PexID: 1, Port: addr(0).Port()})
		if !before {
			name()
		}
		steps, _, _ := c.poll(epoch)
		e := c.book.byAddr[addr(0)]
		if len(c.links) != 0 || len(steps.drops) != 1 || e == nil || e.guests != 0 || e.banned {
			t.Errorf("named before is %v: %d links, drops %+v, entry %+v", before, len(c.links), steps.drops, e)
		}
	}
}

func TestRefusedAddressesAreNotedOnceInTenMinutesAndOurOwnNever(t *testing.T) {
	c := testCore(1000)
	c.dialable = func(a netip.AddrPort) bool { return a.Addr() != addr(0).Addr() && a.Addr() != addr(1).Addr() }
	for _, s := range []struct {
		at             time.Duration
		addrs          []netip.AddrPort
		from           Source
		notes, details int
	}{
		{0, addrs(0, 1), SourceTracker, 0, 1},
		{time.Second, addrs(1, 2), SourceTracker, 0, 1},
		{2 * time.Second, addrs(2, 2), SourceTracker, 0, 0},
		{3 * time.Second, addrs(0, 3), SourceTracker, 1, 0},
		{time.Minute, addrs(0, 3), SourceTracker, 0, 1},
		{2 * time.Minute, addrs(0, 3), SourcePEX, 1, 0},
		{9 * time.Minute, addrs(0, 2), SourceTracker, 0, 1},
		{11 * time.Minute, addrs(0, 2), SourceTracker, 1, 0},
		{12 * time.Minute, addrs(0, 2), numSources + 7, 1, 0},
	} {
		c.add(epoch.Add(s.at), s.addrs, s.from, maxKnown)
		steps, _, _ := c.poll(epoch.Add(s.at))
		if len(steps.notes) != s.notes || len(steps.details) != s.details {
			t.Errorf("after %v: notes %q, details %q; want %d and %d", s.at, steps.notes, steps.details, s.notes, s.details)
		}
	}
}
