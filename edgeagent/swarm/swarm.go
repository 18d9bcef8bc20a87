// Package swarm is the data plane of one torrent: it speaks the peer protocol with every peer of the swarm, decides what
// to ask and whom to serve, and moves blocks between connections and the storage. It speaks BEP 3, the fast extension
// (BEP 6), the extension handshake (BEP 10) and upload_only (BEP 21).
//
// One goroutine, the loop in Torrent.Run, owns all state. Each connection has a reader and a writer:
//
//	              events                         Write
//	conn ─ reader ───────▶ loop (picker, choker) ─────▶ storage
//	          ▲             │  ▲                          │
//	     block│      batches│  │ piece verified, failed   │
//	        Pool            ▼  └──────────────────────────┘
//	conn ◀───────────── writer ◀── ReadBlock ── storage
//
// The reader fills a block of the pool straight from the connection and hands it over with the message; the loop checks
// that it was asked for and passes it to the storage. In the other direction two batches circulate between the loop and
// each writer. The loop adds to one while the writer sends the other, so many messages leave in one system call, and
// neither side ever waits for the other. Blocks for upload are read from the disk by the writer. In the steady state
// nothing is allocated per block.
//
// A peer may be relayed ([dial.Conn]). It is asked only for what nobody else would send. Once there is another connection to it,
// the relayed one drains: nothing new is asked for on it, what is outstanding arrives, and it is closed. Both ends decide so
// by what they see of the other connection, whoever dialled, and neither relies on the other to do so in time.
package swarm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"simplebit/edgeagent/picker"
	"simplebit/edgeagent/storage"
	"simplebit/wire/dial"
	"simplebit/wire/peer"
)

// Config is what New needs. InfoHash, PeerID, PieceLength, Length, Storage and Pool must be given.
type Config struct {
	// InfoHash and PeerID go into our handshakes. Connections to our own peer id are dropped.
	InfoHash, PeerID [20]byte
	// PieceLength and Length of the torrent in bytes, as in the storage's layout.
	PieceLength int
	Length      int64
	// Storage holds the content. The swarm is the only one to write to it and to drain its events while Run runs, and
	// does not close it.
	Storage *storage.Torrent
	// Pool is where blocks come from, shared by all torrents. Requests in flight are bounded by its size.
	Pool *storage.Pool
	// Dialer makes outgoing connections. Default: a zero one.
	Dialer *dial.Dialer
	// Port we listen on, told to peers (BEP 10, p). 0 says that we cannot be dialled.
	Port uint16
	// Shared is what this torrent has in common with the others of the device. Default: one of its own.
	Shared *Shared
	// Policy is what is wanted of the torrent to begin with; see [Torrent.SetPolicy].
	Policy Policy
	// Unusable is told the addresses that turned out to be of no use, at most 100 at a time. It is called by one goroutine at
	// a time and must not wait. Default: nobody is told.
	Unusable func([]Verdict)
	// First is called when the first piece is verified that there is, which the snapshot shows then. It must not wait. Default:
	// nobody is told.
	First func()
	// Punched reports whether a connection is over a path that was punched through NATs, whoever dialled. It is asked for every
	// peer in each snapshot, also where one connection would replace another, and must not wait. Default: none is.
	Punched func(*dial.Conn) bool
	// UploadSlots is how many peers are served at a time. Default: as many as it takes to use the line, see [choker.Slots].
	UploadSlots int
	// Software is our name and version, told to peers (BEP 10, v). Default none.
	Software string
	// Seed of the random choices. Default: a random one.
	Seed uint64
	// Log gets peer events at debug level and corrupt data at warn level. Default: none.
	Log *slog.Logger
}

// Torrent is the data plane of one torrent. Its methods may be called from any goroutine. Those that hand it something
// wait for Run to take it.
type Torrent struct {
	c         Config
	log       *slog.Logger
	handshake peer.Handshake
	pieces    int

	candidates chan []Candidate
	accepted   chan *dial.Conn
	policy     atomic.Pointer[Policy]
	poke       chan struct{} // the policy has changed
	done       chan struct{} // closed when Run has returned
	status     atomic.Pointer[Status]
	limits     limits       // the torrent's own
	gather     atomic.Int32 // how many blocks a writer puts into one system call
	directs    directs

	turn sync.Mutex // held by the goroutine that works with the loop's state: the one in Run, or a reader with blocks
	loop
}

