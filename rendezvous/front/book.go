package front

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"simplebit/wire/dial"
)

// Source is who named an address. Those with more trust come later: where a full book has to choose, they go before.
type Source uint8

// Who may name an address.
const (
	SourcePEX      Source = iota // a peer told of it (BEP 11)
	SourceDHT                    // a DHT node told of it (BEP 5)
	SourceIncoming               // a peer that dialled front told that it takes peers there (BEP 10, p)
	SourceTracker                // a tracker told of it
	SourceMagnet                 // the magnet link names it (BEP 9, x.pe)
	SourceDevice                 // a device of ours takes peers there; its address is kept until it is withdrawn
	numSources
)

// String names the source for the log.
func (s Source) String() string {
	names := [...]string{"PEX", "DHT", "incoming peers", "a tracker", "the magnet link", "a device", "an unknown source"}
	return names[min(s, numSources)]
}

// sources is a set of them; the larger number is the more trusted set.
type sources uint8

func only(s Source) sources           { return 1 << s }
func (s sources) has(one Source) bool { return s&only(one) != 0 }

const (
	// maxKnown bounds the addresses of a torrent.
	maxKnown = 2000
	// maxPerHost bounds those that strangers named of one IPv4 address, or IPv6 network of 64 bits: what anybody can make front
	// send to somebody who did not ask, and how much of the book one of them can take.
	maxPerHost = 64
	// maxReachable is how many addresses are called reachable, to devices and peers.
	maxReachable = 200
	// fewReachable is how many are so few that others are tried again even if nobody is hungry.
	fewReachable = 10
	// redialAfter is the time before an address is dialled again; it doubles with every failure in a row, up to redialMost.
	redialAfter = 30 * time.Second
	redialMost  = 30 * time.Minute
	// redialSoon is the time instead of the first where somebody took the connection and hung up: clients do so while they
	// start (seen in qBittorrent 4.5), or where another connection comes from the same host (Transmission 3.00). It doubles with
	// the second time, and each has up to a half added by chance.
	redialSoon = 5 * time.Second
	// hopelessFor is the time before an address is dialled again where something answered that is no peer of this torrent.
	hopelessFor = 24 * time.Hour
	// freshFor is how long a verification holds for a torrent that is short of peers.
	freshFor = 30 * time.Minute
	// reportAgain is the time after which a verified address is reported again when it is met again.
	reportAgain = 10 * time.Minute
	// offerAfter is how long an address must have been known to be told of unverified: most are verified by then.
	// offerAgain is the time before it is told of again.
	offerAfter = 3 * time.Second
	offerAgain = 30 * time.Minute
	// Times for which addresses that a device could not use are not told of.
	unusableFor = 30 * time.Minute
	liedFor     = 24 * time.Hour
)

// entry is what is known of one address. It outlives connections.
type entry struct {
	addr     netip.AddrPort
	from     sources
	added    time.Time
	next     time.Time // not to be dialled before
	verified time.Time // when the last handshake succeeded; zero: never
	reported time.Time // when it was last told of as reachable
	offered  time.Time // when it was last told of unverified
	muted    time.Time // not to be told of, nor dialled, until then
	fails    int       // handshakes in a row that failed
	useless  int       // links in a row that were of no use
	way      dial.Way  // how the last handshake succeeded
	busy     bool      // linked or being dialled
	held     bool      // another torrent has a handshake in progress with it: its turn comes after that
	alive    bool      // somebody took the last connection and hung up
	guests   int       // connections that it has made to us: dialled meanwhile, some clients close both
	plain    bool      // verified, but has no extension protocol: of no use to front itself
	noPEX    bool      // does not speak PEX
	seed     bool      // said that it has everything
	serial   bool      // fell silent when it was asked for several pieces of metadata at a time
	suspect  bool      // had a part in metadata that did not match the info-hash
	banned   bool      // lied or broke the protocol: never to be dialled or told of again
}

// reachable reports whether a peer can be had at the address, as far as is known: clients that have just been left may refuse
// the next connection, so one failure does not count.
func (e *entry) reachable(now time.Time) bool {
	return !e.verified.IsZero() && e.fails < 2 && !e.banned && !e.muted.After(now)
}

func (e *entry) untried() bool { return e.verified.IsZero() && e.fails == 0 }

