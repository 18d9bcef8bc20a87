package front

import (
	"net/netip"
	"testing"
	"time"

	"simplebit/wire/dial"
	"simplebit/wire/peer"
)

// entries are verified addresses from i on.
func entries(i, n int) (list []*entry) {
	for ; n > 0; n-- {
		list = append(list, &entry{addr: addr(i)})
		i++
	}
	return list
}

func TestPeerIsToldOfChangesOnlyAndOfFiftyAtATime(t *testing.T) {
	var p pexOut
	now := epoch
	all := entries(0, 120)
	own := all[3]
	send := func(reachable []*entry) (added, dropped int) {
		t.Helper()
		m, ok := p.message(now, reachable, own)
		if ok != (len(m.Added)+len(m.Dropped) > 0) {
			t.Errorf("a message of nothing is sent, or one of something is not")
		}
		for _, a := range m.Added {
			if a.Addr == own.addr {
				t.Error("the peer is told of itself")
			}
		}
		now = now.Add(pexEvery)
		return len(m.Added), len(m.Dropped)
	}
	for i, c := range []struct {
		reachable      []*entry
		added, dropped int
	}{
		{nil, 0, 0},
		{all[:10], 9, 0},
		{all[:10], 0, 0},
		{all, 50, 0},
		{all, 50, 0},
		{all, 10, 0},
		{all, 0, 0},
		{all[60:], 0, 50},
		{all[60:], 0, 9},
		{all[50:], 10, 0},
	} {
		if added, dropped := send(c.reachable); added != c.added || dropped != c.dropped {
			t.Errorf("message %d adds %d and drops %d, want %d and %d", i, added, dropped, c.added, c.dropped)
		}
	}
	if p.message(now, nil, own); !p.next.Equal(now.Add(pexEvery)) {
		t.Errorf("the next message may go after %v", p.next.Sub(now))
	}
}

func TestFlagsSayWhatWasSeen(t *testing.T) {
	var p pexOut
	list := entries(0, 2)
	list[0].way = dial.Way{Transport: dial.UTP, Encrypted: true}
	list[1].seed = true
	m, _ := p.message(epoch, list, nil)
	want := []peer.PexPeer{
		{Addr: addr(0), Flags: peer.PexReachable | peer.PexUTP | peer.PexEncryption}, {Addr: addr(1), Flags: peer.PexReachable | peer.PexSeed},
	}
	if len(m.Added) != 2 || m.Added[0] != want[0] || m.Added[1] != want[1] {
		t.Errorf("told %v, want %v", m.Added, want)
	}
}

func TestAllowanceLetsABurstThroughAndThenOneAPeriod(t *testing.T) {
	a := allowance{burst: 3, every: 10 * time.Second}
	for i, c := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {0, true}, {0, true}, {0, false}, {9 * time.Second, false}, {10 * time.Second, true}, {10 * time.Second, false}, {time.Hour, true}, {time.Hour, true}, {time.Hour, true}, {time.Hour, false}} {
		if got := a.take(epoch.Add(c.after)); got != c.want {
			t.Errorf("%d, after %v: %v", i, c.after, got)
		}
	}
}

// linked brings a connection to addr(i) into the core, whose peer speaks PEX and ut_metadata.
func linked(t *testing.T, c *core, now time.Time, i int) uint64 {
	t.Helper()
	c.add(now, []netip.AddrPort{addr(i)}, SourceTracker, 1)
	for {
		id, a, _, ok := c.dial(now)
		if !ok {
			t.Fatalf("%v is not dialled", addr(i))
		}
		if a.Addr != addr(i) {
			c.failed(now, id, errNoUse)
			continue
		}
		if !c.connected(now, id, peer.Handshake{Reserved: peer.Reserved(false, true)}, dial.Way{}) {
			t.Fatalf("the connection to %v is not kept", a)
		}
		c.extended(now, id, peer.Extensions{MetadataID: theirID, PexID: 7})
		return id
	}
}

func testCore(size int) *core {
	b := testBook()
	return newCore(Torrent{InfoSize: size}, 20, func(a netip.AddrPort) bool { return a.Addr().Is4() && !a.Addr().IsPrivate() }, b.rnd)
}

// "There is a limit of no more than one PEX message per minute" (BEP 11)
func TestPeersTellEachOtherThroughFrontOnceAMinute(t *testing.T) {
	c := testCore(1000)
	one := linked(t, c, epoch, 0)
	linked(t, c, epoch, 1)
	sent := map[time.Duration]int{}
	for s := range 200 {
		now := epoch.Add(time.Duration(s) * time.Second)
		if s > 0 && s%10 == 0 {
			id := linked(t, c, now, 100+s)
			c.gone(now, id, errNoUse)
		}
		steps, _, _ := c.poll(now)
		for _, x := range steps.pexes {
			if x.extID != 7 {
				t.Fatalf("sent under id %d", x.extID)
			}
			if x.id == one {
				sent[now.Sub(epoch)] = len(x.pex.Added)
			}
		}
	}
	want := map[time.Duration]int{time.Second: 1, 61 * time.Second: 6, 121 * time.Second: 6, 181 * time.Second: 6}
	if len(sent) != len(want) {
		t.Fatalf("messages were sent after %v, want %v", sent, want)
	}
	for at, n := range want {
		if sent[at] != n {
			t.Errorf("after %v %d addresses were told, want %d", at, sent[at], n)
		}
	}
}

