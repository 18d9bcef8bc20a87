package swarm

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"simplebit/wire/dial"
	"simplebit/wire/peer"
)

// guesses makes unverified candidates.
func guesses(addrs ...netip.AddrPort) []Candidate {
	list := make([]Candidate, len(addrs))
	for i, at := range addrs {
		list[i] = Candidate{Addr: at}
	}
	return list
}

func addrs(from, to int) []netip.AddrPort {
	var list []netip.AddrPort
	for i := from; i < to; i++ {
		list = append(list, addr(i))
	}
	return list
}

// A swarm of 2,000 addresses of which 50 live: the surrogate finds these out and tells them at once, and of the others one a
// second. They come before, so that they are in the way if they can be.
func TestASwarmOfDeadAddressesCostsFewConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(64<<20, 256<<10)
		world := newScriptedNet(t)
		n := c.start(t, "node", nil, Config{Dialer: &dial.Dialer{TCP: world}})
		for i := range 50 {
			world.add(addr(5000+i), &scripted{c: c, each: 200 * time.Millisecond})
		}
		for i := range 10 {
			n.AddCandidates(guesses(addr(1 + i)))
			time.Sleep(time.Second)
		}
		n.AddCandidates(reachable(addr(5000)))
		start := time.Now()
		for n.Status().Downloaded == 0 && time.Since(start) < time.Minute {
			time.Sleep(50 * time.Millisecond)
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("the first block came %v after the first live address", took)
		}
		for i := 1; !n.Status().Seeding && i < 600; i++ {
			n.AddCandidates(guesses(addr(10 + i)))
			if i < 50 {
				n.AddCandidates(reachable(addr(5000 + i)))
			}
			time.Sleep(time.Second)
		}
		n.stop()
		world.running.Wait()
		begun, most := world.dead()
		t.Logf("%d connections, %d of them to dead addresses, %d at once", world.total(), len(begun), most)
		if world.total() > 70 || most > maxGuesses {
			t.Errorf("%d connections, %d to dead addresses at once", world.total(), most)
		}
		c.compare(t, n)
	})
}

func TestUnverifiedAddressesAreDialledSparingly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(4*block, block)
		world := newScriptedNet(t)
		device := NewShared(SharedConfig{})
		dialer := &dial.Dialer{TCP: world}
		a, b := c.start(t, "a", nil, Config{Dialer: dialer, Shared: device}), c.start(t, "b", nil, Config{Dialer: dialer, Shared: device})
		a.AddCandidates(guesses(addrs(1, 100)...))
		b.AddCandidates(guesses(addrs(100, 200)...))
		time.Sleep(time.Minute)
		begun, most := world.dead()
		if n := len(begun); most != maxGuesses || n < 10 || n > 14 {
			t.Errorf("%d dials in a minute, %d at once, of both torrents; want two at a time, each of 10 s", n, most)
		}
		slices.SortFunc(begun, time.Time.Compare)
		for i := range begun[1:] {
			if gap := begun[i+1].Sub(begun[i]); gap < guessInterval {
				t.Errorf("two dials within %v", gap)
			}
		}
	})
}

func TestWithEnoughPeersNoUnverifiedAddressIsDialled(t *testing.T) {
	for name, conf := range map[string]struct {
		peers int
		conf  Config
	}{
		"20 peers":      {20, Config{}},
		"its share":     {5, Config{Shared: NewShared(SharedConfig{MaxPeers: 5})}},
		"its own limit": {3, Config{Policy: Policy{MaxPeers: 3}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newContent(4<<20, 64<<10)
				world := newScriptedNet(t)
				conf.conf.Dialer = &dial.Dialer{TCP: world}
				n := c.start(t, "node", nil, conf.conf)
				for i := range conf.peers {
					world.add(addr(5000+i), &scripted{c: c, each: time.Minute})
				}
				n.AddCandidates(reachable(addrs(5000, 5000+conf.peers)...))
				n.AddCandidates(guesses(addrs(1, 100)...))
				time.Sleep(30 * time.Second)
				if begun, _ := world.dead(); len(begun) != 0 {
					t.Errorf("%d unverified addresses were dialled", len(begun))
				}
			})
		})
	}
}