// New prepares a torrent whose storage is open. It starts nothing; call Run.
func New(c Config) (*Torrent, error) {
	if c.PieceLength < 1 || c.Length < 1 || c.Storage == nil || c.Pool == nil {
		return nil, errors.New("swarm: piece length, length, storage and pool must be given")
	}
	pieces := (c.Length + int64(c.PieceLength) - 1) / int64(c.PieceLength)
	have := peer.Bitfield(c.Storage.Have())
	if pieces > 8*peer.MaxBitfield || !have.Valid(int(pieces)) {
		return nil, fmt.Errorf("swarm: %d pieces, but the storage has a bitfield of %d bytes", pieces, len(have))
	}
	if c.Shared == nil {
		c.Shared = NewShared(SharedConfig{})
	}
	if c.Dialer == nil {
		c.Dialer = &dial.Dialer{}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Seed == 0 {
		c.Seed = rand.Uint64()
	}
	t := &Torrent{
		c:         c,
		log:       c.Log,
		handshake: peer.Handshake{Reserved: peer.Reserved(true, true), InfoHash: c.InfoHash, PeerID: c.PeerID},
		pieces:    int(pieces),

		candidates: make(chan []Candidate, 16),
		accepted:   make(chan *dial.Conn),
		poke:       make(chan struct{}, 1),
		done:       make(chan struct{}),
	}
	t.loop = loop{
		events:  make(chan event, eventQueue),
		dialled: make(chan dialResult, maxDials+maxGuesses),
		book:    newBook(rand.New(rand.NewPCG(c.Seed, 1))),
		choking: choking{rng: rand.New(rand.NewPCG(c.Seed, 2))},
		have:    have,
		pick: picker.New(picker.Config{
			PieceLength: c.PieceLength, Length: c.Length, Have: have, Seed: c.Seed,
		}),
	}
	for i := range t.pieces {
		if have.Has(i) {
			t.haveBytes += int64(t.sizeOf(i))
		}
	}
	t.gather.Store(1)
	t.SetPolicy(c.Policy)
	t.seeded = t.seeding()
	t.obey(time.Now())
	t.publish(time.Now())
	return t, nil
}

// Handshake returns the handshake that we send for this torrent.
func (t *Torrent) Handshake() peer.Handshake { return t.handshake }

// A Candidate is an address at which a peer may be reached.
type Candidate struct {
	Addr netip.AddrPort
	// Reachable says that somebody has just had a handshake from it, and Way how.
	Reachable bool
	Way       dial.Way
}

// AddCandidates makes addresses known. The reachable ones are dialled first. Those known already, and those beyond the 500
// that are kept, are ignored. The slice is not kept.
func (t *Torrent) AddCandidates(list []Candidate) {
	if len(list) > maxKnown {
		list = list[:maxKnown]
	}
	select {
	case t.candidates <- slices.Clone(list):
	case <-t.done:
	}
}

// Accept takes over a connection whose handshakes are done: one that came in, or one that is punched or relayed, whoever dialled.
// It is closed when there is no room for it, when the peer is connected already, and when Run has ended. A relayed
// connection gives way to one that is not, whichever comes first, if that is punched or from the host at which the peer is seen.
func (t *Torrent) Accept(c *dial.Conn) {
	select {
	case t.accepted <- c:
	case <-t.done:
		c.Close()
	}
}

// Run does the torrent's work until ctx ends, when it returns nil, or until the disk fails, when it returns the
// *storage.DiskError, or the storage is closed under it, when it returns storage.ErrClosed. All connections are closed
// then. It may be called once.
func (t *Torrent) Run(ctx context.Context) error {
	defer close(t.done)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t.place = t.c.Shared.enter()
	err := t.run(ctx)
	cancel()
	t.shutDown()
	t.c.Shared.leave(t.place)
	return err
}

// sizeOf returns a piece's length in bytes.
func (t *Torrent) sizeOf(piece int) int {
	return int(min(int64(t.c.PieceLength), t.c.Length-int64(piece)*int64(t.c.PieceLength)))
}
