package front

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"simplebit/wire/dial"
)

// bare is a peer that does the handshake and listens.
func bare(c net.Conn) {
	if f, err := greet(c); err == nil {
		for {
			if _, err := f.r.Next(); err != nil {
				return
			}
		}
	}
}

// counting is a network that counts the connections being made, with their handshakes.
type counting struct {
	*swarm
	mu         sync.Mutex
	inProgress int
	most       int
	began      []time.Time
}

func (n *counting) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	n.mu.Lock()
	n.began = append(n.began, time.Now())
	n.inProgress++
	n.most = max(n.most, n.inProgress)
	n.mu.Unlock()
	over := sync.OnceFunc(func() {
		n.mu.Lock()
		n.inProgress--
		n.mu.Unlock()
	})
	c, err := n.swarm.DialContext(ctx, network, address)
	if err != nil {
		over()
		return nil, err
	}
	return &shaking{c, over}, nil
}

// shaking is a connection whose handshake is over with the last byte of the peer's.
type shaking struct {
	net.Conn
	over func()
}

func (s *shaking) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	if s.over(); err != nil {
		return n, err
	}
	return n, nil
}

// reports keeps what was told of as reachable, with the time.
type reports struct {
	mu sync.Mutex
	at map[netip.AddrPort]time.Duration
}

func newReports() (*reports, func([]Peer)) {
	start := time.Now()
	r := &reports{at: map[netip.AddrPort]time.Duration{}}
	return r, func(list []Peer) {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, a := range list {
			r.at[a.Addr] = time.Since(start)
		}
	}
}

func (r *reports) first() (first time.Duration, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, at := range r.at {
		if n++; n == 1 || at < first {
			first = at
		}
	}
	return first, n
}

func addrsOf(peers []Peer) (list []netip.AddrPort) {
	for _, p := range peers {
		list = append(list, p.Addr)
	}
	return list
}

func addrs(from, n int) (list []netip.AddrPort) {
	for i := range n {
		list = append(list, addr(from+i))
	}
	return list
}

func TestFiftyLivePeersAmongTwoThousandAddressesAreFoundWithinTheBudget(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newSwarm()
		for i := range 50 {
			s.peers[addr(i*40)] = bare
		}
		n := &counting{swarm: s}
		f := New(Config{Dialer: &dial.Dialer{TCP: n}, PeerID: [20]byte{'f'}})
		told, reachable := newReports()
		var unverified []netip.AddrPort
		p, err := f.Enter(Torrent{InfoHash: [20]byte{1}, InfoSize: 1000, Reachable: reachable, Unverified: func(a netip.AddrPort) { unverified = append(unverified, a) }})
		if err != nil {
			t.Fatal(err)
		}
		p.Hungry(true)
		p.Add(addrs(0, 2000), SourceTracker)
		time.Sleep(time.Second)
		if first, n := told.first(); n == 0 || first > time.Second {
			t.Errorf("within a second %d live peers were found, the first after %v", n, first)
		}
		time.Sleep(39 * time.Second)
		if _, n := told.first(); n != 50 {
			t.Errorf("after 40s %d of 50 live peers were found", n)
		}
		if s := p.Status(); s.Known != 2000 || s.Reachable != 50 || s.Links > DefaultMaxLinks {
			t.Errorf("status %+v", s)
		}
		synctest.Wait()
		if len(unverified) > 5 {
			t.Errorf("%d unverified addresses were told of while verified ones came", len(unverified))
		}
		if n.most > DefaultMaxDials {
			t.Errorf("%d handshakes at once", n.most)
		}
		for i := DefaultDialRate; i < len(n.began); i++ {
			if gap := n.began[i].Sub(n.began[i-DefaultDialRate]); gap < time.Second {
				t.Fatalf("%d handshakes within %v", DefaultDialRate+1, gap)
			}
		}
		t.Logf("%d dials, at most %d at once, %d unverified", len(n.began), n.most, len(unverified))
		p.Leave()
		s.wg.Wait()
	})
}

func TestTorrentOfDeadAddressesDoesNotStarveAnother(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newSwarm()
		for i := range 10 {
			s.peers[addr(5000+i)] = bare
		}
		f := s.front()
		var all []*Presence
		for i := range 3 {
			p, err := f.Enter(Torrent{InfoHash: [20]byte{byte(i + 1)}, InfoSize: 1})
			if err != nil {
				t.Fatal(err)
			}
			p.Hungry(true)
			p.Add(addrs(0, 2000), SourceTracker)
			all = append(all, p)
		}
		time.Sleep(10 * time.Second)
		told, reachable := newReports()
		p, err := f.Enter(Torrent{InfoHash: [20]byte{9}, InfoSize: 1, Reachable: reachable})
		if err != nil {
			t.Fatal(err)
		}
		p.Add(addrs(5000, 10), SourceTracker)
		time.Sleep(4 * time.Second)
		first, n := told.first()
		if n != 10 || first > time.Second {
			t.Errorf("within 4s %d of 10 live peers were found, the first after %v", n, first)
		}
		t.Logf("the first after %v", first)
		for _, p := range append(all, p) {
			p.Leave()
		}
		s.wg.Wait()
	})
}

