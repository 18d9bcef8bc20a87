package swarm

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"simplebit/wire/dial"
	"simplebit/wire/peer"
)

const relayRate = 256 << 10 // bytes/s, each way

// A splice passes on what comes on two connections, as a surrogate does: at a rate, after a while, and not what is under way when
// either ends.
type splice struct {
	ends    [2]net.Conn
	rate    int // bytes/s, each way
	lag     time.Duration
	running sync.WaitGroup
}

// run begins to pass on. It ends with either connection, and closes the other.
func (s *splice) run() {
	for i, from := range s.ends {
		to := s.ends[1-i]
		type chunk struct {
			data []byte
			due  time.Time
		}
		held := make(chan chunk, 16) // at most 64 KiB
		s.running.Go(func() {
			defer close(held)
			for {
				b := make([]byte, 4<<10)
				n, err := from.Read(b)
				if err != nil {
					s.cut()
					return
				}
				time.Sleep(time.Second * time.Duration(n) / time.Duration(s.rate))
				held <- chunk{b[:n], time.Now().Add(s.lag)}
			}
		})
		s.running.Go(func() {
			for c := range held {
				time.Sleep(time.Until(c.due))
				if _, err := to.Write(c.data); err != nil {
					s.cut()
				}
			}
		})
	}
}

// cut ends both connections.
func (s *splice) cut() {
	s.ends[0].Close()
	s.ends[1].Close()
}

// A way is a connection between two nodes, with the bytes of payload that it has carried.
type way struct {
	*splice
	far [2]net.Conn // the nodes' ends
}

// newWay makes one for a synctest bubble; meet hands it over.
func newWay(t *testing.T, rate int, lag time.Duration) *way {
	w := &way{splice: &splice{rate: rate, lag: lag}}
	for i := range 2 {
		w.far[i], w.ends[i] = net.Pipe()
	}
	w.run()
	t.Cleanup(func() {
		w.cut()
		w.running.Wait()
	})
	return w
}

// meet hands the ends to two nodes of which the first dials, to the second one a while after the first.
func (w *way) meet(dials, takes *node, relayed bool, late time.Duration) {
	for i, n := range []*node{dials, takes} {
		other := []*node{takes, dials}[i]
		c := &dial.Conn{Conn: located{w.far[i], net.TCPAddrFromAddrPort(other.seen())}, Peer: other.Handshake(), Transport: dial.UTP, Relayed: relayed, Outgoing: i == 0}
		if relayed {
			c.Transport = dial.QUIC
		}
		time.AfterFunc(time.Duration(i)*late, func() { n.Accept(c) })
	}
}

// seen is where others see the node.
func (n *node) seen() netip.AddrPort {
	id := n.Handshake().PeerID
	return addr(int(id[19]))
}

// halves are what two nodes have that need each other; the first has all where it seeds.
func halves(c *content, seeds bool) (a, b []byte) {
	var even, odd []int
	for i := range len(c.hashes) / 20 {
		if i%2 == 0 {
			even = append(even, i)
		} else {
			odd = append(odd, i)
		}
	}
	if seeds {
		return c.data, nil
	}
	return c.partly(even...), c.partly(odd...)
}

// TestARelayIsUsedToTheFull: little being under way costs no rate, at a round trip of 300 ms.
func TestARelayIsUsedToTheFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent(64*4*block, 4*block)
		a, b := c.start(t, "a", c.data, Config{}), c.start(t, "b", nil, Config{})
		newWay(t, relayRate, 150*time.Millisecond).meet(a, b, true, 0)
		began := time.Now()
		b.awaitSeeding(t)
		if took, least := time.Since(began), time.Duration(len(c.data))*time.Second/relayRate; took > least*5/4 {
			t.Errorf("%v for what takes %v at the relay's rate", took, least)
		}
	})
}

// TestAnUpgradeLosesNothing has two peers meet over a relay and then directly, at any time and whoever dials, be it that both
// do: what each lacks comes once, and what is left is one direct connection.
func TestAnUpgradeLosesNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		seeds, both := rng.IntN(2) == 0, rng.IntN(3) == 0
		swapped := rng.IntN(2) == 0
		at := time.Duration(rng.Int64N(int64(6 * time.Second)))
		if rng.IntN(6) == 0 {
			at = 0 // together with the relay
		}
		late := time.Duration(rng.IntN(200)) * time.Millisecond
		var vain int64
		if at > 3*time.Second { // near the end what is under way on the relay is asked for directly as well
			vain = relayedSeconds*relayRate + pipelineFloor*block
		}
		name := fmt.Sprintf("seeds %v, both dial %v, swapped %v, at %v, late %v", seeds, both, swapped, at, late)
		synctest.Test(t, func(t *testing.T) {
			c := newContent(64*4*block, 4*block) // 4 MiB
			first, second := halves(c, seeds)
			a, b := c.start(t, "a", first, Config{}), c.start(t, "b", second, Config{})
			lacks := [2]int64{int64(len(c.data)) - a.Status().Have, int64(len(c.data)) - b.Status().Have}
			newWay(t, relayRate, 40*time.Millisecond).meet(a, b, true, 0)
			time.Sleep(at)
			dials, takes := a, b
			if swapped {
				dials, takes = b, a
			}
			newWay(t, 512<<10, 20*time.Millisecond).meet(dials, takes, false, late)
			if both {
				newWay(t, 512<<10, 20*time.Millisecond).meet(takes, dials, false, late)
			}
			time.Sleep(late + drainLimit + time.Second)
			pa, pb := a.paths(), b.paths()
			if done := a.Status().Complete && b.Status().Complete; !done && (pa != "accepted" && pa != "dialled" || pb != "accepted" && pb != "dialled") {
				t.Errorf("%s: after the upgrade %q and %q; log:\n%s\n%s", name, pa, pb, a.log, b.log)
			}
			time.Sleep(time.Minute)
			for i, n := range []*node{a, b} {
				s := n.Status()
				if !s.Complete || s.Downloaded != lacks[i] || s.Wasted > vain || len(s.Peers) > 0 {
					t.Errorf("%s: %d: complete %v, %d bytes for %d, %d in vain, %d peers", name, i, s.Complete, s.Downloaded, lacks[i], s.Wasted, len(s.Peers))
				}
				if strings.Contains(n.log.String(), errUndone.Error()) {
					t.Errorf("%s: %d: the relay was cut with something outstanding; log:\n%s", name, i, n.log)
				}
				n.stop()
				c.compare(t, n)
			}
		})
		if t.Failed() {
			return
		}
	}
}

