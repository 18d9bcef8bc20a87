package swarm

import (
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"simplebit/wire/dial"
	"simplebit/wire/peer"
)

// stranger is somebody elsewhere who has met the relayed peer and shows its id.
var stranger = features{name: "x", fast: true, addr: netip.MustParseAddrPort("192.0.2.66:6881")}

func TestAStrangerWhoShowsARelayedPeersIDTakesNothingFromIt(t *testing.T) {
	for _, outgoing := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c := newContent(64*4*block, 4*block)
			n := c.start(t, "node", nil, Config{Punched: func(*dial.Conn) bool { return false }})
			relay := n.connect(t, overRelay)
			relay.send(simple(peer.TypeHaveAll), simple(peer.TypeUnchoke))
			f := stranger
			f.outgoing = outgoing
			other := n.connect(t, f)
			other.send(simple(peer.TypeHaveNone))
			for range 3 {
				relay.serveSome(c, 4)
				time.Sleep(drainLimit)
			}
			if s := n.Status(); relay.isClosed() || other.isClosed() || s.Downloaded < 12*block {
				t.Errorf("paths %q, %d bytes", n.paths(), s.Downloaded)
			}
			id := idOf("-XX0000-x")
			if n.Direct(id, overRelay.addr) || !n.Direct(id, stranger.addr) {
				t.Error("the stranger counts as the peer, or is not known")
			}
			// Nor does he keep another relay to the peer out.
			relay.conn.Close()
			synctest.Wait()
			again := n.connect(t, overRelay)
			if again.send(simple(peer.TypeHaveAll), simple(peer.TypeUnchoke)); again.isClosed() || len(again.requests()) == 0 {
				t.Errorf("paths %q", n.paths())
			}
			if twin := n.connect(t, overRelay); !twin.isClosed() || again.isClosed() {
				t.Error("there are two relays to one peer")
			}
		})
	}
}

func TestAStrangerWhoShowsARelayedPeersIDGetsNotItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(4*block, block)
		n := c.start(t, "node", nil, Config{Shared: NewShared(SharedConfig{MaxPeers: 1})})
		relay := n.connect(t, overRelay)
		if other := n.connect(t, stranger); !other.isClosed() || relay.isClosed() {
			t.Errorf("the stranger is closed: %v, the relay: %v", other.isClosed(), relay.isClosed())
		}
	})
}

// TestAPathThatIsKnownToBePunchedLaterEndsTheRelayThen: to us it is one later than to the peer, which has used it already.
func TestAPathThatIsKnownToBePunchedLaterEndsTheRelayThen(t *testing.T) {
	for _, first := range []bool{false, true} { // the direct one
		synctest.Test(t, func(t *testing.T) {
			c := newContent(4*block, block)
			var punched atomic.Bool
			n := c.start(t, "node", nil, Config{Punched: func(c *dial.Conn) bool { return punched.Load() && !c.Relayed }})
			near := directly
			near.addr = netip.MustParseAddrPort("192.168.0.11:6882")
			var relay, direct *fake
			meet := func() { direct = n.connect(t, near); direct.send(simple(peer.TypeHaveNone)) }
			if first {
				meet()
			}
			relay = n.connect(t, overRelay)
			relay.send(simple(peer.TypeHaveNone))
			if !first {
				meet()
			}
			time.Sleep(2 * drainLimit)
			if relay.isClosed() {
				t.Fatal("the relay is closed though the direct connection may be anybody's")
			}
			punched.Store(true)
			if id := idOf("-XX0000-x"); !n.Direct(id, overRelay.addr) {
				t.Error("the peer is not known to be connected")
			}
			time.Sleep(quietInterval + drainLimit + tickInterval)
			if !relay.isClosed() || direct.isClosed() {
				t.Errorf("first %v: paths %q", first, n.paths())
			}
		})
	}
}

// TestNobodyTakesThePlaceThatARelayedPeerLeavesToTheDirectOne: another torrent waits for one.
func TestNobodyTakesThePlaceThatARelayedPeerLeavesToTheDirectOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(4*block, block)
		device := NewShared(SharedConfig{MaxPeers: 2})
		n := c.start(t, "node", nil, Config{Shared: device})
		relay := n.connect(t, overRelay)
		n.connect(t, features{name: "y", fast: true, addr: addr(1)})
		if device.take(time.Now(), newMember(device)) {
			t.Fatal("a place is left")
		}
		direct := n.connect(t, directly)
		if direct.isClosed() || !relay.isClosed() {
			t.Errorf("direct closed: %v, relay closed: %v", direct.isClosed(), relay.isClosed())
		}
		device.mu.Lock()
		if device.used != 2 {
			t.Errorf("%d places are used", device.used)
		}
		device.mu.Unlock()
		n.stop()
		if device.used != 0 || len(device.guests) != 0 {
			t.Errorf("%d places, %d guests are left", device.used, len(device.guests))
		}
	})
}