func TestConnectionThatIsNotNeededIsClosedAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newSwarm()
		for i := range 60 {
			s.peers[addr(i)] = bare
		}
		p := s.enter(t, Torrent{InfoHash: [20]byte{1}, InfoSize: 1, Private: true})
		p.Add(addrs(0, 60), SourceTracker)
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		if st := p.Status(); st.Reachable != 60 || st.Links != 0 || s.open != 0 {
			t.Errorf("%+v, %d connections", st, s.open)
		}
		p.Leave()
		s.wg.Wait()
	})
}

func TestTorrentThatIsShortOfPeersVerifiesAgainWhatIsOld(t *testing.T) {
	for _, c := range []struct {
		name   string
		hungry bool
		live   int
		want   int // verifications of each in an hour
	}{
		{"hungry", true, fewReachable, 3},
		{"not hungry, but few are reachable", false, fewReachable - 1, 3},
		{"not hungry", false, fewReachable, 1},
	} {
		inBubble(t, func(t *testing.T) {
			s := newSwarm()
			for i := range c.live {
				s.peers[addr(i)] = bare
			}
			told := 0
			p := s.enter(t, Torrent{InfoHash: [20]byte{1}, InfoSize: 1, Private: true, Reachable: func(list []Peer) { told += len(list) }})
			p.Hungry(c.hungry)
			p.Add(addrs(0, c.live+1), SourceTracker) // nobody is at the last
			time.Sleep(61 * time.Minute)
			p.Leave()
			s.wg.Wait()
			if n := len(s.dialled(addr(0))); n != c.want || told != c.want*c.live {
				t.Errorf("%s: verified %d times and told %d times in an hour, want %d", c.name, n, told, c.want)
			}
			if n := len(s.dialled(addr(c.live))); (c.want > 1) != (n > 1) || n > 7 {
				t.Errorf("%s: a dead address was dialled %d times in an hour", c.name, n)
			}
		})
	}
}

func TestUnverifiedAddressesTrickleWhileHungry(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newSwarm()
		var at []time.Duration
		var got []netip.AddrPort
		start := time.Now()
		p := s.enter(t, Torrent{InfoHash: [20]byte{1}, InfoSize: 1, Unverified: func(a netip.AddrPort) {
			at, got = append(at, time.Since(start)), append(got, a)
		}})
		p.Add(addrs(0, 100), SourceTracker)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if len(got) != 0 {
			t.Errorf("%d addresses were told of while nobody was hungry", len(got))
		}
		p.Hungry(true)
		time.Sleep(40 * time.Second)
		synctest.Wait()
		if len(got) < 35 || len(got) > 41 {
			t.Errorf("%d addresses in 40s", len(got))
		}
		for i := 1; i < len(at); i++ {
			if gap := at[i] - at[i-1]; gap < time.Second {
				t.Errorf("two addresses within %v", gap)
			}
		}
		slices.SortFunc(got, netip.AddrPort.Compare)
		if n := len(got); len(slices.Compact(got)) != n {
			t.Error("an address was told of twice")
		}
		p.Leave()
	})
}

func TestUnusableAddressIsNotToldOfForHalfAnHour(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newSwarm(bare, bare)
		var told atomic.Int32
		p := s.enter(t, Torrent{
			InfoHash: [20]byte{1}, InfoSize: 1, Private: true, Reachable: func(list []Peer) { told.Add(int32(len(list))) },
		})
		p.Add(addrs(0, 2), SourceTracker)
		time.Sleep(time.Minute)
		p.Hungry(true)
		p.Unusable(addr(0), false)
		p.Unusable(addr(1), true)
		if list := p.Reachable(); len(list) != 0 || told.Load() != 2 {
			t.Errorf("reachable are %v, %d reports", list, told.Load())
		}
		time.Sleep(29 * time.Minute)
		if told.Load() != 2 {
			t.Errorf("%d reports within half an hour", told.Load())
		}
		time.Sleep(2 * time.Minute)
		if list := p.Reachable(); told.Load() != 3 || !slices.Equal(addrsOf(list), addrs(0, 1)) {
			t.Errorf("after half an hour %d reports, reachable are %v", told.Load(), list)
		}
		p.Leave()
		s.wg.Wait()
	})
}

func TestNobodyMayNameWhatMayNotBeDialled(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newSwarm(bare, bare)
		f := New(Config{Dialer: &dial.Dialer{TCP: s}, Dialable: func(a netip.AddrPort) bool { return a != addr(0) && a != addr(1) }})
		p, err := f.Enter(Torrent{InfoHash: [20]byte{1}, InfoSize: 1})
		if err != nil {
			t.Fatal(err)
		}
		for _, from := range []Source{SourcePEX, SourceDHT, SourceIncoming, SourceTracker, SourceMagnet} {
			p.Add([]netip.AddrPort{addr(0)}, from)
		}
		p.Add([]netip.AddrPort{addr(1)}, SourceDevice)
		time.Sleep(time.Second)
		synctest.Wait()
		if len(s.dialled(addr(0))) != 0 || len(s.dialled(addr(1))) != 0 {
			t.Errorf("dialled %v", s.dials)
		}
		p.Leave()
		s.wg.Wait()
	})
}