func TestPeerLearnsThatAnotherIsGone(t *testing.T) {
	c := testCore(1000)
	linked(t, c, epoch, 0)
	linked(t, c, epoch, 1)
	c.poll(epoch.Add(time.Second))
	c.unusable(epoch, addr(1), false)
	steps, _, _ := c.poll(epoch.Add(2 * time.Minute))
	found := false
	for _, x := range steps.pexes {
		found = found || len(x.pex.Dropped) == 1 && x.pex.Dropped[0] == addr(1)
	}
	if !found {
		t.Errorf("sent %+v, want that the second is dropped", steps.pexes)
	}
}

func TestOnlyAHundredNewAddressesAreTakenFromAMessage(t *testing.T) {
	c := testCore(1000)
	id := linked(t, c, epoch, 0)
	var m peer.Pex
	for i := range 400 {
		m.Added = append(m.Added, peer.PexPeer{Addr: addr(1000 + i)})
	}
	m.Ignored = 9500
	c.exchanged(epoch, id, m)
	if c.book.len() != 1+pexKept {
		t.Errorf("%d addresses known", c.book.len())
	}
	if steps, _, _ := c.poll(epoch); len(steps.notes) != 2 {
		t.Errorf("the log has %q", steps.notes)
	}
}

func TestJunkInPexIsRefused(t *testing.T) {
	c := testCore(1000)
	id := linked(t, c, epoch, 0)
	var m peer.Pex
	for _, a := range []string{"198.18.7.7:0", "10.0.0.1:80", "127.0.0.1:80", "[::1]:80", "0.0.0.0:1", "224.0.0.1:5", "192.168.1.1:22", "198.18.7.8:6881"} {
		m.Added = append(m.Added, peer.PexPeer{Addr: netip.MustParseAddrPort(a)})
	}
	c.dialable = func(a netip.AddrPort) bool { return a.Addr().Is4() && !a.Addr().IsPrivate() && !a.Addr().IsLoopback() }
	c.exchanged(epoch, id, m)
	if c.book.len() != 2 {
		t.Errorf("%d addresses known, want the one of use", c.book.len()-1)
	}
	if steps, _, _ := c.poll(epoch); len(steps.notes) != 1 {
		t.Errorf("the log has %q", steps.notes)
	}
}

func TestPexFloodIsIgnoredAndThenEndsTheConnection(t *testing.T) {
	c := testCore(1000)
	id := linked(t, c, epoch, 0)
	sent := 0
	for i := range 1000 {
		if c.find(id) == nil {
			break
		}
		sent++
		c.exchanged(epoch, id, peer.Pex{Added: []peer.PexPeer{{Addr: addr(1000 + i)}}})
	}
	if sent > pexBurst+maxPexExcess+1 || c.book.len() != 1+pexBurst {
		t.Errorf("%d messages were read and %d addresses taken", sent, c.book.len()-1)
	}
	if e := c.book.byAddr[addr(0)]; !e.banned {
		t.Error("the peer may come back")
	}
	for i := range 60 {
		ok := linked(t, c, epoch.Add(time.Duration(i)*time.Hour), 2000+i)
		c.exchanged(epoch.Add(time.Duration(i)*time.Hour), ok, peer.Pex{})
		c.gone(epoch, ok, errNoUse)
	}
}

func TestPrivateTorrentHasNoPexAndForgetsWhatItBrought(t *testing.T) {
	c := testCore(0)
	id := linked(t, c, epoch, 0)
	linked(t, c, epoch, 1)
	c.exchanged(epoch, id, peer.Pex{Added: []peer.PexPeer{{Addr: addr(50)}}})
	c.add(epoch, []netip.AddrPort{addr(51)}, SourceDHT, 1)
	c.add(epoch, []netip.AddrPort{addr(52)}, SourceMagnet, 1)
	c.poll(epoch)
	if c.book.len() != 5 {
		t.Fatalf("%d addresses known before", c.book.len())
	}
	c.known(epoch, 1000, true)
	if c.book.len() != 3 || len(c.links) != 0 {
		t.Errorf("%d addresses and %d connections are left, want 3 and none", c.book.len(), len(c.links))
	}
	c.add(epoch, []netip.AddrPort{addr(53)}, SourceDHT, 1)
	if c.book.len() != 3 {
		t.Error("what the DHT names is taken")
	}
	later := epoch.Add(2 * time.Hour)
	dialled, addr, _, _ := c.dial(later)
	if c.connected(later, dialled, peer.Handshake{Reserved: peer.Reserved(true, true)}, dial.Way{}) {
		t.Errorf("the connection to %v is kept", addr)
	}
	steps, _, _ := c.poll(later)
	if len(steps.reachable) != 1 || len(steps.pexes) != 0 {
		t.Errorf("reported %v and told peers %v", steps.reachable, steps.pexes)
	}
}
