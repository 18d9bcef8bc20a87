package swarm

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"simplebit/edgeagent/picker"
	"simplebit/wire/dial"
	"simplebit/wire/peer"
)

var (
	overRelay = features{name: "x", fast: true, relayed: true, addr: netip.MustParseAddrPort("203.0.113.9:6881")}
	directly  = features{name: "x", fast: true, addr: netip.MustParseAddrPort("203.0.113.9:40123")}
)

// paths says how the peers are connected.
func (n *node) paths() string {
	time.Sleep(tickInterval) // a snapshot may be so old
	synctest.Wait()
	var list []string
	for _, p := range n.Status().Peers {
		list = append(list, p.Path)
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// TestARelayedConnectionDrainsOnceADirectOneHasSpoken follows what is said on both, where both sides want something.
func TestARelayedConnectionDrainsOnceADirectOneHasSpoken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(8*4*block, 4*block)
		n := c.start(t, "node", c.partly(0), Config{})
		relay := n.connect(t, overRelay)
		relay.send(peer.Message{Type: peer.TypeBitfield, Payload: []byte{0x7f}}, simple(peer.TypeInterested), simple(peer.TypeUnchoke))
		relay.take()
		asked := relay.requests()
		if got := n.paths(); got != "relayed" || len(asked) == 0 {
			t.Fatalf("%d blocks asked for, paths %s", len(asked), got)
		}
		relay.send(request3(peer.TypeRequest, 0, 0, block))
		if got := relay.take(); got != fmt.Sprintf("piece 0 0 %d", block) {
			t.Fatalf("the relay serves %q", got)
		}
		direct := n.connect(t, directly)
		direct.take()
		relay.send(c.block(asked[0], nil), c.block(asked[1], nil))
		more := relay.requests()
		if relay.take(); len(more) == 0 {
			t.Fatal("the relay was given up before the peer had taken the direct connection")
		}
		asked = append(asked[2:], more...)

		direct.send(peer.Message{Type: peer.TypeBitfield, Payload: []byte{0x7f}}, simple(peer.TypeUnchoke), simple(peer.TypeInterested))
		if got := n.paths(); got != "accepted relayed" {
			t.Fatalf("paths %s", got)
		}
		for _, r := range direct.requests() {
			if slices.ContainsFunc(asked, func(a peer.Message) bool { return describe(a) == describe(r) }) {
				t.Errorf("%s is asked for once more", describe(r))
			}
		}
		// The relay serves what it was asked for, but no more once nothing is outstanding.
		if got := relay.take(); got != "choke" {
			t.Errorf("the relay says %q", got)
		}
		relay.send(request3(peer.TypeRequest, 0, block, block))
		if got := relay.take(); got != fmt.Sprintf("reject 0 %d %d", block, block) {
			t.Errorf("the relay answers %q", got)
		}
		for i, r := range asked {
			relay.send(c.block(r, nil))
			want := ""
			if i == len(asked)-1 {
				want = "not interested"
			}
			if got := relay.take(); got != want {
				t.Errorf("after block %d of %d the relay says %q, want %q", i+1, len(asked), got, want)
			}
		}
		if relay.isClosed() {
			t.Fatal("the relay was closed though the peer may wait for something")
		}
		relay.send(simple(peer.TypeNotInterested))
		if !relay.isClosed() || direct.isClosed() {
			t.Error("the relay is not closed, or the direct connection is")
		}
		if s := n.Status(); s.Wasted != 0 {
			t.Errorf("%d bytes came in vain", s.Wasted)
		}
	})
}

