package dht

import (
	"bytes"
	"math/bits"
	"net/netip"
	"slices"
	"time"
)

// Bounds of the nodes that count as known. The library's own table takes only nodes that are let in here.
const (
	goodFor    = 15 * time.Minute // after an answer (BEP 5)
	perBucket  = 16               // nodes whose ids share equally many leading bits with ours
	perNetwork = 8                // nodes of one /24 (IPv4) or /48 (IPv6)
	perAnswer  = 8                // nodes named to others (BEP 5)
)

// contact is a node that has answered us.
type contact struct {
	id       [20]byte
	answered time.Time
}

// contacts are the nodes of one family that have answered lately, at most one for each host: who runs a node under many ids
// or ports counts once, and who owns a network cannot fill the table. At most 160·perBucket, in practice about
// perBucket times the binary logarithm of the number of nodes in the world.
type contacts struct {
	self    [20]byte
	known   map[netip.AddrPort]contact
	hosts   map[netip.Prefix]netip.AddrPort
	nets    map[netip.Prefix]int
	buckets [161]int
}

func newContacts(self [20]byte) contacts {
	return contacts{
		self:  self,
		known: make(map[netip.AddrPort]contact),
		hosts: make(map[netip.Prefix]netip.AddrPort),
		nets:  make(map[netip.Prefix]int),
	}
}

// network is the part of an address in which only few nodes are believed to be independent of each other.
func network(a netip.Addr) netip.Prefix {
	size := 24
	if a.Is6() {
		size = 48
	}
	p, _ := a.Prefix(size)
	return p
}

// shared is the number of leading bits that two ids have in common.
func shared(a, b [20]byte) int {
	for i := range a {
		if x := a[i] ^ b[i]; x != 0 {
			return 8*i + bits.LeadingZeros8(x)
		}
	}
	return 160
}

// met notes that a node has answered, and reports whether it is let in. A node that is good already keeps its place against
// others of its host, its network and its bucket; one that has not answered for long does not.
func (c *contacts) met(n node, now time.Time) bool {
	if n.id == c.self || n.id == [20]byte{} {
		return false
	}
	h, net, bucket := host(n.addr.Addr()), network(n.addr.Addr()), shared(c.self, n.id)
	if at, ok := c.hosts[h]; ok {
		old := c.known[at]
		if old.id == n.id && at == n.addr {
			c.known[at] = contact{n.id, now}
			return true
		}
		if now.Sub(old.answered) < goodFor {
			return false
		}
		c.forget(at)
	}
	if c.nets[net] >= perNetwork && !c.forgetOldest(now, func(a netip.AddrPort, _ contact) bool { return network(a.Addr()) == net }) ||
		c.buckets[bucket] >= perBucket && !c.forgetOldest(now, func(_ netip.AddrPort, o contact) bool { return shared(c.self, o.id) == bucket }) {
		return false
	}
	c.known[n.addr] = contact{n.id, now}
	c.hosts[h] = n.addr
	c.nets[net]++
	c.buckets[bucket]++
	return true
}

// forgetOldest makes room among those of which is true, if one of them is no longer good.
func (c *contacts) forgetOldest(now time.Time, which func(netip.AddrPort, contact) bool) bool {
	var oldest netip.AddrPort
	at := now.Add(-goodFor)
	for a, o := range c.known {
		if !o.answered.After(at) && which(a, o) {
			oldest, at = a, o.answered
		}
	}
	if oldest.IsValid() {
		c.forget(oldest)
	}
	return oldest.IsValid()
}

func (c *contacts) forget(a netip.AddrPort) {
	net := network(a.Addr())
	if c.nets[net]--; c.nets[net] == 0 {
		delete(c.nets, net)
	}
	c.buckets[shared(c.self, c.known[a].id)]--
	delete(c.hosts, host(a.Addr()))
	delete(c.known, a)
}

// has reports whether a node is known at the host.
func (c *contacts) has(a netip.Addr) bool {
	_, ok := c.hosts[host(a)]
	return ok
}

// good counts the nodes that have answered in the last goodFor.
func (c *contacts) good(now time.Time) (n int) {
	for _, o := range c.known {
		if now.Sub(o.answered) < goodFor {
			n++
		}
	}
	return n
}

// closest returns up to perAnswer good nodes, those closest to the target first.
func (c *contacts) closest(target [20]byte, now time.Time) []node {
	var best []node
	for a, o := range c.known {
		if now.Sub(o.answered) >= goodFor {
			continue
		}
		i, _ := slices.BinarySearchFunc(best, o.id, func(n node, id [20]byte) int { return compareDistance(n.id, id, target) })
		if i == perAnswer {
			continue
		}
		best = slices.Insert(best, i, node{o.id, a})
		best = best[:min(len(best), perAnswer)]
	}
	return best
}

// compareDistance orders two ids by their distance from a target, the exclusive or.
func compareDistance(a, b, target [20]byte) int {
	for i := range target {
		a[i] ^= target[i]
		b[i] ^= target[i]
	}
	return bytes.Compare(a[:], b[:])
}

// latest returns up to most nodes, those that answered last first.
func (c *contacts) latest(most int) []node {
	nodes := make([]node, 0, len(c.known))
	for a, o := range c.known {
		nodes = append(nodes, node{o.id, a})
	}
	slices.SortFunc(nodes, func(a, b node) int { return c.known[b.addr].answered.Compare(c.known[a.addr].answered) })
	return nodes[:min(len(nodes), most)]
}
