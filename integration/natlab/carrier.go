//go:build linux

package natlab

import (
	"fmt"
	"net/netip"
	"time"
)

// CarrierConfig describes a carrier's NAT. The zero value works.
type CarrierConfig struct {
	// Hairpin lets the carrier's homes reach each other by their public endpoints, whatever the receiving one's filter at
	// the carrier. Default: they cannot.
	Hairpin bool
	// UDPTimeout is how long a mapping lives without traffic. Default 2 minutes.
	UDPTimeout time.Duration
}

// Carrier is a carrier-grade NAT: a network namespace with an interface wan0 towards the internet and a link to each of its
// homes, whose routers have addresses in 100.64.0.0/10 (RFC 6598). It maps each endpoint of a home to one port for all
// destinations, out of the home's block of 1024 (RFC 6888), and lets in what answers. IPv6 it only forwards. Its methods may
// be called from any goroutine.
type Carrier struct {
	*gateway
	homes int
}

// A home's share of the ports, the first of them, and how many shares there are.
const (
	blockSize = 1024
	blocks    = 44
	firstPort = 20000
)

// Carrier adds a carrier to the lab, without homes: they come by RouterConfig.Carrier, 44 at most. It counts as one machine
// of the lab and takes about 40 ms.
func (l *Lab) Carrier(name string, c CarrierConfig) (*Carrier, error) {
	timeout, err := timeoutOr(c.UDPTimeout, defaultTimeout)
	if err != nil {
		return nil, fmt.Errorf("natlab: carrier %s: %w", name, err)
	}
	n, err := l.claim(name)
	if err != nil {
		return nil, err
	}
	near, far := newEnd("wan0", n, 2), newEnd("to-"+name, n, 1)
	far.ns = l.core
	m, err := l.machine(name, n, near, far, far)
	if err != nil {
		return nil, err
	}
	carrier := &Carrier{gateway: &gateway{
		machine: m, file: "carrier.nft", tracks: true, external: near.addr,
		rules: ruleSet{Timeout: timeout, Hairpin: c.Hairpin},
	}}
	if err := carrier.setUp(); err != nil {
		return nil, fmt.Errorf("natlab: set up carrier %s: %w", name, err)
	}
	return carrier, nil
}

// setUp makes a router of the machine.
func (c *Carrier) setUp() error {
	err := c.near.ns.do(func() error {
		return setSysctls("ipv4/ip_forward=1", "ipv6/conf/all/forwarding=1",
			"ipv4/conf/all/send_redirects=0", "ipv4/conf/default/send_redirects=0")
	})
	if err == nil {
		err = c.reload()
	}
	if err == nil {
		err = c.applyTimeout()
	}
	return err
}

// subscriber is an address of the n-th home's link to its carrier, or of its network if that begins after another second
// number and the carrier's is the only translation.
func subscriber(n, offset int, last byte) netip.Addr {
	return netip.AddrFrom4([4]byte{100, 64, byte(offset + n), last})
}

// admit gives the router's home, the last one that was connected, its ports and routes.
func (c *Carrier) admit(r *Router) error {
	homes := "{ " + network(r.near.addr).String() // a home may be renumbered
	if r.kind.rules4 == "" && r.lan.addr.IsValid() {
		homes += ", " + r.LAN().String()
	}
	first := firstPort + (c.homes-1)*blockSize
	c.mu.Lock()
	defer c.mu.Unlock()
	b := block{Homes: homes + " }", WAN: c.external, First: first, Last: first + blockSize - 1}
	rule, err := fill(c.file, "block", b)
	if err != nil {
		return err
	}
	if err := c.load(c.near.ns, "table ip natlab {\n\tchain blocks {"+rule+"\n\t}\n}\n"); err != nil {
		return err
	}
	c.rules.Blocks = append(c.rules.Blocks, b)
	routes := []route{{network(r.near.addr6), c.near.addr6}}
	if r.lan.addr6.IsValid() {
		routes = append(routes, route{r.LAN6(), c.near.addr6})
	}
	c.far.routes = append(c.far.routes, routes...)
	var commands []string
	for _, way := range routes {
		commands = append(commands, way.String())
		if c.core != nil {
			c.core.route(way.to, c.machine)
		}
	}
	return c.batch(c.far.ns, toolIP, commands...)
}