// TestARelayIsClosedInTimeWhateverThePeerDoes: what it owes is asked for on the direct connection then.
func TestARelayIsClosedInTimeWhateverThePeerDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(4*block, 4*block)
		n := c.start(t, "node", nil, Config{})
		relay := n.connect(t, overRelay)
		relay.send(simple(peer.TypeHaveAll), simple(peer.TypeUnchoke))
		asked := relay.requests()
		direct := n.connect(t, directly)
		direct.send(simple(peer.TypeHaveAll))
		time.Sleep(drainLimit - time.Second)
		if relay.isClosed() {
			t.Error("the relay was closed with blocks outstanding")
		}
		time.Sleep(time.Second + tickInterval)
		if !relay.isClosed() {
			t.Error("the relay is open")
		}
		direct.send(simple(peer.TypeUnchoke))
		if got := direct.requests(); len(got) != len(asked) {
			t.Errorf("%d blocks are asked for again, want %d", len(got), len(asked))
		}
	})
}

func TestARelayIsClosedInTimeWhereNothingHappens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(block, block)
		n := c.start(t, "node", c.data, Config{})
		relay := n.connect(t, overRelay)
		relay.send(simple(peer.TypeHaveNone), simple(peer.TypeInterested))
		time.Sleep(time.Minute + quietInterval/2)
		n.connect(t, directly).send(simple(peer.TypeHaveNone))
		time.Sleep(drainLimit + tickInterval)
		if !relay.isClosed() {
			t.Error("the relay is open")
		}
	})
}

func TestARelayThatIsLostWhileItDrainsCostsOnlyWhatItOwed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(4*block, 4*block)
		n := c.start(t, "node", nil, Config{})
		relay := n.connect(t, overRelay)
		relay.send(simple(peer.TypeHaveAll), simple(peer.TypeUnchoke))
		asked := relay.requests()
		relay.send(c.block(asked[0], nil))
		direct := n.connect(t, directly)
		direct.send(simple(peer.TypeHaveAll), simple(peer.TypeUnchoke))
		before := len(direct.requests()) // the endgame
		relay.conn.Close()
		synctest.Wait()
		if got := before + len(direct.requests()); got != 3 {
			t.Errorf("%d blocks are asked for, want the three that did not come", got)
		}
		if got := n.paths(); got != "accepted" {
			t.Errorf("paths %s", got)
		}
	})
}

func TestTheRelayGoesOnWhenTheDirectConnectionComesToNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(64*4*block, 4*block)
		n := c.start(t, "node", nil, Config{})
		relay := n.connect(t, overRelay)
		relay.send(simple(peer.TypeHaveAll), simple(peer.TypeUnchoke))
		for range 3 { // refused by the other side, time and again
			n.connect(t, directly).conn.Close()
			synctest.Wait()
			relay.serveSome(c, 4)
			time.Sleep(drainLimit + time.Second)
		}
		if s := n.Status(); relay.isClosed() || n.paths() != "relayed" || s.Downloaded < 12*block {
			t.Errorf("the relay goes on as %s; %d bytes", n.paths(), s.Downloaded)
		}
	})
}

// serveSome answers some of the requests that come.
func (p *fake) serveSome(c *content, n int) {
	for _, r := range p.requests() {
		if n--; n < 0 {
			r.Type = peer.TypeReject
			p.send(r)
			continue
		}
		p.send(c.block(r, nil))
	}
}

// keep has requests returned once more.
func (p *fake) keep(list []peer.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.messages = append(slices.Clone(list), p.messages...)
}

// TestADirectConnectionThatDiesWhileTheRelayDrains: another relay is welcome at once.
func TestADirectConnectionThatDiesWhileTheRelayDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(64*4*block, 4*block)
		n := c.start(t, "node", nil, Config{})
		relay := n.connect(t, overRelay)
		relay.send(simple(peer.TypeHaveAll), simple(peer.TypeUnchoke))
		asked := relay.requests()
		direct := n.connect(t, directly)
		direct.send(simple(peer.TypeHaveAll), simple(peer.TypeUnchoke))
		direct.conn.Close()
		synctest.Wait()
		again := n.connect(t, overRelay)
		for _, r := range asked {
			relay.send(c.block(r, nil))
		}
		if s := n.Status(); !relay.isClosed() || s.Wasted != 0 || s.Downloaded > 0 && s.Downloaded < int64(len(asked)-1)*block {
			t.Errorf("relay closed: %v; status %+v", relay.isClosed(), s)
		}
		again.send(simple(peer.TypeHaveAll), simple(peer.TypeUnchoke))
		if again.isClosed() || len(again.requests()) == 0 {
			t.Error("another relay is of no use")
		}
	})
}

