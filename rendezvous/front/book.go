package front

import (
	"net/netip"
	"time"
)

const (
	// maxKnown bounds the addresses kept for a fetch.
	maxKnown = 2000
	// redialAfter is the time before an address is dialled again; it doubles with every failure in a row, up to
	// redialAfter << maxDoublings.
	redialAfter  = 30 * time.Second
	maxDoublings = 5
)

// entry is what a fetch knows of one address. It outlives connections.
type entry struct {
	addr    netip.AddrPort
	next    time.Time // not to be dialled before
	fails   int       // connections in a row that were of no use
	busy    bool      // connected or being dialled
	serial  bool      // fell silent when it was asked for several pieces at a time
	suspect bool      // had a part in metadata that did not match the info-hash
	banned  bool      // never to be dialled again
}

// book is the addresses of a fetch.
type book struct {
	byAddr map[netip.AddrPort]*entry
	order  []*entry // as they came
}

func (b *book) len() int { return len(b.order) }

// add enters an address. A full book lets go of the address that failed most often, but of no suspect, who would come back
// as a stranger.
func (b *book) add(addr netip.AddrPort) {
	addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	if !addr.IsValid() || b.byAddr[addr] != nil {
		return
	}
	e := &entry{addr: addr}
	if len(b.order) < maxKnown {
		b.order = append(b.order, e)
		b.byAddr[addr] = e
		return
	}
	worst := -1
	for i, o := range b.order {
		if !o.busy && !o.suspect && !o.banned && o.fails > 0 && (worst < 0 || o.fails > b.order[worst].fails) {
			worst = i
		}
	}
	if worst >= 0 {
		delete(b.byAddr, b.order[worst].addr)
		b.order[worst] = e
		b.byAddr[addr] = e
	}
}

// due returns the address to dial next: of those whose time has come the one that waits longest, new ones first. It is nil
// where none is due.
func (b *book) due(now time.Time) *entry {
	var best *entry
	for _, e := range b.order {
		if !e.busy && !e.banned && !e.next.After(now) && (best == nil || e.next.Before(best.next)) {
			best = e
		}
	}
	return best
}

// left notes that the connection to e is gone.
func (b *book) left(now time.Time, e *entry) {
	e.busy = false
	e.next = now.Add(redialAfter << min(e.fails, maxDoublings))
	e.fails++
}
