package front

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"simplebit/wire/dial"
	"simplebit/wire/peer"
)

const (
	// helloPatience is the time in which a peer has to send its extension handshake.
	helloPatience = 30 * time.Second
	// guestTurn is how long who dialled us may stay where others wait for its place, or where it is to be dialled in its turn;
	// guestRest is the time between the two.
	guestTurn = time.Minute
	guestRest = 10 * time.Second
	// trickleEvery is the least time between two unverified addresses, and trickleQuiet how long there is none after a
	// verified one.
	trickleEvery = time.Second
	trickleQuiet = 10 * time.Second
	// refusedAgain is the time before it is noted again that addresses of one source were refused.
	refusedAgain = 10 * time.Minute
)

var (
	errNoHello  = errors.New("it sent no extension handshake")
	errNoUse    = errors.New("it exchanges no addresses")
	errPexFlood = errors.New("it floods with PEX messages")
	errPrivate  = errors.New("the torrent is private")
	errFull     = errors.New("there is no place left for another who dials us")
	errShunned  = errors.New("it sent wrong metadata before")
	errReplaced = errors.New("others who dial us wait for its place")
	errInTurn   = errors.New("it is to be dialled in its turn")
	errOurs     = errors.New("it is a device of ours")
)

// core decides what a presence does. It does no I/O: events come in by its methods, and poll gives back what is to be done. It
// gives numbers to what is dialled and connected; events of numbers that it does not know, or has dropped, are ignored.
type core struct {
	private  bool
	infoSize int // 0 while it is unknown
	hungry   bool
	max      int // links dialled, and as many of guests
	dialable func(netip.AddrPort) bool
	secluded bool                      // it has been noted that a device is where it may not be dialled
	refused  [numSources + 1]time.Time // when it was last noted that addresses of the source were refused

	book     book
	fetch    *fetch // nil when it is over
	dialling map[uint64]attempt
	links    []*link
	closing  map[uint64]bool // links that were dialled, dropped and not closed yet: each still holds a place
	lastID   uint64
	verified time.Time // when an address was last reported
	trickled time.Time // when an unverified one was
	out      steps
}

// attempt is a handshake in progress.
type attempt struct {
	entry *entry
	what  purpose
}

// link is a connection after its handshake.
type link struct {
	id      uint64
	entry   *entry // of a guest: not in the book
	home    *entry // where it may be reached, in the book; nil: unknown
	guest   bool   // it dialled us
	since   time.Time
	ext     peer.Extensions
	told    bool // its extension handshake has come
	port    bool // its PORT message has come
	pexes   allowance
	excess  int  // PEX messages beyond what is allowed
	helped  bool // it named addresses that were new
	pex     pexOut
	serving serving
}

// steps is what the loop has to do.
type steps struct {
	asks       []askStep
	serves     []askStep // pieces to send
	rejects    []askStep
	pexes      []pexStep
	hellos     []uint64 // our extension handshake has changed
	drops      []dropStep
	nodes      []netip.AddrPort // DHT nodes
	reachable  []Peer
	unverified netip.AddrPort
	learned    []byte
	notes      []string // for the log
	details    []string // for the log of who looks for them
}

type pexStep struct {
	id    uint64
	extID uint8
	pex   peer.Pex
}

func newCore(t Torrent, links int, dialable func(netip.AddrPort) bool, rnd *rand.Rand) *core {
	c := &core{
		private: t.Private, infoSize: t.InfoSize, max: links, dialable: dialable,
		book: newBook(rnd), dialling: map[uint64]attempt{}, closing: map[uint64]bool{},
	}
	if t.InfoSize == 0 {
		c.fetch = newFetch(t.InfoHash)
	}
	return c
}

// add takes addresses that from named, and returns how many of them were new.
func (c *core) add(now time.Time, addrs []netip.AddrPort, from Source, most int) (added int) {
	refused := 0
	for i, a := range addrs {
		if added == most {
			c.note("%d of %d addresses from %s ignored: more than %d at a time", len(addrs)-i, len(addrs), from, most)
			break
		}
		canon, ok := canonical(a)
		if ok && from == SourceDevice && !c.dialable(canon) {
			if !c.secluded {
				c.secluded = true
				c.note("a device takes peers at %v, which may not be contacted from here: nobody is told of it", canon)
			}
			continue
		}
		if !ok || !c.dialable(canon) || c.private && (from == SourcePEX || from == SourceDHT) {
			refused++
			continue
		}
		if c.book.add(now, canon, from) {
			added++
		}
		if from == SourceDevice {
			c.leave(now, c.book.byAddr[canon])
		}
	}
	if refused > 0 {
		c.refuse(now, refused, len(addrs), from)
	}
	return added
}