func TestARelayToAPeerThatIsConnectedDirectlyIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(4*block, block)
		n := c.start(t, "node", nil, Config{})
		at := netip.MustParseAddrPort("198.18.0.1:6881")
		f := directly
		f.addr = netip.MustParseAddrPort("[::ffff:198.18.0.1]:6881")
		direct := n.connect(t, f)
		id := idOf("-XX0000-x")
		if !n.Direct(id, f.addr) || !n.Direct(id, netip.AddrPortFrom(at.Addr(), 1)) || n.Direct(id, addr(7)) || !n.DirectAt(at) || !n.DirectAt(f.addr) || n.DirectAt(netip.AddrPort{}) {
			t.Error("the peer is not known to be connected")
		}
		for _, outgoing := range []bool{false, true} {
			f := overRelay
			f.outgoing, f.addr = outgoing, netip.AddrPortFrom(at.Addr(), 7)
			relay := n.connect(t, f)
			if said := relay.take(); !relay.isClosed() || said != "" || direct.isClosed() {
				t.Errorf("outgoing %v: the relay, which says %q, is not refused", outgoing, said)
			}
		}
		direct.conn.Close()
		synctest.Wait()
		if n.Direct(id, at) || n.DirectAt(at) {
			t.Error("a peer that left is still connected")
		}
		// Nor is an address that a relay tells of taken for one at which the peer is connected.
		f = overRelay
		f.addr = at
		relay := n.connect(t, f)
		if n.Direct(id, at) || n.DirectAt(at) {
			t.Error("a relayed peer counts as connected directly")
		}
		other := directly
		other.name, other.addr = "y", at
		stranger := n.connect(t, other)
		stranger.send(simple(peer.TypeHaveNone))
		time.Sleep(2 * drainLimit)
		if stranger.isClosed() || relay.isClosed() {
			t.Error("a relayed peer keeps another one out, or is put out by it")
		}
	})
}

func idOf(s string) (id [20]byte) {
	copy(id[:], s)
	return id
}

// TestNeitherPeerIDNorDirectionMakesARelayReplaceADirectConnection: those decide between two of a kind.
func TestNeitherPeerIDNorDirectionMakesARelayReplaceADirectConnection(t *testing.T) {
	for _, id := range []string{"-AA0000-x", "-XX0000-x"} {
		for _, outgoing := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				c := newContent(4*block, block)
				n := c.start(t, "node", nil, Config{})
				direct := n.connectAs(t, features{fast: true, outgoing: !outgoing, addr: directly.addr}, id)
				relay := n.connectAs(t, features{fast: true, outgoing: outgoing, relayed: true, addr: overRelay.addr}, id)
				if direct.isClosed() || !relay.isClosed() {
					t.Errorf("%s, relay outgoing %v: not the relay was refused", id, outgoing)
				}
			})
		}
	}
}

// TestARelayedPeersAddressIsDialled: it is where the peer may be reached, not where it is.
func TestARelayedPeersAddressIsDialled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(64*block, block)
		world := newScriptedNet(t)
		n := c.start(t, "node", nil, Config{Dialer: &dial.Dialer{TCP: world}})
		world.add(addr(1), &scripted{c: c, mute: true})
		n.AddCandidates(guesses(addr(2))) // nobody answers there
		synctest.Wait()
		f := overRelay
		f.addr, f.extended = addr(1), true
		relay := n.connect(t, f)
		relay.send(extensions(peer.Extensions{Port: addr(1).Port()}), simple(peer.TypeHaveNone))
		n.AddCandidates(reachable(addr(1)))
		time.Sleep(time.Second)
		if world.dialled(addr(1)) != 1 || relay.isClosed() {
			t.Errorf("it was dialled %d times", world.dialled(addr(1)))
		}
		time.Sleep(dial.DefaultTimeout) // until that has failed
		f.addr, f.name = addr(2), "z"
		n.connect(t, f)
		time.Sleep(2 * firstWait)
		if got := world.dialled(addr(2)); got < 2 {
			t.Errorf("the other one was dialled %d times", got)
		}
	})
}

