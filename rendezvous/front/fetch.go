package front

import (
	"crypto/sha1"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"simplebit/wire/peer"
)

const (
	// pipeline is how many pieces a peer is asked for at a time in the end. It starts with one, so that no mute peer sits
	// on much, and gets twice as many after each piece that comes quickly; one that takes slowAnswer or longer comes from a
	// client that answers in batches, so there all of them are asked for. Transmission does so every few seconds, and
	// rejects requests above 64.
	pipeline   = 32
	slowAnswer = time.Second
	// patience is how long a connection may be of no use before it is given up.
	patience = 30 * time.Second
	// idle is how long ago a peer that counts among those at work was of use.
	idle = 5 * time.Second
	// turn is how long a connection lasts where other addresses wait for its place.
	turn = 3 * time.Minute
	// maxStray is how many ut_metadata messages a peer may send that nobody asked for; a change of mind about the size
	// counts as a third of it.
	maxStray = 64
	// budget bounds the sizes of all assemblies together, in bytes.
	budget = 2 * MaxMetadata
	// tick is how often time-outs are looked at while there are connections.
	tick = 500 * time.Millisecond
)

var (
	errUseless  = errors.New("it was of no use for 30 seconds")
	errTurn     = errors.New("others wait for its place")
	errNoIDs    = errors.New("it does not serve metadata")
	errSize     = errors.New("it claims metadata of an impossible size")
	errMismatch = errors.New("its metadata does not match the info-hash")
	errContrary = errors.New("its metadata contradicts the size it claims")
	errUnasked  = errors.New("it sends metadata messages that nobody asked for")
)

// fetch is the core of a metadata fetch. It does no I/O: events come in by its methods, and poll gives back what is to be
// done. The numbers of connections are its own; events of connections that it has dropped are ignored.
type fetch struct {
	infoHash [20]byte
	max      int
	book     book
	conns    []*conn
	closing  map[uint64]bool // dropped here, and not closed yet: each still holds a place
	parts    []*assembly
	info     []byte // the result, verified
	lastID   uint64
	out      steps
}

// conn is a connection, dialled or still being dialled.
type conn struct {
	id      uint64
	entry   *entry
	since   time.Time // of the dial
	useful  time.Time // when it last was: connected, or delivered a piece
	up      bool
	ext     peer.Extensions
	in      *assembly            // that it contributes to, of the size it claims; nil where it cannot or must wait
	asked   map[uint32]time.Time // pieces of that size asked for and not come, with the time
	refused map[uint32]time.Time // pieces rejected, with the end of that
	window  int                  // how many pieces it may be asked for at a time
	stray   int
}

// awaits reports whether piece i may still come.
func (c *conn) awaits(now time.Time, i uint32) bool {
	at, ok := c.asked[i]
	return ok && now.Sub(at) < askTimeout
}

// serial reports whether the peer must be asked for one piece at a time: it once fell silent over more, or it is rTorrent,
// which stops reading for good when a request comes before the one before it is answered, and then refuses new connections
// from the same host (seen in libTorrent 0.13.8, which must not be taken for libtorrent).
func (c *conn) serial() bool {
	return c.entry.serial || strings.HasPrefix(c.ext.Version, "libTorrent 0.")
}

// steps is what the loop has to do.
type steps struct {
	dials []dialStep
	asks  []askStep
	drops []dropStep
	notes []string // for the log
}

type dialStep struct {
	id   uint64
	addr netip.AddrPort
}

type askStep struct {
	id    uint64
	extID uint8 // under which the peer wants ut_metadata
	piece uint32
}

type dropStep struct {
	id   uint64
	addr netip.AddrPort
	why  error
}

func newFetch(infoHash [20]byte, maxPeers int) *fetch {
	return &fetch{
		infoHash: infoHash,
		max:      maxPeers,
		book:     book{byAddr: make(map[netip.AddrPort]*entry)},
		closing:  make(map[uint64]bool),
	}
}

// candidate takes an address at which a peer may be.
func (f *fetch) candidate(addr netip.AddrPort) { f.book.add(addr) }

// connected notes that the handshake is done.
func (f *fetch) connected(now time.Time, id uint64) {
	if c := f.find(id); c != nil {
		c.up, c.useful = true, now
	}
}

// gone notes that a connection is closed, because it failed, or could not be made, or was dropped here.
func (f *fetch) gone(now time.Time, id uint64, err error) {
	if c := f.find(id); c != nil {
		f.drop(now, c, err, hopeless(err))
	}
	delete(f.closing, id)
}

// extended takes what a peer has said of itself in all its extension handshakes.
func (f *fetch) extended(now time.Time, id uint64, ext peer.Extensions) {
	c := f.find(id)
	switch {
	case c == nil:
	case ext.MetadataID == 0:
		f.drop(now, c, errNoIDs, false)
	case ext.MetadataSize > MaxMetadata:
		f.drop(now, c, fmt.Errorf("%w: %d bytes", errSize, ext.MetadataSize), true)
	default:
		if ext.MetadataSize != c.ext.MetadataSize {
			c.leave()
			if c.ext.MetadataSize != 0 {
				c.stray += maxStray / 3 // each new size may cost an assembly
			}
		}
		c.ext = ext // its size may be 0 as yet: then it has no metadata itself
		if c.stray > maxStray {
			f.drop(now, c, errContrary, true)
		}
	}
}

