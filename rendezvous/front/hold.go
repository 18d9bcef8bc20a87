package front

import (
	"net/netip"
	"slices"
)

// hold reports whether c may begin a handshake with addr: all torrents together have one at a time in progress with it, for
// some clients drop all unfinished connections of one host but one (seen in Transmission 3.00). Where it may not, freed names
// the address when it may be tried again.
func (c *claim) hold(addr netip.AddrPort) bool {
	b := c.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	waiting, held := b.held[addr]
	if held && !slices.Contains(waiting, c) {
		waiting = append(waiting, c)
	}
	b.held[addr] = waiting
	return !held
}

// free ends a hold.
func (c *claim) free(addr netip.AddrPort) {
	b := c.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, o := range b.held[addr] {
		o.again = append(o.again, addr)
		o.wake()
	}
	delete(b.held, addr)
}

// freed returns the addresses for which c was waiting that nobody holds any more.
func (c *claim) freed() []netip.AddrPort {
	b := c.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	list := c.again
	c.again = nil
	return list
}

// wake lets the owner of c look at what it got.
func (c *claim) wake() {
	select {
	case c.ready <- struct{}{}:
	default:
	}
}
