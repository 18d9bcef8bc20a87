//go:build linux

package dht_test

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anacrolix/dht/v2/krpc"
	"github.com/anacrolix/torrent/bencode"

	"simplebit/integration/natlab"
	"simplebit/rendezvous/dht"
)

// liar is a hostile node on raw UDP. It answers ping and find_node as others do, so that it is believed at first.
type liar struct {
	conn net.PacketConn
	addr netip.AddrPort
	id   [20]byte

	mu    sync.Mutex
	asked map[string]int // queries by name
}

// near is an id that has all but the last bits in common with the hash, closer the smaller n is.
func near(hash [20]byte, n uint16) [20]byte {
	hash[18] ^= byte(n >> 8)
	hash[19] ^= byte(n)
	return hash
}

// newLiar listens on a host; lie returns the datagrams with which a get_peers query is answered.
func newLiar(t *testing.T, host *natlab.Host, port uint16, id [20]byte, lie func(l *liar, q krpc.Msg, from net.Addr) []string) *liar {
	t.Helper()
	conn, err := host.ListenPacket("udp4", fmt.Sprintf(":%d", port))
	if err != nil {
		t.Fatal(err)
	}
	l := &liar{conn: conn, addr: netip.AddrPortFrom(host.Addr(), port), id: id, asked: make(map[string]int)}
	done := make(chan struct{})
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	go func() {
		defer close(done)
		b := make([]byte, 1<<16)
		for {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			var q krpc.Msg
			if bencode.Unmarshal(b[:n], &q) != nil || q.Y != "q" {
				continue
			}
			l.mu.Lock()
			l.asked[q.Q]++
			l.mu.Unlock()
			answers := []string{l.response(q, "")}
			if q.Q == "get_peers" {
				answers = lie(l, q, from)
			}
			for _, a := range answers {
				conn.WriteTo([]byte(a), from)
			}
		}
	}()
	return l
}

// response is an answer with more keys after the id.
func (l *liar) response(q krpc.Msg, more string) string {
	return fmt.Sprintf("d1:rd2:id20:%s%se1:t%d:%s1:y1:re", l.id[:], more, len(q.T), q.T)
}

func (l *liar) count(query string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked[query]
}

// values is the keys token and values of an answer that names n peers, from the i-th on.
func values(i, n int) string {
	var b strings.Builder
	b.WriteString("5:token4:liar6:valuesl")
	for ; n > 0; n, i = n-1, i+1 {
		b.WriteString(compact(198, 19, byte(i>>8), byte(i), 6881))
	}
	return b.String() + "e"
}

func compact(a, b, c, d byte, port uint16) string {
	return "6:" + string([]byte{a, b, c, d, byte(port >> 8), byte(port)})
}

// testNet is what may be contacted in a lab.
func testNet(a netip.AddrPort) bool {
	return a.Port() != 0 && netip.MustParsePrefix("198.18.0.0/15").Contains(a.Addr())
}

func TestLiarsAreBoundedAndOthersAreHeard(t *testing.T) {
	n := newNetwork(t, false)
	hash := [20]byte{0xaa, 1, 2}
	if _, err := n.nodes[7].Announce(t.Context(), hash, 51413); err != nil {
		t.Fatal(err)
	}
	peer := netip.AddrPortFrom(n.nodes[7].Addr().Addr(), 51413)
	var liars []*liar
	add := func(name string, lie func(l *liar, q krpc.Msg, from net.Addr) []string) *liar {
		l := newLiar(t, n.host(t, name), 6881, near(hash, uint16(0x4000+len(liars))), lie)
		liars = append(liars, l)
		return l
	}
	add("crowd", func(l *liar, q krpc.Msg, _ net.Addr) []string { return []string{l.response(q, values(0, 300))} })
	add("throng", func(l *liar, q krpc.Msg, _ net.Addr) []string { return []string{l.response(q, values(1000, 1000))} })
	add("private", func(l *liar, q krpc.Msg, _ net.Addr) []string {
		nodes := string(l.id[:]) + string([]byte{10, 0, 0, 1, 26, 225}) + string(l.id[:]) + string([]byte{198, 18, 1, 9, 0, 0})
		return []string{l.response(q, "5:nodes52:"+nodes+"5:token4:liar6:valuesl"+
			compact(10, 0, 0, 1, 80)+compact(127, 0, 0, 1, 22)+compact(198, 18, 9, 9, 0)+compact(255, 255, 255, 255, 1)+"e")}
	})
	add("killer", func(l *liar, q krpc.Msg, _ net.Addr) []string {
		good := l.response(q, "5:token4:liar")
		return []string{
			"d1:q13:announce_peer1:t1:x1:y1:qe", // each of these three ends the library's process
			l.response(q, "6:valuesl1:xe"), "d2:ip0:" + good[1:],
			strings.Repeat("d", 60000), "d1:t99999999:", good[:len(good)-9],
		}
	})
	other, err := n.host(t, "elsewhere").ListenPacket("udp4", ":6881")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	add("forger", func(l *liar, q krpc.Msg, from net.Addr) []string {
		other.WriteTo([]byte(l.response(q, values(2000, 50))), from)
		return nil
	})
	bootstrap := []string{n.nodes[0].Addr().String()}
	for _, l := range liars {
		bootstrap = append(bootstrap, l.addr.String())
	}
	node := n.run(t, dht.Config{Bootstrap: bootstrap, Dialable: testNet})
	s := node.search(t, hash)
	s.await(t, peer)
	s.awaitEnd(t)
	crowd := 0
	for _, a := range s.all() {
		first, second := a.Addr().As4()[1], int(a.Addr().As4()[2])<<8|int(a.Addr().As4()[3])
		switch {
		case !testNet(a):
			t.Errorf("found was %v", a)
		case first == 19 && second < 300:
			crowd++
		case first == 19:
			t.Errorf("found was %v, which no good answer names", a)
		}
	}
	if crowd != 100 {
		t.Errorf("%d of 300 peers that one node names were believed, want 100", crowd)
	}
	for _, l := range liars {
		if l.count("get_peers") != 1 {
			t.Errorf("the node at %v was asked %d times", l.addr, l.count("get_peers"))
		}
	}
	for _, want := range []string{"it has more than 4096 bytes", "it is malformed", "it answers no question of ours"} {
		for deadline := time.Now().Add(patience); !strings.Contains(node.log.String(), want); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the log does not say %q", want)
			}
		}
	}
}

