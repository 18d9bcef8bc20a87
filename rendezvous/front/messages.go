package front

import (
	"net/netip"
	"time"

	"simplebit/wire/peer"
)

// extended takes what a peer has said of itself in all its extension handshakes.
func (c *core) extended(now time.Time, id uint64, ext peer.Extensions) {
	k := c.find(id)
	if k == nil {
		return
	}
	if !k.told {
		k.told, k.pex.next = true, now.Add(pexFirst)
	}
	k.ext = ext
	k.entry.noPEX = ext.PexID == 0
	k.entry.seed = k.entry.seed || ext.UploadOnly
	if k.guest && k.home == nil && ext.Port != 0 {
		listens := netip.AddrPortFrom(k.entry.addr.Addr(), ext.Port)
		c.add(now, []netip.AddrPort{listens}, SourceIncoming, 1)
		if k.home = c.book.byAddr[listens]; k.home != nil {
			k.home.guests++
			if k.home.from.has(SourceDevice) {
				c.drop(now, k, errOurs, false)
				return
			}
		}
	}
	if c.fetch != nil {
		c.fetch.extended(id, ext)
	}
	switch {
	case k.guest && c.private:
		c.drop(now, k, errPrivate, false)
	case !k.guest && c.fetch == nil && k.entry.noPEX:
		c.drop(now, k, errNoUse, false)
	}
}

// message takes a ut_metadata message.
func (c *core) message(now time.Time, id uint64, m peer.MetadataMessage) {
	k := c.find(id)
	switch {
	case k == nil:
	case m.Type == peer.MetadataRequest:
		c.request(now, k, m.Piece)
	case c.fetch != nil:
		c.fetch.message(now, id, m)
	}
}

// request decides about a request for metadata.
func (c *core) request(now time.Time, k *link, index uint32) {
	size := c.infoSize
	if c.private || k.ext.MetadataID == 0 {
		size = 0
	}
	step := askStep{k.id, k.ext.MetadataID, index}
	switch k.serving.request(now, size, index) {
	case serveIt:
		c.out.serves = append(c.out.serves, step)
	case rejectIt:
		if step.extID != 0 {
			c.out.rejects = append(c.out.rejects, step)
		}
	case dropIt:
		c.drop(now, k, errGreedy, false)
	}
}

// served notes that a piece of metadata that was to be sent has been, or cannot be.
func (c *core) served(id uint64) {
	if k := c.find(id); k != nil {
		k.serving.served()
	}
}

// exchanged takes a PEX message.
func (c *core) exchanged(now time.Time, id uint64, p peer.Pex) {
	k := c.find(id)
	if k == nil || c.private {
		return
	}
	if !k.pexes.take(now) {
		if k.excess++; k.excess == 1 {
			c.note("%v sends more than one PEX message a minute: the others are ignored", k.entry.addr)
		}
		if k.excess > maxPexExcess {
			c.drop(now, k, errPexFlood, true)
		}
		return
	}
	if p.Ignored > 0 {
		c.note("%v sent %d addresses in one PEX message: %d are ignored", k.entry.addr, len(p.Added)+len(p.Dropped)+p.Ignored, p.Ignored)
	}
	addrs := make([]netip.AddrPort, len(p.Added))
	for i, a := range p.Added {
		addrs[i] = a.Addr
	}
	k.helped = c.add(now, addrs, SourcePEX, pexKept) > 0 || k.helped
}

// node notes on which port the peer has its DHT node (BEP 5).
func (c *core) node(id uint64, port uint16) {
	if k := c.find(id); k != nil && !c.private && !k.port && port != 0 {
		k.port = true
		c.out.nodes = append(c.out.nodes, netip.AddrPortFrom(k.entry.addr.Addr(), port))
	}
}

// seeds notes that the peer has everything.
func (c *core) seeds(id uint64) {
	if k := c.find(id); k != nil {
		k.entry.seed = true
		if k.home != nil {
			k.home.seed = true
		}
	}
}
