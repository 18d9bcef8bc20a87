package swarm

import (
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"simplebit/wire/dial"
	"simplebit/wire/peer"
)

func newMember(s *Shared) *member { return s.enter() }

// fill takes places until there is none for the torrent.
func fill(s *Shared, now time.Time, m *member) int {
	n := 0
	for s.take(now, m) {
		n++
	}
	return n
}

func TestATorrentMayUseAllPlacesUntilAnotherWantsSome(t *testing.T) {
	s := NewShared(SharedConfig{MaxPeers: 10})
	a, b, c := newMember(s), newMember(s), newMember(s)
	now := epoch
	if got := fill(s, now, a); got != 10 {
		t.Fatalf("the only one that wants any took %d places of 10", got)
	}
	if s.owes(now, a, true) {
		t.Error("it owes a place that nobody wants")
	}
	now = now.Add(time.Minute)
	for range 20 {
		if !s.take(now, b) && s.owes(now, a, false) {
			s.give(a)
		}
	}
	// The remainder stays where it is: nobody has less than the share of three.
	if a.used != 7 || b.used != 3 {
		t.Errorf("%d and %d places of 10 for three torrents", a.used, b.used)
	}
	for range 20 {
		if !s.take(now, c) && s.owes(now, a, false) {
			s.give(a)
		}
	}
	if a.used != 4 || b.used != 3 || c.used != 3 || s.used != 10 {
		t.Errorf("%d, %d and %d places of 10", a.used, b.used, c.used)
	}
	if now = now.Add(wishAge); s.owes(now, a, true) {
		t.Error("a wish of long ago still counts")
	}
}

func TestAPlaceThatIsGivenUpGoesToWhomItWasGivenUpFor(t *testing.T) {
	s := NewShared(SharedConfig{MaxPeers: 4})
	a, b := newMember(s), newMember(s)
	fill(s, epoch, a)
	if s.take(epoch, b) {
		t.Fatal("a fifth place of four")
	}
	s.give(a)
	if s.take(epoch, a) {
		t.Error("the torrent that gave it up took it back")
	}
	if !s.take(epoch, b) {
		t.Error("the torrent that wanted it got none")
	}
}

func TestWithMoreTorrentsThanPlacesIdleOnesMakeRoom(t *testing.T) {
	s := NewShared(SharedConfig{MaxPeers: 2})
	a, b, c := newMember(s), newMember(s), newMember(s)
	s.take(epoch, a)
	s.take(epoch, b)
	s.take(epoch, c)
	if s.owes(epoch, a, false) || !s.owes(epoch, b, true) {
		t.Error("not the idle one makes room")
	}
	s.leave(b)
	if s.owes(epoch, a, true) {
		t.Error("with a place for each none need be given up")
	}
}

// A torrent that begins while another holds all places has its share within 10 s.
func TestANewTorrentGetsItsShareOfConnectionsWithinTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(16<<20, 64<<10)
		world := newScriptedNet(t)
		device := NewShared(SharedConfig{MaxPeers: 12})
		conf := Config{Dialer: &dial.Dialer{TCP: world}, Shared: device}
		for i := range 40 {
			world.add(addr(1+i), &scripted{c: c, each: time.Second})
		}
		first := c.start(t, "first", nil, conf)
		first.AddCandidates(reachable(addrs(1, 21)...))
		time.Sleep(20 * time.Second)
		if got := len(first.Status().Peers); got != 12 {
			t.Fatalf("%d peers of the only torrent, want all 12 places", got)
		}
		second := c.start(t, "second", nil, conf)
		second.AddCandidates(reachable(addrs(21, 41)...))
		time.Sleep(10 * time.Second)
		a, b := len(first.Status().Peers), len(second.Status().Peers)
		if a != 6 || b != 6 {
			t.Errorf("%d and %d peers after ten seconds, want 6 and 6", a, b)
		}
		first.stop()
		time.Sleep(20 * time.Second)
		if got := len(second.Status().Peers); got != 12 {
			t.Errorf("%d peers of the torrent that is left, want 12", got)
		}
		second.stop()
		if device.used != 0 || len(device.members) != 0 || device.guesses != 0 {
			t.Errorf("%d places of %d torrents remain taken", device.used, len(device.members))
		}
	})
}

func TestConnectionsToUsCountAsWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(4*block, block)
		device := NewShared(SharedConfig{MaxPeers: 3})
		a, b := c.start(t, "a", nil, Config{Shared: device}), c.start(t, "b", nil, Config{Shared: device})
		open := 0
		for i := range 8 {
			if n := []*node{a, b}[i%2]; !n.connect(t, features{name: fmt.Sprint(i)}).isClosed() {
				open++
			}
		}
		if open != 3 {
			t.Errorf("%d connections with 3 places", open)
		}
	})
}

// Strangers that want much and give nothing must not keep us from those who have what we need.
func TestPeersOfNoUseMakeRoomForCandidates(t *testing.T) {
	for name, opening := range map[string][]peer.Message{
		"silent":     nil,
		"interested": {simple(peer.TypeHaveNone), simple(peer.TypeInterested)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newContent(64*block, 4*block)
				world := newScriptedNet(t)
				n := c.start(t, "node", c.partly(0), Config{Shared: NewShared(SharedConfig{MaxPeers: 4}), Dialer: &dial.Dialer{TCP: world}})
				var strangers []*fake
				for i := range 4 {
					p := n.connect(t, features{name: fmt.Sprint(i), fast: true})
					p.send(opening...)
					strangers = append(strangers, p)
				}
				world.add(addr(1), &scripted{c: c, each: 10 * time.Millisecond})
				n.AddCandidates(reachable(addr(1)))
				time.Sleep(55 * time.Second)
				if n.Status().Downloaded > 0 || strangers[0].isClosed() {
					t.Fatal("a peer had to go before it could show what it is worth")
				}
				time.Sleep(15 * time.Second)
				if s := n.Status(); !s.Seeding {
					t.Errorf("nobody made room: %+v; log:\n%s", s, n.log)
				}
			})
		})
	}
}

func TestConnectionsRefusedForLackOfPlacesAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(4*block, block)
		n := c.start(t, "node", nil, Config{Shared: NewShared(SharedConfig{MaxPeers: 1})})
		n.connect(t, features{name: "x"})
		ours, theirs := net.Pipe()
		defer theirs.Close()
		n.Accept(&dial.Conn{Conn: ours, Peer: peer.Handshake{InfoHash: testHash, PeerID: [20]byte{7}}})
		if _, err := theirs.Read(make([]byte, 1)); err == nil {
			t.Error("a second connection with one place is open")
		}
	})
}
