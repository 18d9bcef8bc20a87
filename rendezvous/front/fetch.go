package front

import (
	"crypto/sha1"
	"errors"
	"fmt"
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
	// maxAssembled bounds the sizes of all assemblies of a fetch together, in bytes.
	maxAssembled = 2 * MaxMetadata
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
// done. Events of connections that it does not have, or has dropped, are ignored.
type fetch struct {
	infoHash [20]byte
	conns    []*conn
	parts    []*assembly
	info     []byte // the result, verified
	out      fetchSteps
}

// conn is a connection that may be of use for metadata.
type conn struct {
	id      uint64
	entry   *entry
	since   time.Time // of the handshake
	useful  time.Time // when it last was: connected, or delivered a piece
	guest   bool      // it dialled us: it takes nobody's place, and may have come for something else
	ext     peer.Extensions
	in      *assembly            // that it contributes to, of the size it claims; nil where it cannot or must wait
	asked   map[uint32]time.Time // pieces of that size asked for and not come, with the time
	refused map[uint32]time.Time // pieces rejected, with the end of that
	window  int                  // how many pieces it may be asked for at a time
	stray   int
	gave    bool // a piece, at least
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

// fetchSteps is what is to be done for the metadata.
type fetchSteps struct {
	asks  []askStep
	drops []dropStep
	notes []string // for the log
}

type askStep struct {
	id    uint64
	extID uint8 // under which the peer wants ut_metadata
	piece uint32
}

type dropStep struct {
	id      uint64
	why     error
	forEver bool
}

func newFetch(infoHash [20]byte) *fetch { return &fetch{infoHash: infoHash} }

// join takes a connection after its handshake. The peer dialled us if it is a guest.
func (f *fetch) join(now time.Time, id uint64, e *entry, guest bool) {
	f.conns = append(f.conns, &conn{
		id: id, entry: e, since: now, useful: now, guest: guest, window: 1,
		asked: map[uint32]time.Time{}, refused: map[uint32]time.Time{},
	})
}

// gone notes that a connection is closed, and reports whether the fetch had it and it was of use.
func (f *fetch) gone(id uint64) (useful bool) {
	c := f.find(id)
	if c == nil {
		return false
	}
	f.remove(c)
	return c.gave
}

// extended takes what a peer has said of itself in all its extension handshakes.
func (f *fetch) extended(id uint64, ext peer.Extensions) {
	c := f.find(id)
	switch {
	case c == nil:
	case ext.MetadataID == 0 && c.guest:
		f.remove(c)
	case ext.MetadataID == 0:
		f.drop(c, errNoIDs, false)
	case ext.MetadataSize > MaxMetadata:
		f.drop(c, fmt.Errorf("%w: %d bytes", errSize, ext.MetadataSize), true)
	default:
		if ext.MetadataSize != c.ext.MetadataSize {
			c.leave()
			if c.ext.MetadataSize != 0 {
				c.stray += maxStray / 3 // each new size may cost an assembly
			}
		}
		c.ext = ext // its size may be 0 as yet: then it has no metadata itself
		if c.stray > maxStray {
			f.drop(c, errContrary, true)
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
			f.drop(c, errUnasked, true)
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
		f.drop(c, errContrary, true)
		return
	}
	c.useful, c.gave = now, true
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
	f.mismatch(a)
}

// mismatch draws the conclusion from an assembly that is whole and wrong: who made it alone has lied, of several any may
// have.
func (f *fetch) mismatch(a *assembly) {
	f.abandon(a)
	who := a.contributors()
	if len(who) == 1 {
		f.drop(f.connOf(who[0]), errMismatch, true)
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

// poll returns what is to be done now. waiting says that others wait for the place of a connection.
func (f *fetch) poll(now time.Time, waiting bool) fetchSteps {
	for _, c := range slices.Clone(f.conns) {
		switch {
		case now.Sub(c.useful) >= patience && !c.guest:
			c.entry.serial = c.entry.serial || c.window > 1
			f.drop(c, errUseless, false)
		case waiting && now.Sub(c.since) >= turn && !c.guest:
			f.drop(c, errTurn, false)
		}
	}
	for _, c := range f.conns {
		if c.ext.MetadataID != 0 && c.ext.MetadataSize > 0 && f.assign(c) {
			f.ask(now, c)
		}
	}
	out := f.out
	f.out = fetchSteps{}
	return out
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

// status returns what the fetch has.
func (f *fetch) status() MetadataStatus {
	var s MetadataStatus
	s.Peers = len(f.conns)
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

// drop ends a connection, and with forEver all dealings with its peer.
func (f *fetch) drop(c *conn, why error, forEver bool) {
	f.remove(c)
	f.out.drops = append(f.out.drops, dropStep{c.id, why, forEver})
}

// remove lets go of a connection. What it asked for is free to be asked for elsewhere at once.
func (f *fetch) remove(c *conn) {
	f.conns = slices.DeleteFunc(f.conns, func(o *conn) bool { return o == c })
	if c.in != nil {
		for i := range c.asked {
			c.in.pieces[i].asked = time.Time{}
		}
	}
}