func TestDeadAddressesThatWereReachableAreDialledTenAtATimeAndThenSparingly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(4*block, block)
		world := newScriptedNet(t)
		var said verdicts
		n := c.start(t, "node", nil, Config{Dialer: &dial.Dialer{TCP: world}, Unusable: said.add})
		n.AddCandidates(reachable(addrs(1, 31)...))
		time.Sleep(16 * time.Second)
		if begun, most := world.dead(); len(begun) != 30 || most != maxDials {
			t.Errorf("%d dials in the first 16 s, %d at once", len(begun), most)
		}
		if got := said.of(Unreachable); !slices.Equal(got, addrs(1, 31)) {
			t.Errorf("said to be unreachable: %v", got)
		}
		time.Sleep(6 * time.Hour)
		before, _ := world.dead()
		time.Sleep(time.Hour)
		after, _ := world.dead()
		if got := len(after) - len(before); got < 30 || got > 60 {
			t.Errorf("%d dials in the seventh hour, want 30 addresses once or twice", got)
		}
	})
}

// The first block must come within 2 s of the first live address, whatever was in the way.
func TestAReachableAddressDoesNotWaitForDeadOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(4<<20, 64<<10)
		world := newScriptedNet(t)
		n := c.start(t, "node", nil, Config{Dialer: &dial.Dialer{TCP: world}})
		world.add(addr(5000), &scripted{c: c, each: 50 * time.Millisecond, mute: true})
		world.add(addr(5001), &scripted{c: c, each: 50 * time.Millisecond})
		n.AddCandidates(append(guesses(addrs(1, 400)...), reachable(addr(5000))...))
		time.Sleep(5 * time.Second)
		n.AddCandidates(reachable(addr(5001)))
		time.Sleep(time.Second)
		if s := n.Status(); s.Have == 0 {
			t.Errorf("no piece after a second: %+v", s)
		}
	})
}

func TestPeersThatDialEachOtherKeepOneConnection(t *testing.T) {
	c := newContent(1<<20, 64<<10)
	a := c.start(t, "a", c.partly(0, 1, 2), Config{}).listen(t)
	b := c.start(t, "b", c.partly(3, 4, 5), Config{}).listen(t)
	for range 3 {
		a.AddCandidates(reachable(b.addr))
		b.AddCandidates(reachable(a.addr))
	}
	exchanged := func(s Status) bool { return s.Have == 6*64<<10 }
	a.await(t, "the exchange", exchanged)
	b.await(t, "the exchange", exchanged)
	for _, n := range []*node{a, b} {
		s := n.await(t, "one peer", func(s Status) bool { return len(s.Peers) == 1 })
		if p := s.Peers[0]; p.Transport != "tcp" || p.Path != "dialled" && p.Path != "accepted" || !strings.HasPrefix(p.Client, "SimpleBit") {
			t.Errorf("peer %+v", p)
		}
	}
}

func TestAClientThatDialsItselfGivesUp(t *testing.T) {
	c := newContent(1<<20, 64<<10)
	n := c.start(t, "a", nil, Config{}).listen(t)
	n.AddCandidates(reachable(n.addr))
	for deadline := time.Now().Add(patience); !strings.Contains(n.log.String(), "peer not reached"); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("log:\n%s", n.log)
		}
	}
	if s := n.Status(); len(s.Peers) != 0 {
		t.Errorf("connected to itself: %+v", s)
	}
	n.stop()
	if a := n.book.list[0]; !a.due.After(time.Now()) && !a.banned {
		t.Errorf("our own address may be dialled again at once: %+v", a)
	}
}

func TestNoMoreAreDialledThanMayConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(4*block, block)
		world := newScriptedNet(t)
		n := c.start(t, "node", nil, Config{Policy: Policy{MaxPeers: 3}, Dialer: &dial.Dialer{TCP: world}})
		n.connect(t, features{name: "x"})
		n.AddCandidates(reachable(addr(1), addr(2), addr(3), addr(4)))
		time.Sleep(time.Second)
		if _, most := world.dead(); most != 2 {
			t.Errorf("%d dials at once next to one peer of three, want 2", most)
		}
	})
}

