package dht

import (
	"context"
	"net"
	"net/netip"

	"github.com/anacrolix/dht/v2"
	"github.com/anacrolix/dht/v2/krpc"
	alog "github.com/anacrolix/log"
)

// Node is this program's part of the table, for all torrents. Its methods may be called from any goroutine.
type Node struct {
	config  Config
	servers []*dht.Server
}

// Open makes a node that answers others from now on. It asks nothing by itself before Run.
func Open(ctx context.Context, c Config) (*Node, error) {
	c, err := c.prepared()
	if err != nil {
		return nil, err
	}
	n := &Node{config: c}
	for _, conn := range []net.PacketConn{c.V4, c.V6} {
		if conn == nil {
			continue
		}
		server := dht.NewDefaultServerConfig()
		server.Conn = conn
		server.Logger = alog.Default.FilterLevel(alog.Disabled)
		server.StartingNodes = func() ([]dht.Addr, error) { return dht.ResolveHostPorts(c.Bootstrap) }
		s, err := dht.NewServer(server)
		if err != nil {
			return nil, err
		}
		n.servers = append(n.servers, s)
	}
	return n, nil
}

// Run keeps the node table in order until ctx ends, and closes the sockets.
func (n *Node) Run(ctx context.Context) error {
	for _, s := range n.servers {
		go s.TableMaintainer()
		defer s.Close()
	}
	<-ctx.Done()
	return nil
}

// AddNode tells of an address at which there may be a node.
func (n *Node) AddNode(a netip.AddrPort) {
	var info krpc.NodeInfo
	info.Addr.FromAddrPort(a)
	for _, s := range n.servers {
		s.AddNode(info)
	}
}