// TestAPairThatLosesWaysEndsUpWithWhatIsLeft cuts ways at any time: as long as some way comes up once more, everything arrives.
func TestAPairThatLosesWaysEndsUpWithWhatIsLeft(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 20 {
		seeds, direct, relayed := rng.IntN(2) == 0, rng.IntN(2) == 0, rng.IntN(2) == 0
		up, cut := rng.Int64N(int64(4*time.Second)), rng.Int64N(int64(8*time.Second))
		late := time.Duration(rng.IntN(200)) * time.Millisecond
		name := fmt.Sprintf("seeds %v, cut direct %v relayed %v, up %v, cut %v, late %v", seeds, direct, relayed, time.Duration(up), time.Duration(cut), late)
		synctest.Test(t, func(t *testing.T) {
			c := newContent(64*4*block, 4*block)
			first, second := halves(c, seeds)
			a, b := c.start(t, "a", first, Config{}), c.start(t, "b", second, Config{})
			over := newWay(t, relayRate, 40*time.Millisecond)
			over.meet(a, b, true, 0)
			near := newWay(t, 256<<10, 20*time.Millisecond)
			time.AfterFunc(time.Duration(up), func() { near.meet(b, a, false, late) })
			time.Sleep(time.Duration(cut))
			if direct {
				near.cut()
			}
			if relayed {
				over.cut()
			}
			for i := 0; i < 10 && !(a.Status().Complete && b.Status().Complete); i++ {
				time.Sleep(5 * time.Second) // as the surrogate would have it
				if !a.Direct(b.Handshake().PeerID, b.seen()) {
					newWay(t, relayRate, 40*time.Millisecond).meet(a, b, true, 0)
				}
			}
			for i, n := range []*node{a, b} {
				if s := n.Status(); !s.Complete || s.Wasted > relayRate {
					t.Errorf("%s: %d: %+v; log:\n%s", name, i, s, n.log)
				}
			}
		})
		if t.Failed() {
			return
		}
	}
}

// TestAnUpgradeOverRealConnections does all handshakes, the relay's in plaintext and the direct one as the candidate's address
// tells.
func TestAnUpgradeOverRealConnections(t *testing.T) {
	for _, seeds := range []bool{false, true} {
		c := newContent(256*4*block, 4*block) // 16 MiB
		first, second := halves(c, seeds)
		a, b := c.start(t, "a", first, Config{}).listen(t), c.start(t, "b", second, Config{}).listen(t)
		lacks := int64(len(c.data)) - b.Status().Have
		s := &splice{rate: 2 << 20, lag: 5 * time.Millisecond}
		var ends [2]net.Conn
		for i := range 2 {
			ends[i], s.ends[i] = tcpPair(t)
		}
		s.run()
		t.Cleanup(func() {
			s.cut()
			s.running.Wait()
		})
		go func() {
			if conn, err := dial.Over(context.Background(), ends[0], dial.QUIC, a.Handshake()); err == nil {
				a.Accept(conn)
			}
		}()
		admit := func(h peer.Handshake) error {
			if b.Direct(h.PeerID, dial.Remote(ends[1])) {
				return errDirect
			}
			return nil
		}
		conn, err := dial.Accept(t.Context(), ends[1], dial.Acceptor{
			Answer: func([20]byte) (peer.Handshake, bool) { return b.Handshake(), true }, Admit: admit, Relayed: dial.TCP,
		})
		if err != nil {
			t.Fatal(err)
		}
		b.Accept(conn)
		b.await(t, "a block over the relay", func(s Status) bool {
			return s.Downloaded > 0 && len(s.Peers) == 1 && s.Peers[0].Path == "relayed" && s.Peers[0].Transport == "tcp"
		})
		a.AddCandidates(reachable(b.addr))
		for _, n := range []*node{a, b} {
			n.await(t, "the end of the relay", func(s Status) bool {
				return s.Complete || len(s.Peers) == 1 && s.Peers[0].Path != "relayed"
			})
		}
		for _, n := range []*node{a, b} {
			if s := n.awaitSeeding(t); s.Wasted > 32*block {
				t.Errorf("%d bytes came in vain", s.Wasted)
			}
		}
		if got := b.Status().Downloaded; got != lacks {
			t.Errorf("%d bytes for %d", got, lacks)
		}
		ended := make(chan struct{})
		go func() { s.running.Wait(); close(ended) }()
		select {
		case <-ended:
		case <-time.After(patience):
			t.Error("the relay is open")
		}
		for _, n := range []*node{a, b} {
			n.stop()
			c.compare(t, n)
		}
	}
}

// tcpPair returns the two ends of a connection.
func tcpPair(t *testing.T) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if near, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return near, far
}
