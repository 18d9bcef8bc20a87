//go:build linux

package dht_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"simplebit/integration/natlab"
	"simplebit/integration/programs"
	"simplebit/rendezvous/dht"
)

func TestMain(m *testing.M) {
	// A fuzzing worker talks with its parent by files that Enter does not hand on.
	flag.Parse()
	if flag.Lookup("test.fuzz").Value.String() == "" {
		natlab.Enter()
	}
	// The tests wait for networks most of the time: processors do not limit how many can run at once.
	flag.Set("test.parallel", "8")
	os.Exit(m.Run())
}

const patience = time.Minute // for what must happen

// plainNodes is how many nodes of others a network has.
const plainNodes = 12

// network is a distributed hash table of real nodes, each on a host and /24 (or /64) of its own, and a host for ours.
type network struct {
	lab   *natlab.Lab
	nodes []*programs.DHTNode
	home  *natlab.Host
}

func newNetwork(t *testing.T, v6 bool) *network {
	t.Helper()
	natlab.Require(t)
	t.Parallel()
	lab, err := natlab.New(natlab.Config{Name: "dht"})
	if err != nil {
		t.Fatal(err)
	}
	n := &network{lab: lab}
	t.Cleanup(func() {
		var wg sync.WaitGroup
		for _, node := range n.nodes {
			wg.Go(node.Stop)
		}
		wg.Wait()
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
	})
	n.home = n.host(t, "home")
	var first []netip.AddrPort
	for i := range plainNodes {
		node, err := programs.StartDHTNode(t.Context(), programs.DHTConfig{Host: n.host(t, fmt.Sprint("node", i)), V6: v6, Bootstrap: first})
		if err != nil {
			t.Fatal(err)
		}
		n.nodes = append(n.nodes, node)
		first = []netip.AddrPort{n.nodes[0].Addr()}
	}
	return n
}

func (n *network) host(t *testing.T, name string) *natlab.Host {
	t.Helper()
	h, err := n.lab.Host(name)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// listenOn listens on a host's peer port. Programs that tests start meanwhile hold copies of sockets for a moment, also of
// those that have just been closed.
func listenOn(t *testing.T, h *natlab.Host, network string) net.PacketConn {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		conn, err := h.ListenPacket(network, ":6881")
		if err == nil {
			return conn
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// ours is our node, run until stop or the test's end.
type ours struct {
	*dht.Node
	stop  func()
	saved func() []byte
	log   *syncBuffer
}

func (n *network) run(t *testing.T, c dht.Config) *ours {
	t.Helper()
	if c.V4 == nil && c.V6 == nil {
		c.V4 = listenOn(t, n.home, "udp4")
	}
	if c.Bootstrap == nil {
		c.Bootstrap = []string{n.nodes[0].Addr().String()}
	}
	var mu sync.Mutex
	var saved []byte
	o := &ours{log: &syncBuffer{}}
	c.Port = 6881
	c.Save = func(_ context.Context, b []byte) error {
		mu.Lock()
		defer mu.Unlock()
		saved = slices.Clone(b)
		return nil
	}
	o.saved = func() []byte {
		mu.Lock()
		defer mu.Unlock()
		return saved
	}
	c.Log = slog.New(slog.NewTextHandler(o.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	if o.Node, err = dht.Open(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- o.Node.Run(ctx) }()
	o.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		o.stop()
		if t.Failed() {
			t.Log(o.log)
		}
	})
	return o
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// swarm collects what a session finds.
type swarm struct {
	*dht.Session
	mu    sync.Mutex
	found []netip.AddrPort
}

func (o *ours) search(t *testing.T, hash [20]byte) *swarm {
	s := &swarm{}
	s.Session = o.Search(dht.Search{InfoHash: hash, Peers: func(list []netip.AddrPort) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.found = append(s.found, list...)
	}})
	t.Cleanup(s.Stop)
	return s
}

func (s *swarm) has(a netip.AddrPort) bool { return slices.Contains(s.all(), a) }

func (s *swarm) all() []netip.AddrPort {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.found)
}

// await waits until a peer is found, and returns how long that took.
func (s *swarm) await(t *testing.T, want netip.AddrPort) time.Duration {
	t.Helper()
	start := time.Now()
	for ; !s.has(want); time.Sleep(10 * time.Millisecond) {
		if time.Since(start) > patience {
			t.Fatalf("%v is not found: %+v", want, s.Status())
		}
	}
	return time.Since(start)
}

// awaitEnd waits until a search that found something has ended.
func (s *swarm) awaitEnd(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(patience); s.Status().Peers == 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the search does not end: %+v", s.Status())
		}
	}
}

