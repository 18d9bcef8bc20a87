package punch

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"simplebit/integration/natlab"
	"simplebit/integration/natlab/virtual"
	"simplebit/nat"
)

var (
	victim   = netip.MustParseAddr("203.0.113.7")
	attacker = netip.MustParseAddr("203.0.113.66")
)

// to counts what arrived at a public host.
func (w *world) to(a netip.Addr) (n int) {
	for to, datagrams := range w.arrived {
		if to.Addr() == a {
			n += datagrams
		}
	}
	return n
}

// Openers do not get that far, so the victim gets fewer than are counted; with a TTL that is too long it gets all.
func TestAVictimGetsNoMoreThanTheDocumentedDatagrams(t *testing.T) {
	for _, c := range []struct {
		what        string
		local, peer natlab.Kind
		observed    bool // the surrogate is fooled as well
		most        int
	}{
		{"given", natlab.PortRestricted, natlab.PortRestricted, false, MaxUnconfirmed},
		{"given, ports count", natlab.PortRestricted, natlab.Sequential, false, MaxUnconfirmed},
		{"given, random ports", natlab.PortRestricted, natlab.Symmetric, false, MaxUnconfirmed},
		{"given, hard itself", natlab.Symmetric, natlab.PortRestricted, false, MaxUnconfirmed},
		{"observed, ports count", natlab.PortRestricted, natlab.Sequential, true, MaxObserved},
		{"observed, both count", natlab.Sequential, natlab.Sequential, true, MaxObserved},
		{"observed, counts itself", natlab.Sequential, natlab.PortRestricted, true, MaxObserved},
		{"observed, random ports", natlab.PortRestricted, natlab.Symmetric, true, MaxObserved},
		{"observed, hard itself", natlab.Symmetric, natlab.PortRestricted, true, MaxObserved},
	} {
		for _, controlling := range []bool{true, false} {
			w := newWorld(t, 1, site{kind: c.local}, site{kind: c.peer})
			p := testPlan(controlling)
			p.Local, p.Peer, p.OpenerTTL = c.local.Expect(), c.peer.Expect(), 64
			for i := range nat.MaxCandidates {
				p.Remote = append(p.Remote, nat.Candidate{Kind: nat.CandidateKind(1 + i%3), Addr: netip.AddrPortFrom(victim, uint16(53+i))})
			}
			if c.observed {
				p.Observed = netip.AddrPortFrom(victim, 53)
			}
			p.Deadline = MaxDeadline
			w.begin(0, p)
			w.run(noon.Add(2*time.Minute), func() bool { return w.outcome(0) != Pending })
			if got := w.to(victim); got > c.most || got < MaxUnconfirmed/2 || w.outcome(0) != Failed {
				t.Errorf("%s: %d datagrams, %s", c.what, got, w.outcome(0))
			}
		}
	}
}

// A wire that somebody listens at: everything that passes is sent once more, from where it came and from elsewhere, before
// and after the original, and back to its sender.
func TestRecordedProbesLeadNowhere(t *testing.T) {
	for _, kinds := range [][2]natlab.Kind{
		{natlab.None, natlab.None}, {natlab.FullCone, natlab.FullCone}, {natlab.PortRestricted, natlab.Bare}, {natlab.Symmetric, natlab.FullCone}, {natlab.IPv6Open, natlab.IPv6Open},
	} {
		for seed := range uint64(5) {
			w := newWorld(t, seed, site{kind: kinds[0]}, site{kind: kinds[1]})
			w.keep = true
			n := uint16(0)
			w.watch = func(d *device, g Datagram) {
				if n++; g.To.Addr() == attacker {
					return
				}
				other := w.devices[0]
				if d == other {
					other = w.devices[1]
				}
				lie := netip.AddrPortFrom(attacker, 1000+n%200)
				if g.To.Addr().Is6() {
					lie = netip.AddrPortFrom(netip.MustParseAddr("2001:db8:666::1"), lie.Port())
				}
				for _, after := range []time.Duration{time.Millisecond, 39 * time.Millisecond, 41 * time.Millisecond, time.Second} {
					w.at(w.now.Add(after), func() {
						w.inject(virtual.Packet{From: lie, To: g.To}, g.Data)                                                            // to the peer, from elsewhere
						w.inject(virtual.Packet{From: lie, To: netip.AddrPortFrom(d.home.External(), d.port)}, g.Data)                   // back
						w.inject(virtual.Packet{From: g.To, To: netip.AddrPortFrom(d.home.External(), d.port)}, g.Data)                  // back, as if from the peer
						w.inject(virtual.Packet{From: lie, To: netip.AddrPortFrom(other.home.External(), other.port)}, reversed(g.Data)) // nonsense
					})
				}
			}
			if _, ok := w.punch(1, 0); !ok {
				t.Errorf("%v: %s", kinds, w.outcome(0))
			}
			w.run(w.now.Add(30*time.Second), func() bool { return false })
			for i, d := range w.devices {
				if d.k == nil || d.k.Lost(w.now) || d.k.Path().Remote.Addr() == attacker {
					t.Errorf("%v, %d: %+v", kinds, i, d.m.path)
				}
				if max(d.m.learned[0], d.m.learned[1]) > maxLearned {
					t.Errorf("%v addresses were learned", d.m.learned)
				}
			}
			if got := w.to(attacker); got > 2*MaxUnconfirmed {
				t.Errorf("%v: %d datagrams went to the attacker", kinds, got)
			}
		}
	}
}

