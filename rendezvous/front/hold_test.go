package front

import (
	"io"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"simplebit/wire/peer"
)

// jealous is a peer that takes 100 ms for a handshake, and hangs up where another is in progress, as Transmission 3.00 does.
func jealous() func(net.Conn) {
	var shaking atomic.Int32
	return func(c net.Conn) {
		alone := shaking.Add(1) == 1
		time.Sleep(100 * time.Millisecond)
		alone = alone && shaking.Load() == 1
		shaking.Add(-1)
		if alone {
			bare(c)
		}
	}
}

func TestTorrentsTakeTurnsWithAnAddressThatAllOfThemKnow(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newSwarm(jealous(), bare)
		f := s.front()
		var all []*Presence
		var told []*reports
		for i := range 4 {
			r, reachable := newReports()
			p, err := f.Enter(Torrent{InfoHash: [20]byte{byte(i + 1)}, InfoSize: 1, Private: true, Reachable: reachable})
			if err != nil {
				t.Fatal(err)
			}
			p.Hungry(true)
			p.Add(addrs(0, 2), SourceTracker)
			all, told = append(all, p), append(told, r)
		}
		time.Sleep(time.Second)
		var after []time.Duration
		for i, r := range told {
			r.mu.Lock()
			if len(r.at) != 2 || r.at[addr(1)] > 100*time.Millisecond {
				t.Errorf("torrent %d has been told %v", i, r.at)
			}
			after = append(after, r.at[addr(0)])
			r.mu.Unlock()
		}
		slices.Sort(after)
		for i, at := range after {
			if want := time.Duration(i+1) * 100 * time.Millisecond; at != want {
				t.Errorf("number %d had its handshake after %v, want %v", i, at, want)
			}
		}
		if n := len(s.dialled(addr(0))); n != 4 {
			t.Errorf("it was dialled %d times, want 4", n)
		}
		for _, p := range all {
			p.Leave()
		}
		s.wg.Wait()
		if len(f.budget.held) != 0 || f.budget.inFlight != 0 {
			t.Errorf("%d addresses are held, %d handshakes in progress when all have left", len(f.budget.held), f.budget.inFlight)
		}
	})
}

func TestWhoLeavesInTheMiddleOfAHandshakeLetsTheOthersHaveTheAddress(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newSwarm(func(c net.Conn) { // hears one torrent and never answers
			var b [peer.HandshakeSize]byte
			if _, err := io.ReadFull(c, b[:]); err == nil && b[28] == 1 {
				io.Copy(io.Discard, c)
			}
		})
		f := s.front()
		enter := func(n byte) *Presence {
			p, err := f.Enter(Torrent{InfoHash: [20]byte{n}, InfoSize: 1})
			if err != nil {
				t.Fatal(err)
			}
			p.Add(addrs(0, 1), SourceTracker)
			synctest.Wait()
			return p
		}
		one, two, three := enter(1), enter(2), enter(3)
		if n := len(s.dialled(addr(0))); n != 1 {
			t.Errorf("dialled %d times at once", n)
		}
		two.Leave()
		one.Leave()
		synctest.Wait()
		if n := len(s.dialled(addr(0))); n != 3 {
			t.Errorf("dialled %d times when the first has left, want 3: the next one with encryption, too", n)
		}
		three.Leave()
		s.wg.Wait()
	})
}

func TestWhoHangsUpIsTriedAgainSoonerAndByChance(t *testing.T) {
	seen := map[time.Duration]bool{}
	b := testBook()
	for i := range 50 {
		b.add(epoch, addr(i), SourceTracker)
		e := b.byAddr[addr(i)]
		for n, want := range [][2]time.Duration{
			{5 * time.Second, 7500 * time.Millisecond}, {10 * time.Second, 15 * time.Second},
			{30 * time.Second, 30 * time.Second}, {time.Minute, time.Minute}, {2 * time.Minute, 2 * time.Minute},
		} {
			b.failed(epoch, e, false, true)
			pause := e.next.Sub(epoch)
			if pause < want[0] || pause > want[1] {
				t.Errorf("after %d times: again after %v, want %v", n+1, pause, want)
			}
			seen[pause] = true
		}
	}
	if len(seen) < 90 {
		t.Errorf("only %d different pauses", len(seen))
	}
}

func TestWhoHangsUpIsOfferedFirstWhereNoneIsReachable(t *testing.T) {
	b := testBook()
	for i := range 6 {
		b.add(epoch.Add(time.Duration(i)*time.Millisecond), addr(i), SourceTracker)
	}
	b.add(epoch, addr(4), SourceDevice)
	b.failed(epoch, b.byAddr[addr(1)], false, false)
	b.failed(epoch, b.byAddr[addr(2)], false, true)
	b.failed(epoch, b.byAddr[addr(3)], true, true) // hopeless
	b.failed(epoch, b.byAddr[addr(4)], false, true)
	b.mute(epoch, addr(5), unusableFor)
	b.failed(epoch, b.byAddr[addr(5)], false, true)
	if e := b.offer(epoch.Add(time.Second)); e != nil {
		t.Errorf("%v is offered before it could be verified", e.addr)
	}
	for i, want := range []int{2, 0, -1} {
		e := b.offer(epoch.Add(time.Minute + time.Duration(i)*time.Second))
		if e == nil && want >= 0 || e != nil && (want < 0 || e.addr != addr(want)) {
			t.Errorf("offer %d is %+v, want %d", i, e, want)
		}
	}
	met(&b, epoch, 6)
	if e := b.offer(epoch.Add(2 * offerAgain)); e == nil || e.addr != addr(0) {
		t.Errorf("where another is reachable %+v is offered", e)
	}
}

func TestOnlySeederThatHangsUpIsNamedToADeviceWithinSeconds(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newSwarm(func(net.Conn) {})
		start, first, when := time.Now(), netip.AddrPort{}, time.Duration(0)
		p := s.enter(t, Torrent{InfoHash: [20]byte{1}, InfoSize: 1, Unverified: func(a netip.AddrPort) {
			if !first.IsValid() {
				first, when = a, time.Since(start)
			}
		}})
		p.Hungry(true)
		p.Add(addrs(1, 150), SourceTracker)
		p.Add(addrs(0, 1), SourceTracker)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if first != addr(0) || when > offerAfter+2*trickleEvery {
			t.Errorf("after %v told of %v, want %v", when, first, addr(0))
		}
		p.Leave()
		s.wg.Wait()
	})
}