// waitAnnounced waits until so many nodes keep a peer.
func (n *network) waitAnnounced(t *testing.T, hash [20]byte, want netip.AddrPort, least int) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		keep := 0
		for _, node := range n.nodes {
			if slices.Contains(node.Announced(hash), want) {
				keep++
			}
		}
		if keep >= least {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v was announced to %d nodes, want %d", want, keep, least)
		}
	}
}

func TestPeersAreFoundAlsoAfterARestart(t *testing.T) {
	n := newNetwork(t, false)
	hash := [20]byte{1, 2, 3}
	if _, err := n.nodes[7].Announce(t.Context(), hash, 51413); err != nil {
		t.Fatal(err)
	}
	peer := netip.AddrPortFrom(n.nodes[7].Addr().Addr(), 51413)

	node := n.run(t, dht.Config{})
	s := node.search(t, hash)
	t.Logf("found after %v", s.await(t, peer))
	n.waitAnnounced(t, hash, netip.AddrPortFrom(n.home.Addr(), 6881), 6)
	node.stop()

	// The node that let us in is gone, others too, and so are most of those that were saved.
	for _, gone := range n.nodes[:3] {
		gone.Stop()
	}
	n.nodes = n.nodes[3:]
	again := n.run(t, dht.Config{
		Bootstrap: []string{"198.18.200.1:6881"},
		Load:      func(context.Context) ([]byte, error) { return withDeadNodes(node.saved(), 280), nil },
	})
	took := again.search(t, hash).await(t, peer)
	t.Logf("found again after %v", took)
	if took > 30*time.Second {
		t.Errorf("after a restart peers were found after %v", took)
	}
}

// withDeadNodes adds nodes at addresses where nobody is to the front of a saved table's IPv4 part.
func withDeadNodes(saved []byte, n int) []byte {
	const at = 6 + 20 + 4 // of the number of nodes
	b := slices.Clone(saved[:at])
	b = binary.BigEndian.AppendUint16(b, binary.BigEndian.Uint16(saved[at:])+uint16(n))
	for i := range n {
		id := sha1.Sum(binary.BigEndian.AppendUint16(nil, uint16(i)))
		b = append(append(b, id[:]...), 198, 19, byte(i), 2, 0x1a, 0xe1)
	}
	return append(b, saved[at+2:]...)
}

func TestIPv6HasATableOfItsOwn(t *testing.T) {
	n := newNetwork(t, true)
	hash := [20]byte{6, 6, 6}
	if _, err := n.nodes[7].Announce(t.Context(), hash, 51413); err != nil {
		t.Fatal(err)
	}
	node := n.run(t, dht.Config{V4: listenOn(t, n.home, "udp4"), V6: listenOn(t, n.home, "udp6")})
	s := node.search(t, hash)
	t.Logf("found after %v", s.await(t, netip.AddrPortFrom(n.nodes[7].Addr().Addr(), 51413)))
	n.waitAnnounced(t, hash, netip.AddrPortFrom(n.home.Addr6(), 6881), 6)
	s.awaitEnd(t)
	if got := s.Status(); got.Error != "" || got.Nodes < plainNodes/2 {
		t.Errorf("the session stands at %+v", got)
	}
	if strings.Contains(node.log.String(), "level=WARN") {
		t.Errorf("that IPv4 is out of reach is logged as %s", node.log)
	}
}

// An IPv4 node of BEP 32 names nodes of the other table to those who want them.
func TestOneTableLeadsToTheOther(t *testing.T) {
	n := newNetwork(t, true)
	both := n.host(t, "both")
	run := func(host *natlab.Host, bootstrap string) *ours {
		return n.run(t, dht.Config{V4: listenOn(t, host, "udp4"), V6: listenOn(t, host, "udp6"), Bootstrap: []string{bootstrap}})
	}
	other := run(both, n.nodes[0].Addr().String())
	first := other.search(t, [20]byte{1})
	for deadline := time.Now().Add(patience); first.Status().Nodes < plainNodes/2; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the first node stands at %+v", first.Status())
		}
	}
	ours := run(n.home, netip.AddrPortFrom(both.Addr(), 6881).String())
	s := ours.search(t, [20]byte{2})
	for deadline := time.Now().Add(patience); s.Status().Nodes < plainNodes/2; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("by way of an IPv4 node we come to %+v", s.Status())
		}
	}
}