// refuse notes that addresses were refused: one alone, which often is our own, as trackers and peers have it, and what was
// noted a short while ago are details.
func (c *core) refuse(now time.Time, refused, all int, from Source) {
	why := fmt.Sprintf("%d of %d addresses from %s refused: nobody can have them, or they may not be contacted from here", refused, all, from)
	last := &c.refused[min(from, numSources)]
	if refused == 1 || now.Sub(*last) < refusedAgain {
		c.out.details = append(c.out.details, why)
		return
	}
	*last = now
	c.out.notes = append(c.out.notes, why)
}

// withdraw notes that no device takes peers at the address any more.
func (c *core) withdraw(addr netip.AddrPort) {
	addr, _ = canonical(addr)
	e := c.book.byAddr[addr]
	if e == nil {
		return
	}
	e.from &^= only(SourceDevice)
	if e.from == 0 && !e.banned && !e.suspect { // what is bad about it is remembered
		c.book.drop(e)
	}
}

// leave closes the connections with a device of ours, which is told of others by better means, and to which we are of no use.
func (c *core) leave(now time.Time, e *entry) {
	for _, k := range slices.Clone(c.links) {
		if e != nil && k.home == e {
			c.drop(now, k, errOurs, false)
		}
	}
}

// known notes that the info dictionary is known now.
func (c *core) known(now time.Time, infoSize int, private bool) {
	c.fetch = nil
	if private {
		c.private = true
		c.book.forget(only(SourcePEX) | only(SourceDHT))
		for _, k := range slices.Clone(c.links) {
			c.drop(now, k, errPrivate, false)
		}
	}
	if c.infoSize != infoSize {
		c.infoSize = infoSize
		for _, k := range c.links {
			c.out.hellos = append(c.out.hellos, k.id)
		}
	}
}

// unusable notes that a device could not use an address.
func (c *core) unusable(now time.Time, addr netip.AddrPort, lied bool) {
	d := unusableFor
	if lied {
		d = liedFor
	}
	c.book.mute(now, addr, d)
}

// dial returns the address to dial next, with a number; ok is false where there is none.
func (c *core) dial(now time.Time) (id uint64, at Peer, first, ok bool) {
	e, what := c.book.dial(now, c.need(now))
	if e == nil {
		return 0, at, false, false
	}
	c.lastID++
	c.dialling[c.lastID] = attempt{e, what}
	return c.lastID, Peer{e.addr, e.way}, e.untried(), true
}

// held notes that the handshake is not begun now, because another torrent has one in progress with the same address. Its turn
// comes when that is over, which freed says.
func (c *core) held(id uint64) {
	if a, ok := c.dialling[id]; ok {
		delete(c.dialling, id)
		a.entry.busy, a.entry.held = false, true
	}
}

// freed notes that no other torrent has a handshake in progress with the address.
func (c *core) freed(addr netip.AddrPort) {
	if e := c.book.byAddr[addr]; e != nil {
		e.held = false
	}
}

// failed notes that a handshake did not come about.
func (c *core) failed(now time.Time, id uint64, err error) {
	if a, ok := c.dialling[id]; ok {
		delete(c.dialling, id)
		c.book.failed(now, a.entry, hopeless(err), dial.HungUp(err))
	}
}

// connected notes that a handshake is done, and how, and reports whether the connection is to be kept.
func (c *core) connected(now time.Time, id uint64, theirs peer.Handshake, by dial.Way) bool {
	a, ok := c.dialling[id]
	if !ok {
		return false
	}
	delete(c.dialling, id)
	e := a.entry
	if c.book.byAddr[e.addr] != e {
		return false // forgotten meanwhile: nobody is to be told of it
	}
	places := c.places()
	e.plain, e.way = !theirs.Extended(), by
	if c.book.reached(now, e) {
		c.out.reachable = append(c.out.reachable, Peer{e.addr, e.way})
		c.verified = now
	}
	if places <= 0 || e.plain || c.private || c.fetch == nil && e.noPEX || e.from.has(SourceDevice) {
		e.busy = false
		e.next = now.Add(redialAfter)
		return false
	}
	c.join(now, &link{id: id, entry: e, home: e, since: now})
	return true
}