func TestATraversalThatIsLedOnEnds(t *testing.T) {
	natlab.Require(t)
	t.Parallel()
	lab, err := natlab.New(natlab.Config{Name: "dht"})
	if err != nil {
		t.Fatal(err)
	}
	defer lab.Close()
	n := &network{lab: lab}
	n.home = n.host(t, "home")
	trap := n.host(t, "trap")
	hash := [20]byte{0xaa, 1, 2}
	const ports = 400
	var chain []*liar
	for i := range uint16(ports) {
		// Each names the next one, which is closer to the torrent, and 500 peers in all.
		chain = append(chain, newLiar(t, trap, 10000+i, near(hash, 1000-i), func(l *liar, q krpc.Msg, _ net.Addr) []string {
			next := near(hash, 1000-i-1)
			return []string{l.response(q, "5:nodes26:"+string(next[:])+compact(198, 18, 2, 2, 10000+i+1)[2:]+values(int(i)*50, 50))}
		}))
	}
	node := n.run(t, dht.Config{Bootstrap: []string{chain[0].addr.String()}, Dialable: testNet})
	s := node.search(t, hash)
	s.awaitEnd(t)
	asked, announced := 0, 0
	for _, l := range chain {
		asked += l.count("get_peers")
		announced += l.count("announce_peer")
	}
	t.Logf("asked %d, announced to %d, found %d", asked, announced, s.Status().Peers)
	if asked < 95 || asked > 110 || announced > 8 || s.Status().Peers != 500 {
		t.Errorf("%d were asked, %d were announced to and %d peers were found, want 95 to 110, 8 and 500", asked, announced, s.Status().Peers)
	}
	if got := s.Status().Nodes; got != 1 {
		t.Errorf("%d nodes of one host are in the table", got)
	}
}

func TestAFloodDoesNotKeepOthersFromBeingAnswered(t *testing.T) {
	n := newNetwork(t, false)
	node := n.run(t, dht.Config{})
	hash := [20]byte{0xbb}
	s := node.search(t, hash)
	n.waitAnnounced(t, hash, netip.AddrPortFrom(n.home.Addr(), 6881), 6)
	flooder := newLiar(t, n.host(t, "flooder"), 6881, [20]byte{1}, nil)
	home := net.UDPAddrFromAddrPort(netip.AddrPortFrom(n.home.Addr(), 6881))
	sent, got := 0, 0
	query := []byte("d1:ad2:id20:aaaaaaaaaaaaaaaaaaaa9:info_hash20:bbbbbbbbbbbbbbbbbbbbe1:q9:get_peers2:roi1e1:t2:aa1:y1:qe")
	c, err := n.host(t, "counter").ListenPacket("udp4", ":6881")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 3000 {
		c.WriteTo(query, home)
		sent += len(query)
		flooder.conn.WriteTo([]byte("d1:t1:x1:y1:re"), home)
	}
	c.SetReadDeadline(time.Now().Add(patience)) // for the first answer
	for b := make([]byte, 2000); ; {
		k, _, err := c.ReadFrom(b)
		if err != nil {
			break
		}
		got += k
		c.SetReadDeadline(time.Now().Add(time.Second))
	}
	t.Logf("%d bytes of queries were answered by %d", sent, got)
	if got == 0 || got > sent/10 {
		t.Errorf("%d bytes of queries were answered by %d", sent, got)
	}
	// Meanwhile others are answered.
	if _, err := n.nodes[3].Announce(t.Context(), [20]byte{0xcc}, 51413); err != nil {
		t.Error(err)
	}
	s2 := node.search(t, [20]byte{0xcc})
	s2.await(t, netip.AddrPortFrom(n.nodes[3].Addr().Addr(), 51413))
	if s.Status().Nodes < plainNodes-2 {
		t.Errorf("the table has %d nodes", s.Status().Nodes)
	}
}
