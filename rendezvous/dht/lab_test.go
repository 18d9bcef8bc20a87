//go:build linux

package dht_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
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
	os.Exit(m.Run())
}

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

// ours is our node, run until stop or the test's end.
type ours struct {
	*dht.Node
	stop  func()
	saved func() []byte
	log   *syncBuffer
}

func (n *network) run(t *testing.T, c dht.Config) *ours {
	t.Helper()
	var err error
	if c.V4 == nil && c.V6 == nil {
		if c.V4, err = n.home.ListenPacket("udp4", ":6881"); err != nil {
			t.Fatal(err)
		}
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
	o.Node, err = dht.Open(t.Context(), c)
	if err != nil {
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
	found chan netip.AddrPort
}

func (o *ours) search(t *testing.T, hash [20]byte) swarm {
	s := swarm{found: make(chan netip.AddrPort, 1000)}
	s.Session = o.Search(dht.Search{InfoHash: hash, Peers: func(list []netip.AddrPort) {
		for _, a := range list {
			select {
			case s.found <- a:
			default:
			}
		}
	}})
	t.Cleanup(s.Stop)
	return s
}

// await waits until a peer is found, and returns how long that took.
func (s swarm) await(t *testing.T, want netip.AddrPort, most time.Duration) time.Duration {
	t.Helper()
	start := time.Now()
	timeout := time.After(most)
	for {
		select {
		case a := <-s.found:
			if a == want {
				return time.Since(start)
			}
		case <-timeout:
			t.Fatalf("%v was not found in %v: %+v", want, most, s.Status())
		}
	}
}

func (n *network) waitAnnounced(t *testing.T, hash [20]byte, want netip.AddrPort) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		keep := 0
		for _, node := range n.nodes {
			if slices.Contains(node.Announced(hash), want) {
				keep++
			}
		}
		if keep >= 8 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v was announced to %d nodes, want 8", want, keep)
		}
	}
}

func TestPeersOfOthersAreFoundAndOursAreAnnounced(t *testing.T) {
	n := newNetwork(t, false)
	hash := [20]byte{1, 2, 3}
	if _, err := n.nodes[7].Announce(t.Context(), hash, 51413); err != nil {
		t.Fatal(err)
	}
	peer := netip.AddrPortFrom(n.nodes[7].Addr().Addr(), 51413)

	for i, nn := range n.nodes {
		t.Log(i, nn.Nodes(), nn.Announced(hash))
	}
	node := n.run(t, dht.Config{})
	s := node.search(t, hash)
	t.Logf("found after %v", s.await(t, peer, 20*time.Second))
	home := netip.AddrPortFrom(n.home.Addr(), 6881)
	n.waitAnnounced(t, hash, home)
	t.Logf("%+v", s.Status())
	start := time.Now()
	node.stop()
	t.Logf("ended after %v", time.Since(start))

	// The node that helped us in is gone, and those that it knew are asked.
	n.nodes[0].Stop()
	n.nodes = n.nodes[1:]
	again := n.run(t, dht.Config{
		Bootstrap: []string{"198.18.200.1:6881"},
		Load:      func(context.Context) ([]byte, error) { return node.saved(), nil },
	})
	t.Logf("found again after %v", again.search(t, hash).await(t, peer, time.Minute))
}
