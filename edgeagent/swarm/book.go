package swarm

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"simplebit/wire/dial"
)

const (
	// maxKnown bounds the addresses kept for one torrent.
	maxKnown = 500
	// An address that failed waits firstWait, then twice as long each time, up to longestWait; all of it up to a
	// quarter longer at random.
	firstWait   = 15 * time.Second
	longestWait = 30 * time.Minute
	// Who took the connection and hung up is dialled again after soonWait, twice as long each time, and counts as failed only
	// after patientTries of them in a row: it may still hold a connection of ours that died with our last process, or be
	// starting (seen in qBittorrent 4.5 and Transmission 3.00).
	soonWait     = 2 * time.Second
	patientTries = 4
)

// An address is what is known of one place at which a peer may be reached.
type address struct {
	at        netip.AddrPort
	due       time.Time // not to be dialled before
	failures  int       // in a row
	hangUps   int       // in a row, before any of these
	way       dial.Way  // how it was reached the last time, by us or by who named it
	reachable bool      // somebody has had a handshake from it
	busy      bool      // being dialled, or connected
	seed      bool      // has everything, so that it is useless to us once we have too
	banned    bool
}

// A book holds the addresses at which the torrent's peers may be reached, and decides which to dial next.
type book struct {
	list  []*address
	index map[netip.AddrPort]*address
	rng   *rand.Rand
}

func newBook(rng *rand.Rand) *book {
	return &book{index: make(map[netip.AddrPort]*address), rng: rng}
}

// add returns the address's entry, a new one if need be, and nil when it is none a peer can have or the book is full of
// better ones.
func (b *book) add(at netip.AddrPort, reachable bool) *address {
	at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	if a := b.index[at]; a != nil {
		a.reachable = a.reachable || reachable
		return a
	}
	if !at.IsValid() || at.Port() == 0 || at.Addr().IsUnspecified() || at.Addr().IsMulticast() {
		return nil
	}
	if len(b.list) >= maxKnown && !b.evict(reachable) {
		return nil
	}
	a := &address{at: at, reachable: reachable}
	b.list = append(b.list, a)
	b.index[at] = a
	return a
}

// evict forgets the idle address that has failed most often, if one has failed at all, or else, for a reachable one, an
// unverified one.
func (b *book) evict(reachable bool) bool {
	worst := -1
	for i, a := range b.list {
		if a.busy || a.banned || a.failures == 0 && (a.reachable || !reachable) {
			continue
		}
		if worst < 0 || a.failures > b.list[worst].failures {
			worst = i
		}
	}
	if worst < 0 {
		return false
	}
	delete(b.index, b.list[worst].at)
	b.list = slices.Delete(b.list, worst, worst+1)
	return true
}

// next returns the address to dial now, or nil: a reachable one, or an unverified one. Those that never failed go first.
func (b *book) next(now time.Time, reachable, seeding bool) *address {
	var best *address
	for _, a := range b.list {
		if a.reachable != reachable || a.busy || a.banned || seeding && a.seed || a.due.After(now) {
			continue
		}
		if best == nil || a.failures < best.failures {
			best = a
		}
	}
	return best
}

// failed records that dialling the address, or the connection that came of it, was of no use.
func (b *book) failed(a *address, now time.Time) {
	wait := min(firstWait<<min(a.failures, 20), longestWait)
	a.failures++
	a.reachable = false
	b.wait(a, now, wait)
}

// hungUp reports whether an address at which somebody took the connection and hung up is to be tried again soon. Else it has
// failed.
func (b *book) hungUp(a *address, now time.Time) (soon bool) {
	if a.hangUps == patientTries || a.failures > 0 {
		return false
	}
	b.wait(a, now, soonWait<<a.hangUps)
	a.hangUps++
	return true
}

// closed records the end of a connection that was of use: it is worth coming back soon.
func (b *book) closed(a *address, now time.Time) {
	a.failures, a.hangUps = 0, 0
	b.wait(a, now, firstWait)
}

func (b *book) wait(a *address, now time.Time, d time.Duration) {
	a.busy = false
	a.due = now.Add(d + time.Duration(b.rng.Int64N(int64(d/4))))
}