// message takes a ut_metadata message.
func (f *fetch) message(now time.Time, id uint64, m peer.MetadataMessage) {
	c := f.find(id)
	if c == nil {
		return
	}
	since, asked := c.asked[m.Piece]
	if !asked || m.Type != peer.MetadataData && m.Type != peer.MetadataReject {
		if c.stray++; c.stray > maxStray {
			f.drop(now, c, errUnasked, true)
		}
		return
	}
	delete(c.asked, m.Piece)
	a := c.in
	if a == nil {
		return
	}
	if m.Type == peer.MetadataReject {
		c.refused[m.Piece] = now.Add(refusalLasts)
		a.pieces[m.Piece].asked = time.Time{}
		return
	}
	if m.TotalSize != 0 && m.TotalSize != a.size || len(m.Data) != a.length(m.Piece) {
		f.drop(now, c, errContrary, true)
		return
	}
	c.useful, c.entry.fails = now, 0
	switch {
	case c.serial():
	case now.Sub(since) >= slowAnswer:
		c.window = pipeline
	default:
		c.window = min(2*c.window, pipeline)
	}
	if !a.put(m.Piece, m.Data, c.entry) {
		return
	}
	if info := a.join(); sha1.Sum(info) == f.infoHash {
		f.info = info
		return
	}
	f.mismatch(now, a)
}

// mismatch draws the conclusion from an assembly that is whole and wrong: who made it alone has lied, of several any may
// have.
func (f *fetch) mismatch(now time.Time, a *assembly) {
	f.abandon(a)
	who := a.contributors()
	if len(who) == 1 {
		f.drop(now, f.connOf(who[0]), errMismatch, true)
		return
	}
	f.note("%d bytes from %d peers do not match the info-hash; trying each of them alone", a.size, len(who))
	for _, e := range who {
		e.suspect = true
		// Meanwhile it may have left, or come back without having told a size, or told another one.
		if c := f.connOf(e); c != nil && c.ext.MetadataSize == a.size && f.assign(c) {
			c.in.adopt(a)
		}
	}
}

// poll returns what is to be done now, and when to poll again if nothing happens until then.
func (f *fetch) poll(now time.Time) (steps, time.Time) {
	waiting := len(f.conns)+len(f.closing) >= f.max && f.book.due(now) != nil
	for _, c := range slices.Clone(f.conns) {
		switch {
		case now.Sub(c.useful) >= patience:
			c.entry.serial = c.entry.serial || c.window > 1
			f.drop(now, c, errUseless, false)
		case waiting && now.Sub(c.since) >= turn:
			f.drop(now, c, errTurn, false)
		}
	}
	for _, c := range f.conns {
		if c.up && c.ext.MetadataID != 0 && c.ext.MetadataSize > 0 && f.assign(c) {
			f.ask(now, c)
		}
	}
	for len(f.conns)+len(f.closing) < f.max {
		e := f.book.due(now)
		if e == nil {
			break
		}
		f.lastID++
		e.busy = true
		c := &conn{id: f.lastID, entry: e, since: now, useful: now, window: 1, asked: map[uint32]time.Time{}, refused: map[uint32]time.Time{}}
		f.conns = append(f.conns, c)
		f.out.dials = append(f.out.dials, dialStep{c.id, e.addr})
	}
	out := f.out
	f.out = steps{}
	return out, f.wake(now)
}

// ask fills the pipeline of a peer.
func (f *fetch) ask(now time.Time, c *conn) {
	waiting := 0
	for i := range c.asked {
		if c.awaits(now, i) {
			waiting++
		}
	}
	for limit := min(c.window, f.share(now, c)); waiting < limit; waiting++ {
		after := hedge
		if waiting == 0 {
			after = hedgeIdle
		}
		i, ok := c.in.choose(now, c, after)
		if !ok {
			return
		}
		p := &c.in.pieces[i]
		p.asked = now
		p.asks++
		c.asked[i] = now
		f.out.asks = append(f.out.asks, askStep{c.id, c.ext.MetadataID, i})
	}
}

// wake returns the next time at which something is due.
func (f *fetch) wake(now time.Time) time.Time {
	if len(f.conns)+len(f.closing) > 0 {
		return now.Add(tick)
	}
	next := now.Add(redialAfter)
	for _, e := range f.book.order {
		if !e.banned && e.next.Before(next) {
			next = e.next
		}
	}
	return next
}

// status returns what the fetch has.
func (f *fetch) status() MetadataStatus {
	var s MetadataStatus
	for _, c := range f.conns {
		if c.up {
			s.Peers++
		}
	}
	best := 0.0
	for _, a := range f.parts {
		if done := float64(a.have) / float64(len(a.pieces)); s.Pieces == 0 || done > best {
			best, s.Pieces, s.Have = done, len(a.pieces), a.have
		}
	}
	return s
}

func (f *fetch) note(format string, args ...any) {
	f.out.notes = append(f.out.notes, fmt.Sprintf(format, args...))
}

func (f *fetch) find(id uint64) *conn {
	for _, c := range f.conns {
		if c.id == id {
			return c
		}
	}
	return nil
}

func (f *fetch) connOf(e *entry) *conn {
	for _, c := range f.conns {
		if c.entry == e {
			return c
		}
	}
	return nil
}

// drop ends a connection, for ever where that is told. What it asked for is free to be asked for elsewhere at once.
func (f *fetch) drop(now time.Time, c *conn, why error, forEver bool) {
	f.conns = slices.DeleteFunc(f.conns, func(o *conn) bool { return o == c })
	if c.in != nil {
		for i := range c.asked {
			c.in.pieces[i].asked = time.Time{}
		}
	}
	c.entry.banned = c.entry.banned || forEver
	f.book.left(now, c.entry)
	f.closing[c.id] = true
	f.out.drops = append(f.out.drops, dropStep{c.id, c.entry.addr, why})
}