// accepted notes that a peer has dialled us, and returns the number of the connection, or why it is to be closed.
func (c *core) accepted(now time.Time, remote netip.AddrPort, theirs peer.Handshake) (uint64, error) {
	if c.book.shunned(now, remote.Addr()) {
		return 0, errShunned
	}
	if !theirs.Extended() {
		return 0, errNoExtensions
	}
	var oldest *link
	guests := 0
	for _, k := range c.links {
		if k.guest {
			guests++
			if oldest == nil {
				oldest = k
			}
		}
	}
	if guests >= c.max {
		if now.Sub(oldest.since) < guestTurn {
			return 0, errFull
		}
		c.drop(now, oldest, errReplaced, false)
	}
	c.lastID++
	e := &entry{addr: remote, from: only(SourceIncoming), busy: true}
	c.join(now, &link{id: c.lastID, entry: e, guest: true, since: now})
	return c.lastID, nil
}

func (c *core) join(now time.Time, k *link) {
	k.pexes = allowance{burst: pexBurst, every: pexTolerated}
	c.links = append(c.links, k)
	if c.fetch != nil {
		c.fetch.join(now, k.id, k.entry, k.guest)
	}
}

// gone notes that a connection is closed, because it failed or was dropped here.
func (c *core) gone(now time.Time, id uint64, err error) {
	if k := c.find(id); k != nil {
		c.remove(now, k, hopeless(err))
		if hopeless(err) {
			c.note("%v is left alone: %v", k.entry.addr, err)
		}
	}
	delete(c.closing, id)
}

// drop ends a connection from our side, and with forEver all dealings with its peer.
func (c *core) drop(now time.Time, k *link, why error, forEver bool) {
	c.remove(now, k, forEver)
	if !k.guest {
		c.closing[k.id] = true
	}
	c.out.drops = append(c.out.drops, dropStep{k.id, why, forEver})
	if forEver {
		c.note("%v is left alone: %v", k.entry.addr, why)
	}
}

func (c *core) remove(now time.Time, k *link, forEver bool) {
	c.links = slices.DeleteFunc(c.links, func(o *link) bool { return o == k })
	useful, pause := k.helped, pexRedial
	if c.fetch != nil {
		useful, pause = c.fetch.gone(k.id) || useful, redialAfter
	}
	if !k.guest {
		c.book.left(now, k.entry, useful, pause)
	} else if k.home != nil {
		k.home.guests--
		k.home.next = later(k.home.next, now.Add(guestRest))
	}
	if !forEver {
		return
	}
	k.entry.banned = true
	if k.home != nil {
		k.home.banned = true
	}
	if k.guest {
		c.book.mute(now, netip.AddrPortFrom(k.entry.addr.Addr(), 0), liedFor)
	}
	c.book.version++
}

// places returns how many more links may be dialled.
func (c *core) places() int {
	n := c.max - len(c.closing)
	if c.fetch == nil && !c.hungry {
		n = c.max/2 - len(c.closing)
	}
	for _, k := range c.links {
		if !k.guest {
			n--
		}
	}
	for _, a := range c.dialling {
		if a.what == forLink {
			n--
		}
	}
	return n
}

// need returns what addresses are to be dialled for now.
func (c *core) need(now time.Time) need {
	short, reachable := c.hungry || c.fetch != nil, c.book.countReachable(now)
	n := need{fresh: short || reachable < maxReachable, again: short || reachable < fewReachable, anyLink: c.fetch != nil}
	if !c.private {
		n.links = max(0, c.places())
	}
	return n
}

func (c *core) find(id uint64) *link {
	for _, k := range c.links {
		if k.id == id {
			return k
		}
	}
	return nil
}

func (c *core) note(format string, args ...any) {
	c.out.notes = append(c.out.notes, fmt.Sprintf(format, args...))
}
