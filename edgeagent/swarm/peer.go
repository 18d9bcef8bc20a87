package swarm

import (
	"errors"
	"net/netip"
	"sync/atomic"
	"time"

	"simplebit/edgeagent/picker"
	"simplebit/wire/dial"
	"simplebit/wire/peer"
)

const (
	keepAliveInterval = 100 * time.Second // BEP 3 has peers give up after two minutes
	idleLimit         = 180 * time.Second
	// ourQueue is how many requests of a peer we queue (BEP 10, reqq). Transmission fills it once a second, so it bounds
	// what such a peer gets from us: 512 blocks are 8 MiB/s. An entry is 12 bytes.
	ourQueue = 512
	// muteQueue is how many we queue of a peer without the fast extension. It cannot be told which requests we drop and
	// would wait for them for ever; and rtorrent 0.13, which is one, ignores reqq and asks for a fifth of a second's worth
	// in KiB, so this is enough for 40 MB/s.
	muteQueue = 8192
	// silentQueue is how many requests a peer is taken to queue that does not say.
	silentQueue = 250
	// maxBacklog bounds the messages that wait for a peer that does not read, in bytes, beyond one bitfield.
	maxBacklog = 128 << 10
)

var (
	errStopped   = errors.New("we stopped")
	errDeaf      = errors.New("peer does not read what we send")
	errFewer     = errors.New("fewer connections are wanted")
	errBothSeeds = errors.New("neither side needs anything")
	errCorrupt   = errors.New("peer sent corrupt data")
	errDeserted  = errors.New("peer is silent, and another one has come from its address")
)

// peerConn is one connected peer. The loop owns it; its reader and writer use only the first fields.
type peerConn struct {
	in     exchange[arrivals] // from the reader
	wake   atomic.Int32       // how many arrivals the loop wants at once
	held   atomic.Bool        // the reader waits for us, not for the peer
	closed chan struct{}      // when the connection is ended
	out    exchange[batch]    // to the writer

	conn   *dial.Conn
	addr   netip.AddrPort // of the connection; of one that is relayed, where the peer is seen by who relays
	entry  *address       // where it can be dialled, nil when that is not known
	client string         // its program, for people
	pick   *picker.Peer
	remote remote
	relay  *peerConn // the relayed connection with the same peer id, which drains once this one is proven and in use
	drains time.Time // until when, if it does

	interested bool // we are
	slot       slot
	serve      serving
	flow       flow
	tally      tally

	began, heard, sent time.Time
	asked              time.Time // when it was last asked whether it is there; see deserted

	batch *batch // being filled by the loop
	dirty bool
	guest bool // it connected to us, and counts against its host
	gone  bool
}

// remote is what the peer has told us of itself.
type remote struct {
	choking, interested bool
	fast, extended      bool // spoken by both
	spoke               bool // has sent a message
	talking             bool // has sent a message that a bitfield must not follow
	ext                 peer.Extensions
}

// reqq is how many requests the peer queues.
func (r *remote) reqq() int {
	if r.ext.ReqQ > 0 {
		return r.ext.ReqQ
	}
	return silentQueue
}

// newPeerConn makes the state of a connection; its goroutines are not running yet.
func newPeerConn(now time.Time, c *dial.Conn, entry *address) *peerConn {
	return &peerConn{
		in:     newExchange[arrivals](),
		closed: make(chan struct{}),
		out:    newExchange[batch](),
		conn:   c,
		addr:   dial.Remote(c),
		entry:  entry,
		client: peer.ClientName(c.Peer.PeerID, ""),
		remote: remote{choking: true, fast: c.Peer.Fast(), extended: c.Peer.Extended()},
		tally:  newTally(now),
		began:  now, heard: now, sent: now,
	}
}

// sending returns the batch that the loop fills.
func (p *peerConn) sending() *batch {
	if p.batch == nil {
		p.batch = p.out.fill()
	}
	return p.batch
}

// queue adds a message to what flush sends.
func (p *peerConn) queue(m peer.Message) {
	b := p.sending()
	b.control = m.Append(b.control)
}

// flush gives the batch to the writer. bitfield is the length of one in bytes.
func (p *peerConn) flush(now time.Time, bitfield int) error {
	b := p.batch
	if b == nil || len(b.control) == 0 && len(b.uploads) == 0 {
		return nil
	}
	if len(b.control) > maxBacklog+bitfield {
		return errDeaf
	}
	p.batch = nil
	p.out.offer(b)
	p.sent = now
	return nil
}
