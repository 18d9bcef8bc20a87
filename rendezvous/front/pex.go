package front

import (
	"net/netip"
	"time"

	"simplebit/wire/dial"
	"simplebit/wire/peer"
)

const (
	// pexID is the extended message id under which peers are to send ut_pex to us (BEP 10).
	pexID = 1
	// pexEvery is the least time between two PEX messages to one peer: "no more than once a minute" (BEP 11).
	pexEvery = time.Minute
	// pexFirst is how long after its extension handshake a peer gets the first: a little later there is more to tell.
	pexFirst = time.Second
	// pexRedial is the time before a peer is connected to again for PEX alone.
	pexRedial = 5 * time.Minute
	// pexMost is how many addresses one message adds, and how many it drops: "should not exceed 50 entries" (BEP 11).
	pexMost = 50
	// pexKept is how many new addresses are taken from one message.
	pexKept = 100
	// A peer may send pexBurst messages at once and then one every pexTolerated, which is twice what BEP 11 permits; what is
	// beyond is not read, and one that sends maxPexExcess of these is left for good.
	pexBurst     = 3
	pexTolerated = 30 * time.Second
	maxPexExcess = 20
)

// pexOut is what one peer has been told.
type pexOut struct {
	told map[netip.AddrPort]bool
	next time.Time // no message before
	seen int       // version of the book that it reflects; 0: none
}

// message returns what to tell a peer of these addresses, and whether there is anything. own is the peer itself.
func (p *pexOut) message(now time.Time, reachable []*entry, own *entry) (peer.Pex, bool) {
	var m peer.Pex
	if p.told == nil {
		p.told = map[netip.AddrPort]bool{}
	}
	is := make(map[netip.AddrPort]bool, len(reachable))
	whole := true
	for _, e := range reachable {
		is[e.addr] = true
		switch {
		case e == own || p.told[e.addr]:
		case len(m.Added) == pexMost:
			whole = false
		default:
			flags := peer.PexReachable // "outgoing connection, peer is reachable"
			if e.seed {
				flags |= peer.PexSeed
			}
			if e.way.Transport == dial.UTP {
				flags |= peer.PexUTP
			}
			if e.way.Encrypted {
				flags |= peer.PexEncryption
			}
			m.Added = append(m.Added, peer.PexPeer{Addr: e.addr, Flags: flags})
			p.told[e.addr] = true
		}
	}
	for a := range p.told {
		switch {
		case is[a]:
		case len(m.Dropped) == pexMost:
			whole = false
		default:
			m.Dropped = append(m.Dropped, a)
			delete(p.told, a)
		}
	}
	if len(m.Added)+len(m.Dropped) == 0 {
		return m, false
	}
	if !whole {
		p.seen = 0 // the rest is due with the next message
	}
	p.next = now.Add(pexEvery)
	return m, true
}

// allowance lets something happen burst times at once and then once in every period.
type allowance struct {
	burst int
	every time.Duration
	used  time.Duration // of what burst × every allows, at the time last
	last  time.Time
}

// take reports whether it may happen now.
func (a *allowance) take(now time.Time) bool {
	a.used = max(0, a.used-now.Sub(a.last))
	a.last = now
	if a.used+a.every > time.Duration(a.burst)*a.every {
		return false
	}
	a.used += a.every
	return true
}
