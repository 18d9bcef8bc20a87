package dht

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
)

// publicRouters are asked for nodes when Config.Bootstrap is nil.
var publicRouters = []string{"router.bittorrent.com:6881", "dht.transmissionbt.com:6881", "dht.libtorrent.org:25401"}

// Config says how a node takes part. A socket and a port are required.
type Config struct {
	// V4 and V6 are sockets of the peer port, bound to udp4 and udp6. A family whose socket is nil is not used. The node
	// closes them.
	V4, V6 net.PacketConn
	// Port is what other nodes are told in announce_peer: where the surrogate takes peers, over TCP and UDP alike.
	Port uint16
	// Bootstrap names nodes (HOST:PORT) that are asked while no other is known. Names are resolved when needed. Nil: the
	// public routers. Empty but not nil: none.
	Bootstrap []string
	// Public are addresses under which others see this machine, as far as they are known: node ids have to fit them (BEP 42).
	// What is not known is learned from others, and heeded from the next start on.
	Public []netip.Addr
	// Load returns what Save was given last, or nil. It is called once, by Open. Nil: nothing is loaded.
	Load func(ctx context.Context) ([]byte, error)
	// Save stores the node table, at most 20 KB. It is called every five minutes and when Run ends, from one goroutine.
	// Nil: nothing is saved.
	Save func(ctx context.Context, b []byte) error
	// Dialable reports whether an address that a stranger named may be contacted and believed. It is called from any
	// goroutine. Nil: all may.
	Dialable func(netip.AddrPort) bool
	// Log receives failures at warn, refusals at info and what the library says at debug. Nil: nothing is logged.
	Log *slog.Logger
}

// prepared checks the configuration and fills in the defaults.
func (c Config) prepared() (Config, error) {
	switch {
	case c.V4 == nil && c.V6 == nil:
		return c, errors.New("dht: Config needs a socket")
	case c.Port == 0:
		return c, errors.New("dht: Config needs a port")
	}
	if c.Bootstrap == nil {
		c.Bootstrap = publicRouters
	}
	if c.Load == nil {
		c.Load = func(context.Context) ([]byte, error) { return nil, nil }
	}
	if c.Save == nil {
		c.Save = func(context.Context, []byte) error { return nil }
	}
	if c.Dialable == nil {
		c.Dialable = func(netip.AddrPort) bool { return true }
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c, nil
}