// need is for what addresses are dialled.
type need struct {
	fresh   bool // those never tried
	again   bool // those that failed, and those verified long ago
	links   int  // verified ones, for so many connections
	anyLink bool // with or without PEX
}

// purpose is for what one address is dialled.
type purpose int

const (
	forNothing purpose = iota
	forVerifying
	forLink
)

// due returns for what e is to be dialled, and from when on.
func (n need) due(now time.Time, e *entry) (purpose, time.Time) {
	if e.busy || e.held || e.guests > 0 || e.banned {
		return forNothing, time.Time{}
	}
	at := later(e.next, e.muted)
	switch {
	case e.untried():
		if n.fresh {
			return forVerifying, at
		}
	case n.links > 0 && e.reachable(now) && !e.plain && (n.anyLink || !e.noPEX) && !e.from.has(SourceDevice):
		return forLink, at
	case n.again && e.reachable(now):
		return forVerifying, later(at, e.verified.Add(freshFor))
	case n.again:
		return forVerifying, at
	}
	return forNothing, time.Time{}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func sooner(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// book is the addresses of a torrent: which to dial next, and which to tell of.
type book struct {
	rnd    *rand.Rand
	byAddr map[netip.AddrPort]*entry
	order  []*entry
	byHost map[netip.Prefix]int         // how many
	turn   int                          // of the sources, for new addresses
	shun   map[netip.AddrPort]time.Time // those muted, known or not, with the end of that; port 0 stands for who dialled us
	// version changes with the set of reachable addresses.
	version int // above 0
}

func newBook(rnd *rand.Rand) book {
	return book{
		version: 1, rnd: rnd, byAddr: map[netip.AddrPort]*entry{}, byHost: map[netip.Prefix]int{}, shun: map[netip.AddrPort]time.Time{},
	}
}

func (b *book) len() int { return len(b.order) }

// canonical returns the address as the book has it; ok is false where nobody can have it.
func canonical(a netip.AddrPort) (_ netip.AddrPort, ok bool) {
	a = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	ip := a.Addr()
	return a, ip.IsValid() && a.Port() != 0 && !ip.IsUnspecified() && !ip.IsMulticast()
}

// add enters an address that can be one, and reports whether it is new. A full book takes it only if it finds one to let go.
func (b *book) add(now time.Time, addr netip.AddrPort, from Source) bool {
	addr, ok := canonical(addr)
	if !ok {
		return false
	}
	if e := b.byAddr[addr]; e != nil {
		e.from |= only(from)
		if from == SourceDevice && !e.reachable(now) {
			e.fails, e.next = 0, now // it takes peers of the torrent from now on, whatever it did before
		}
		return false
	}
	if from != SourceDevice && b.byHost[host(addr.Addr())] >= maxPerHost {
		return false
	}
	if len(b.order) >= maxKnown && !b.makeRoom(now, only(from)) {
		return false
	}
	e := &entry{addr: addr, from: only(from), added: now, muted: b.shun[addr]}
	b.order = append(b.order, e)
	b.byAddr[addr] = e
	b.byHost[host(addr.Addr())]++
	return true
}

// makeRoom lets go of the address that failed most often, else of one that was not tried yet and comes from a less trusted
// source, else of a liar, who may then come back as a stranger.
func (b *book) makeRoom(now time.Time, from sources) bool {
	worst, most := -1, 0
	for i, e := range b.order {
		score := 0
		switch {
		case e.busy || e.guests > 0 || e.from.has(SourceDevice) || e.reachable(now):
		case e.suspect || e.banned:
			score = 1
		case e.fails > 0:
			score = 3 + e.fails
		case e.from < from:
			score = 2
		}
		if score > most {
			worst, most = i, score
		}
	}
	if worst < 0 {
		return false
	}
	b.remove(worst)
	return true
}

func (b *book) remove(i int) {
	e := b.order[i]
	delete(b.byAddr, e.addr)
	h := host(e.addr.Addr())
	if b.byHost[h]--; b.byHost[h] == 0 {
		delete(b.byHost, h)
	}
	last := len(b.order) - 1
	b.order[i] = b.order[last]
	b.order[last] = nil
	b.order = b.order[:last]
	b.version++
}

// drop forgets an address, if it is known.
func (b *book) drop(e *entry) {
	if i := slices.Index(b.order, e); i >= 0 {
		b.remove(i)
	}
}

// forget drops every address that only the sources told of.
func (b *book) forget(told sources) {
	for i := len(b.order) - 1; i >= 0; i-- {
		if e := b.order[i]; e.from&^told == 0 {
			b.remove(i)
		}
	}
}

// survey returns how many addresses are due, and when the next one will be that is not; zero: none.
func (b *book) survey(now time.Time, n need) (due int, wake time.Time) {
	links := 0
	for _, e := range b.order {
		switch what, at := n.due(now, e); {
		case what == forNothing:
		case at.After(now):
			if wake.IsZero() || at.Before(wake) {
				wake = at
			}
		case what == forVerifying:
			due++
		case links < n.links:
			links++
			due++
		}
	}
	return due, wake
}

// dial returns the address to dial next, and marks it as busy: verified ones where connections are wanted, the longest waiting
// first; then new ones at random, each source in its turn, so that none can hide what another found behind thousands of its
// own; then the longest waiting of the others. It is nil where none is due.
func (b *book) dial(now time.Time, n need) (*entry, purpose) {
	var link, old *entry
	var fresh [numSources]*entry
	var seen [numSources]int
	for _, e := range b.order {
		what, at := n.due(now, e)
		switch {
		case what == forNothing || at.After(now):
		case what == forLink:
			if link == nil || e.next.Before(link.next) {
				link = e
			}
		case e.untried():
			s := e.from.best()
			if seen[s]++; b.rnd.IntN(seen[s]) == 0 {
				fresh[s] = e
			}
		case old == nil || e.next.Before(old.next):
			old = e
		}
	}
	if link != nil {
		link.busy = true
		return link, forLink
	}
	for range fresh {
		b.turn = (b.turn + int(numSources) - 1) % int(numSources)
		if e := fresh[b.turn]; e != nil {
			e.busy = true
			return e, forVerifying
		}
	}
	if old != nil {
		old.busy = true
		return old, forVerifying
	}
	return nil, forNothing
}

// waiting reports whether a verified address waits for a connection.
func (b *book) waiting(now time.Time) bool {
	for _, e := range b.order {
		if what, at := (need{links: 1, anyLink: true}).due(now, e); what == forLink && !at.After(now) {
			return true
		}
	}
	return false
}

func (s sources) best() Source {
	for i := numSources - 1; i > 0; i-- {
		if s.has(i) {
			return i
		}
	}
	return 0
}

// reached notes a handshake with e, and reports whether it is to be told of as reachable.
func (b *book) reached(now time.Time, e *entry) bool {
	if !e.reachable(now) {
		b.version++
	}
	e.verified, e.fails = now, 0
	if !e.reachable(now) || now.Sub(e.reported) < reportAgain {
		return false
	}
	e.reported = now
	return true
}

// failed notes that no handshake came about: because what is there is no peer of this torrent, or somebody hung up, or neither.
func (b *book) failed(now time.Time, e *entry, hopeless, hungUp bool) {
	was := e.reachable(now)
	e.busy = false
	e.fails++
	e.alive = hungUp && !hopeless
	e.next = now.Add(backOff(e.fails))
	switch {
	case hopeless:
		e.fails += 10
		e.next = now.Add(hopelessFor)
	case hungUp && e.fails <= 2 && e.verified.IsZero():
		pause := redialSoon * time.Duration(e.fails)
		e.next = now.Add(pause + time.Duration(b.rnd.Int64N(int64(pause/2))))
	case hungUp && e.verified.IsZero():
		e.next = now.Add(backOff(e.fails - 2))
	}
	if was && !e.reachable(now) {
		b.version++
	}
}

// left notes that the connection to e, which had succeeded, is gone; useful says whether it was of any use. It is not dialled
// again before the pause, or longer if there was no use in it again and again.
func (b *book) left(now time.Time, e *entry, useful bool, pause time.Duration) {
	e.busy = false
	if useful {
		e.useless = 0
	}
	e.useless++
	e.next = now.Add(max(pause, backOff(e.useless)))
}

// backOff is the pause after so many failures in a row, at least one.
func backOff(failures int) time.Duration {
	return min(redialAfter<<min(failures-1, 10), redialMost)
}
