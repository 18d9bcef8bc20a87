package front

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"simplebit/wire/dial"
	"simplebit/wire/peer"
)

func TestWithdrawnDeviceIsForgottenUnlessOthersNamedItOrItLied(t *testing.T) {
	ours := []netip.AddrPort{addr(0)}
	for _, c := range []struct {
		name string
		do   func(t *testing.T, c *core)
		kept bool
	}{
		{"only ours", func(*testing.T, *core) {}, false},
		{"a tracker names it", func(_ *testing.T, c *core) { c.add(epoch, ours, SourceTracker, 1) }, true},
		{"being dialled", func(_ *testing.T, c *core) { c.dial(epoch) }, false},
		{"verified", func(_ *testing.T, c *core) {
			id, _, _, _ := c.dial(epoch)
			c.connected(epoch, id, peer.Handshake{Reserved: peer.Reserved(false, true)}, dial.Way{})
		}, false},
		{"lied", func(_ *testing.T, c *core) { c.book.byAddr[addr(0)].banned = true }, true},
		{"dialled us", func(t *testing.T, c *core) {
			id, err := c.accepted(epoch, netip.AddrPortFrom(addr(0).Addr(), 999), peer.Handshake{Reserved: peer.Reserved(false, true)})
			if err != nil {
				t.Fatal(err)
			}
			c.extended(epoch, id, peer.Extensions{PexID: 1, Port: addr(0).Port()})
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			core := testCore(1000)
			core.add(epoch, ours, SourceDevice, 1)
			c.do(t, core)
			core.withdraw(addr(0))
			if e := core.book.byAddr[addr(0)]; (e != nil) != c.kept {
				t.Errorf("known is %v", e != nil)
			} else if e != nil && e.from.has(SourceDevice) {
				t.Error("it counts as a device still")
			}
		})
	}
}

func TestAddressForgottenWhileItIsDialledIsToldToNobody(t *testing.T) {
	c := testCore(1000)
	c.add(epoch, []netip.AddrPort{addr(0)}, SourceDevice, 1)
	id, _, _, _ := c.dial(epoch)
	c.withdraw(addr(0))
	if c.connected(epoch, id, peer.Handshake{Reserved: peer.Reserved(false, true)}, dial.Way{}) {
		t.Error("the connection is kept")
	}
	if steps, _, _ := c.poll(epoch); len(steps.reachable) != 0 {
		t.Errorf("told of %v", steps.reachable)
	}
}

func TestWithdrawnEndpointsDoNotFillTheBook(t *testing.T) {
	c := testCore(1000)
	for i := range 2 * maxKnown {
		c.add(epoch, []netip.AddrPort{addr(i)}, SourceDevice, 1)
		c.withdraw(addr(i))
	}
	c.withdraw(addr(1)) // not known
	c.withdraw(netip.AddrPort{})
	if c.book.len() != 0 || len(c.book.byHost) != 0 {
		t.Errorf("%d addresses of %d hosts are left", c.book.len(), len(c.book.byHost))
	}
}

func TestWithdrawnDeviceIsNotReachableAnyMore(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newSwarm()
		s.peers[addr(0)] = bare
		p := s.enter(t, Torrent{InfoHash: [20]byte{1}, InfoSize: 1, Private: true})
		p.Add(addrs(0, 1), SourceDevice)
		time.Sleep(time.Second)
		if list := p.Reachable(); len(list) != 1 {
			t.Errorf("reachable before: %v", list)
		}
		p.Withdraw(addr(0))
		synctest.Wait()
		if list := p.Reachable(); len(list) != 0 {
			t.Errorf("reachable after: %v", list)
		}
		p.Leave()
		s.wg.Wait()
		p.Withdraw(addr(0)) // without effect
	})
}