// TestWhatADrainingPeerAskedForIsServedAndTakesNoSlot: the only one is free for the direct connection.
func TestWhatADrainingPeerAskedForIsServedAndTakesNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(8*block, block)
		n := c.start(t, "node", c.data, Config{UploadSlots: 1, Policy: Policy{Up: block}})
		relay := n.connect(t, overRelay)
		relay.send(simple(peer.TypeHaveNone), simple(peer.TypeInterested))
		for i := range uint32(3) {
			relay.send(request3(peer.TypeRequest, i, 0, block))
		}
		direct := n.connect(t, directly)
		direct.send(simple(peer.TypeHaveNone), simple(peer.TypeInterested))
		if got := direct.take(); got != "have all\nunchoke" {
			t.Errorf("the direct connection says %q", got)
		}
		time.Sleep(drainLimit - time.Second)
		want := fmt.Sprintf("have all\nunchoke\npiece 0 0 %d\npiece 1 0 %[1]d\npiece 2 0 %[1]d\nchoke", block)
		if got := relay.take(); got != want {
			t.Errorf("the relay says %q, want %q", got, want)
		}
		time.Sleep(time.Second + tickInterval)
		if !relay.isClosed() { // though the peer never said that it is not interested
			t.Error("the relay is open")
		}
	})
}

// TestAFarewellTakesNothingFromTheOtherSide: whoever closes first, the other side owes nothing and is owed nothing.
func TestAFarewellTakesNothingFromTheOtherSide(t *testing.T) {
	for bits := range 16 {
		f := farewell{owed: bits&1 != 0, owing: bits&2 != 0, wanted: bits&4 != 0, late: bits&8 != 0}
		open := f.owed || f.owing || f.wanted
		switch end := f.end(); {
		case !open && end != errDrained, open && f.late && end != errUndone, open && !f.late && end != nil:
			t.Errorf("%+v ends with %v", f, end)
		}
		if f.uninterested() == f.owed || f.choke() == f.owing {
			t.Errorf("%+v: uninterested %v, choke %v", f, f.uninterested(), f.choke())
		}
	}
}

// TestARelayedPeerIsAskedOnlyForWhatNobodyElseSends: a peer that is connected directly, unchokes us and is not silent goes first.
func TestARelayedPeerIsAskedOnlyForWhatNobodyElseSends(t *testing.T) {
	const pieces = 8
	pieceOf := func(list []peer.Message) (s string) {
		for i := range pieces {
			if slices.ContainsFunc(list, func(m peer.Message) bool { return m.Index == uint32(i) }) {
				s += fmt.Sprint(i)
			}
		}
		return s
	}
	for _, tt := range []struct {
		name    string
		direct  byte // what the direct peer has
		unchoke bool
		policy  Policy
		want    string
	}{
		{"it has the other half", 0xf0, true, Policy{}, "4567"},
		{"it has everything", 0xff, true, Policy{}, ""},
		{"it chokes us", 0xff, false, Policy{}, "01234567"},
		{"in order, it has the beginning", 0xf0, true, Policy{Sequential: true}, "4567"},
		{"its half is wanted more", 0xf0, true, Policy{Priorities: []picker.Priority{picker.High, picker.High, picker.High, picker.High}}, "4567"},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := newContent(pieces*2*block, 2*block)
			n := c.start(t, "node", nil, Config{Policy: tt.policy})
			direct := n.connect(t, features{name: "y", fast: true})
			direct.send(peer.Message{Type: peer.TypeBitfield, Payload: []byte{tt.direct}})
			if tt.unchoke {
				direct.send(simple(peer.TypeUnchoke))
			}
			relay := n.connect(t, overRelay)
			relay.send(simple(peer.TypeHaveAll), simple(peer.TypeUnchoke))
			var asked []peer.Message
			for range 20 {
				got := relay.requests()
				asked = append(asked, got...)
				for _, r := range got {
					relay.send(c.block(r, nil))
				}
				if got := direct.requests(); len(got) > 0 {
					direct.send(c.block(got[0], nil))
					direct.keep(got[1:])
				}
				time.Sleep(needlessPause / 2)
			}
			if got := pieceOf(asked); got != tt.want {
				t.Errorf("%s: the relay was asked for pieces %q, want %q", tt.name, got, tt.want)
			}
		})
	}
}