// An accepted peer says in its extension handshake where it listens.
func TestAnAcceptedPeerIsDialledBackOnlyWhenItIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(4*block, block)
		world := newScriptedNet(t)
		n := c.start(t, "node", nil, Config{Dialer: &dial.Dialer{TCP: world}})
		from := netip.MustParseAddrPort("198.18.3.4:50000")
		p := n.connect(t, features{name: "x", extended: true, addr: from})
		if s := n.Status(); s.Known != 0 {
			t.Errorf("%d addresses known of a peer that has told none", s.Known)
		}
		p.send(extensions(peer.Extensions{Port: 7777, Version: "Test 1"}))
		time.Sleep(time.Minute)
		if s := n.Status(); s.Known != 1 || len(s.Peers) != 1 || s.Peers[0].Addr != from || s.Peers[0].Client != "Test 1" || s.Peers[0].Path != "accepted" {
			t.Errorf("status %+v", s)
		}
		if got := world.total(); got != 0 {
			t.Fatalf("%d dials to a peer that is connected", got)
		}
		p.conn.Close()
		time.Sleep(time.Minute)
		if got := world.total(); got == 0 || n.book.list[0].at != netip.MustParseAddrPort("198.18.3.4:7777") {
			t.Errorf("%d dials after the peer has gone, to %v", got, n.book.list[0].at)
		}
	})
}

// Front has reached the first address by uTP: TCP would work as well, and is not tried. The second is said to be reached
// by uTP and is not, so it is tried by TCP as well.
func TestAnAddressIsDialledByTheTransportThatWorkedForWhoNamedIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(1<<20, 64<<10)
		tcp, utp := newScriptedNet(t), newScriptedNet(t)
		n := c.start(t, "node", nil, Config{Dialer: &dial.Dialer{TCP: tcp, UTP: utp}})
		utp.add(addr(5000), &scripted{c: c, each: time.Second})
		tcp.add(addr(5000), &scripted{c: c, each: time.Second})
		tcp.add(addr(5001), &scripted{c: c, each: time.Second})
		by := dial.Way{Transport: dial.UTP}
		n.AddCandidates([]Candidate{{addr(5000), true, by}, {addr(5001), true, by}})
		time.Sleep(10 * time.Second)
		var got []string
		for _, p := range n.Status().Peers {
			got = append(got, p.Addr.String()+" "+p.Transport)
		}
		slices.Sort(got)
		if want := []string{addr(5000).String() + " utp", addr(5001).String() + " tcp"}; !slices.Equal(got, want) {
			t.Errorf("connected to %v, want %v", got, want)
		}
		if tcp.total() != 1 {
			t.Errorf("%d connections by TCP, want one", tcp.total())
		}
	})
}

// A peer that still holds the connection of our last process hangs up on the new one for a while.
func TestWhoHangsUpIsDialledAgainSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(1<<20, 64<<10)
		world := newScriptedNet(t)
		var judged []Verdict
		n := c.start(t, "node", nil, Config{
			Dialer: &dial.Dialer{TCP: world}, Unusable: func(list []Verdict) { judged = append(judged, list...) },
		})
		world.add(addr(5000), &scripted{rude: true})
		n.AddCandidates(reachable(addr(5000)))
		time.Sleep(5 * time.Second)
		world.add(addr(5000), &scripted{c: c, each: time.Second})
		time.Sleep(5 * time.Second)
		if s := n.Status(); len(s.Peers) != 1 || len(judged) != 0 {
			t.Errorf("%d peers, and the surrogate is told %v", len(s.Peers), judged)
		}
	})
}

func TestWhoAlwaysHangsUpHasFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := newScriptedNet(t)
		var judged []Verdict
		n := newContent(1<<20, 64<<10).start(t, "node", nil, Config{
			Dialer: &dial.Dialer{TCP: world}, Unusable: func(list []Verdict) { judged = append(judged, list...) },
		})
		world.add(addr(5000), &scripted{rude: true})
		n.AddCandidates(reachable(addr(5000)))
		time.Sleep(time.Minute)
		if n.stop(); len(judged) != 1 || judged[0].Reason != Unreachable {
			t.Errorf("the surrogate is told %v, want once that it is unreachable", judged)
		}
		if n := world.total(); n < 2*(patientTries+1) || n > 20 {
			t.Errorf("%d connections in a minute", n)
		}
	})
}