func reversed(b []byte) []byte {
	b = bytes.Clone(b)
	for i := range b[:4] {
		b[i] ^= 1
	}
	return b
}

// inject has a packet of a public host arrive.
func (w *world) inject(p virtual.Packet, b []byte) {
	if to, seen, ok := w.internet.Send(w.now, nil, p); ok && to != nil {
		w.deliver(to, seen, b)
	}
}

func TestANetworkOfIPv6IsOneVictim(t *testing.T) {
	w := newWorld(t, 1, site{kind: natlab.IPv6Open}, site{kind: natlab.IPv6Open})
	p := testPlan(true)
	for i := range nat.MaxCandidates {
		a := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 6, 6, 6, 6, byte(i)})
		p.Remote = append(p.Remote, nat.Candidate{Kind: nat.HostCandidate, Addr: netip.AddrPortFrom(a, 53)})
	}
	w.begin(0, p)
	w.run(noon.Add(time.Minute), func() bool { return w.outcome(0) != Pending })
	if n := w.devices[0].sent; n != MaxUnconfirmed {
		t.Errorf("%d datagrams", n)
	}
}

func TestForgedMessagesChangeNothing(t *testing.T) {
	p := testPlan(true)
	p.Remote = []nat.Candidate{{Kind: nat.ReflexiveCandidate, Addr: netip.MustParseAddrPort("198.18.1.2:7000")}}
	m, err := New(noon, p, [32]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	sent := m.Poll(noon, nil)
	other := testPlan(false)
	other.Key[0]++
	forger := newCodec(&other)
	wrong := newCodec(&p)
	r := rand.New(rand.NewPCG(1, 1))
	for n := range 5000 {
		id := newID(m.nonce, uint32(n%8))
		c := &forger
		if n%3 == 0 {
			c = &wrong // what the machine itself would write
		}
		b := c.marshal(message{id: id, answer: n%2 == 0, nominate: n%5 == 0}, probeSize+4*(n%7))
		if n%11 == 0 {
			b = sent[0].Data
		}
		from := p.Remote[0].Addr
		if n%4 == 0 {
			from = netip.AddrPortFrom(attacker, uint16(1+n))
		}
		m.Receive(noon, r.IntN(MaxSockets+2)-1, from, b)
	}
	if len(m.pairs) != 1 || m.hit || m.start != noon || len(m.replies) != 0 || m.hold != p.Hold && m.hold != 150*time.Millisecond {
		t.Errorf("%+v", m)
	}
}

// peer writes what the other side would.
func peer(p Plan) *codec {
	p.Controlling = !p.Controlling
	c := newCodec(&p)
	return &c
}

func TestAnswersCountOnlyFromWhereTheyMustCome(t *testing.T) {
	there := netip.MustParseAddrPort("198.18.1.2:7000")
	for _, c := range []struct {
		what   string
		change func(socket *int, from *netip.AddrPort, x *message, size *int)
		want   bool
	}{
		{"as it must be", func(*int, *netip.AddrPort, *message, *int) {}, true},
		{"another socket", func(s *int, _ *netip.AddrPort, _ *message, _ *int) { *s = 1 }, false},
		{"another port", func(_ *int, f *netip.AddrPort, _ *message, _ *int) { *f = netip.AddrPortFrom(f.Addr(), 7001) }, false},
		{"another address", func(_ *int, f *netip.AddrPort, _ *message, _ *int) { *f = netip.AddrPortFrom(attacker, 7000) }, false},
		{"another length", func(_ *int, _ *netip.AddrPort, _ *message, n *int) { *n += 4 }, false},
		{"a number not used yet", func(_ *int, _ *netip.AddrPort, x *message, _ *int) { x.id[11]++ }, false},
		{"the highest number", func(_ *int, _ *netip.AddrPort, x *message, _ *int) { copy(x.id[8:], "\xff\xff\xff\xff") }, false},
		{"another nonce", func(_ *int, _ *netip.AddrPort, x *message, _ *int) { x.id[0]++ }, false},
	} {
		p := testPlan(true)
		p.Remote = []nat.Candidate{{Kind: nat.HostCandidate, Addr: there}}
		p.Peer.Reachable = nat.Yes
		m, _ := New(noon, p, [32]byte{1})
		m.Poll(noon, nil)
		socket, from, x, size := 0, there, message{id: newID(m.nonce, 0), answer: true}, probeSize
		c.change(&socket, &from, &x, &size)
		m.Receive(noon.Add(time.Millisecond), socket, from, peer(p).marshal(x, size))
		if got := !m.pairs[0].answered.IsZero(); got != c.want {
			t.Errorf("%s: %v", c.what, got)
		}
	}
}

func TestOnlySoManyAddressesAreLearnedAndAnswersWait(t *testing.T) {
	p := testPlan(true)
	p.Remote = []nat.Candidate{{Kind: nat.HostCandidate, Addr: netip.MustParseAddrPort("198.18.1.2:7000")}}
	m, _ := New(noon, p, [32]byte{1})
	c := peer(p)
	for n := range uint32(1000) {
		m.Receive(noon, 0, netip.AddrPortFrom(victim, uint16(1+n)), c.marshal(message{id: newID([8]byte{5}, n)}, fullSize))
	}
	if len(m.pairs) != 1+maxLearned || m.learned != [2]int{maxLearned, 0} {
		t.Errorf("%d pairs", len(m.pairs))
	}
	first := netip.AddrPortFrom(victim, 1)
	for n := range uint32(1000) {
		m.Receive(noon, 0, first, c.marshal(message{id: newID([8]byte{5}, n)}, fullSize))
	}
	if len(m.replies) > maxReplies || m.budget.spent[victim] > MaxUnconfirmed {
		t.Errorf("%d answers wait, %d spent", len(m.replies), m.budget.spent[victim])
	}
}

func TestAnswersAreAsLongAsTheirQuestions(t *testing.T) {
	s := site{kind: natlab.PortRestricted}
	w := newWorld(t, 1, s, s)
	w.keep = true
	asked := make(map[id]int)
	w.watch = func(d *device, g Datagram) {
		x := id(g.Data[8:20])
		if g.Data[0] == 0 {
			asked[x] = len(g.Data)
		} else if asked[x] != len(g.Data) {
			t.Errorf("%d bytes answer %d", len(g.Data), asked[x])
		}
	}
	if _, ok := w.punch(1, 0); !ok {
		t.Error("no path")
	}
}

// A wire-tapper with a faster line passes on everything both ways, from an address of its own where it can.
func TestAPathDoesNotMoveToWhoPassesItOn(t *testing.T) {
	for seed := range uint64(20) {
		w := newWorld(t, seed, site{kind: natlab.FullCone}, site{kind: natlab.FullCone})
		w.jitter = 5 * time.Millisecond
		fakes := [2]netip.AddrPort{netip.AddrPortFrom(attacker, 1), netip.AddrPortFrom(attacker, 2)} // of each device, for the other
		w.watch = func(d *device, g Datagram) {
			i := 0
			if d == w.devices[1] {
				i = 1
			}
			other := w.devices[1-i]
			if g.TTL != 0 {
				return
			}
			w.at(w.now.Add(time.Millisecond), func() {
				w.inject(virtual.Packet{From: fakes[i], To: netip.AddrPortFrom(other.home.External(), other.port)}, g.Data)
			})
		}
		if _, ok := w.punch(1, 0); !ok {
			t.Errorf("no path: %s", w.outcome(0))
		}
		for i, d := range w.devices {
			if path, _ := d.m.Done(); path.Remote.Addr() == attacker {
				t.Errorf("seed %d, %d: %+v", seed, i, d.m.Trace(w.now))
			}
		}
	}
}