// TestASnubbedPeerIsNotWaitedForInsteadOfTheRelay: it owes everything and sends nothing.
func TestASnubbedPeerIsNotWaitedForInsteadOfTheRelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(4*block, block)
		n := c.start(t, "node", nil, Config{})
		direct := n.connect(t, features{name: "y", fast: true})
		direct.send(simple(peer.TypeHaveAll), simple(peer.TypeUnchoke))
		relay := n.connect(t, overRelay)
		relay.send(simple(peer.TypeHaveAll), simple(peer.TypeUnchoke))
		if got := relay.requests(); len(got) > 0 {
			t.Fatalf("the relay is asked for %d blocks", len(got))
		}
		time.Sleep(firstPatience + needlessPause + tickInterval)
		if relay.serve(c, nil); n.paths() != "" && !n.Status().Seeding {
			t.Errorf("the download hangs: %+v", n.Status())
		}
	})
}

func TestADirectConnectionTakesThePlaceOfTheRelayedOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(4*block, block)
		device := NewShared(SharedConfig{MaxPeers: 1})
		n := c.start(t, "node", nil, Config{Shared: device})
		relay := n.connect(t, overRelay)
		if stranger := n.connect(t, features{name: "y", fast: true}); !stranger.isClosed() || relay.isClosed() {
			t.Error("a stranger took the place of a relayed peer")
		}
		direct := n.connect(t, directly)
		if direct.isClosed() || !relay.isClosed() {
			t.Error("the direct connection got no place")
		}
		n.stop()
		if device.used != 0 || len(device.guests) != 0 {
			t.Errorf("%d places, %d guests are left", device.used, len(device.guests))
		}
	})
}

func TestARelayedPeerGivesWayFirstAndIsNoReasonNotToDial(t *testing.T) {
	now := epoch.Add(time.Hour)
	one := func(relayed, interested bool, gave int64) *peerConn {
		p := &peerConn{conn: &dial.Conn{Relayed: relayed}, interested: interested, began: epoch, tally: newTally(epoch)}
		p.tally.received, p.tally.marks[0] = gave, mark{at: epoch}
		return p
	}
	relayed, direct, idle := one(true, true, 1<<30), one(false, true, 1<<10), one(false, false, 0)
	leaving := one(true, true, 1<<30)
	leaving.drains = now
	for _, tt := range []struct {
		peers []*peerConn
		want  *peerConn
	}{
		{[]*peerConn{relayed, direct}, relayed},
		{[]*peerConn{direct, relayed}, relayed},
		{[]*peerConn{relayed, idle, direct}, idle},
		{[]*peerConn{idle, leaving, relayed}, leaving},
	} {
		if got := leastUseful(now, tt.peers, false); got != tt.want {
			t.Errorf("of %d peers another gives way", len(tt.peers))
		}
	}
	n := &Torrent{c: Config{Shared: NewShared(SharedConfig{MaxPeers: 2})}, loop: loop{want: &Policy{}}}
	if n.peers = []*peerConn{relayed, relayed, direct}; n.enough() {
		t.Error("relayed peers are enough")
	}
	if n.peers = append(n.peers, direct); !n.enough() {
		t.Error("direct peers are not enough")
	}
}
