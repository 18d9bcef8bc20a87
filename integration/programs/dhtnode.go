//go:build linux

package programs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"

	"github.com/anacrolix/dht/v2"
	"github.com/anacrolix/dht/v2/krpc"
	peer_store "github.com/anacrolix/dht/v2/peer-store"
	alog "github.com/anacrolix/log"
	"golang.org/x/time/rate"

	"simplebit/integration/natlab"
)

// DHTConfig says where and how a DHT node runs. Host is required.
type DHTConfig struct {
	// Host is where the node runs.
	Host *natlab.Host
	// Port is the node's, over UDP. Default 6881.
	Port uint16
	// V6 makes it a node of the IPv6 table (BEP 32) instead of the IPv4 one.
	V6 bool
	// Bootstrap are nodes that are asked for others. Default: none, for the first node of a network.
	Bootstrap []netip.AddrPort
}

// DHTNode is a plain node of the distributed hash table (BEP 5), as anacrolix/dht makes it, in this process. It answers, and
// keeps what is announced to it. Its methods may be called from any goroutine.
type DHTNode struct {
	server *dht.Server
	store  *peerStore
	addr   netip.AddrPort
	done   chan struct{}
}

// peerStore keeps what is announced to a node. The library's own forgets the ports.
type peerStore struct {
	mu     sync.Mutex
	swarms map[[20]byte][]krpc.NodeAddr
}

// AddPeer is called by the library.
func (s *peerStore) AddPeer(infoHash peer_store.InfoHash, peer krpc.NodeAddr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.ContainsFunc(s.swarms[infoHash], peer.Equal) {
		s.swarms[infoHash] = append(s.swarms[infoHash], peer)
	}
}

// GetPeers is called by the library.
func (s *peerStore) GetPeers(infoHash peer_store.InfoHash) []krpc.NodeAddr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.swarms[infoHash])
}

// StartDHTNode starts a node and lets it find its neighbours. It ends with Stop.
func StartDHTNode(ctx context.Context, c DHTConfig) (*DHTNode, error) {
	if c.Host == nil {
		return nil, errors.New("programs: DHTConfig needs a Host")
	}
	if c.Port == 0 {
		c.Port = 6881
	}
	network, ip, want := "udp4", c.Host.Addr(), krpc.WantNodes
	if c.V6 {
		network, ip, want = "udp6", c.Host.Addr6(), krpc.WantNodes6
	}
	conn, err := c.Host.ListenPacket(network, ":"+strconv.Itoa(int(c.Port)))
	if err != nil {
		return nil, fmt.Errorf("programs: start a DHT node on %s: %w", c.Host.Name(), err)
	}
	n := &DHTNode{store: &peerStore{swarms: make(map[[20]byte][]krpc.NodeAddr)}, addr: netip.AddrPortFrom(ip, c.Port), done: make(chan struct{})}
	config := dht.NewDefaultServerConfig()
	config.Conn = conn
	config.PeerStore = n.store
	config.DefaultWant = []krpc.Want{want}
	config.SendLimiter = rate.NewLimiter(100, 100) // the default is one for all nodes of a process
	config.WaitToReply = true
	config.Logger = alog.NewLogger().WithFilterLevel(alog.Disabled)
	asked, started := make(map[string]bool), make(chan struct{})
	config.OnQuery = func(_ *krpc.Msg, source net.Addr) bool {
		// Other clients ask whoever asks them; the library waits a minute, and names only nodes that have answered it.
		// It calls this under its lock.
		if !asked[source.String()] {
			asked[source.String()] = true
			go func() {
				<-started
				n.server.Ping(source.(*net.UDPAddr))
			}()
		}
		return true
	}
	config.StartingNodes = func() (addrs []dht.Addr, err error) {
		for _, a := range c.Bootstrap {
			addrs = append(addrs, dht.NewAddr(net.UDPAddrFromAddrPort(a)))
		}
		return addrs, nil
	}
	if n.server, err = dht.NewServer(config); err != nil {
		return nil, errors.Join(fmt.Errorf("programs: start a DHT node on %s: %w", c.Host.Name(), err), conn.Close())
	}
	close(started)
	if len(c.Bootstrap) > 0 {
		if _, err := n.server.BootstrapContext(ctx); err != nil {
			n.server.Close()
			return nil, fmt.Errorf("programs: the DHT node on %s finds no others: %w", c.Host.Name(), err)
		}
	}
	go func() {
		n.server.TableMaintainer()
		close(n.done)
	}()
	return n, nil
}

// Addr is where the node listens.
func (n *DHTNode) Addr() netip.AddrPort { return n.addr }

// Nodes returns how many others have answered it lately.
func (n *DHTNode) Nodes() int { return n.server.Stats().GoodNodes }

// Announced returns the peers of a torrent that were announced to the node.
func (n *DHTNode) Announced(infoHash [20]byte) (peers []netip.AddrPort) {
	for _, p := range n.store.GetPeers(infoHash) {
		a := p.ToNodeAddrPort().AddrPort
		peers = append(peers, netip.AddrPortFrom(a.Addr().Unmap(), a.Port()))
	}
	return peers
}

// Announce announces a peer at the node's own address and the given port, to the nodes closest to the torrent, and returns
// those that they know already.
func (n *DHTNode) Announce(ctx context.Context, infoHash [20]byte, port uint16) ([]netip.AddrPort, error) {
	a, err := n.server.AnnounceTraversal(infoHash, dht.AnnouncePeer(dht.AnnouncePeerOpts{Port: int(port)}))
	if err != nil {
		return nil, fmt.Errorf("programs: announce from the DHT node at %v: %w", n.addr, err)
	}
	defer context.AfterFunc(ctx, a.Close)()
	var peers []netip.AddrPort
	for reply := range a.Peers {
		for _, p := range reply.Peers {
			peers = append(peers, p.ToNodeAddrPort().AddrPort)
		}
	}
	slices.SortFunc(peers, netip.AddrPort.Compare)
	return slices.Compact(peers), ctx.Err()
}

// Stop ends the node and waits until its goroutines have ended, at most a few seconds. It must be called once.
func (n *DHTNode) Stop() {
	n.server.Close()
	<-n.done
}
