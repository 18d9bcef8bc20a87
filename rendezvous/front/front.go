// Package front is the surrogate's own presence in a swarm. It fetches the info dictionary that a magnet link lacks from
// peers (BEP 9 over BEP 10).
//
// A fetch talks to several peers at once and trusts none of them. What they send is put together in assemblies, one for
// each size of the dictionary that peers claim, and the whole is checked against the info-hash. A mismatch throws
// suspicion on everybody who contributed: from then on each of them must deliver the whole dictionary alone, so a liar
// spoils nobody's work but its own, and is found out and left alone.
//
// One goroutine, the caller of [Front.FetchMetadata], owns a fetch; what to do next is decided by a core without I/O. Each
// connection has a goroutine that reads and one that writes, and neither outlives the call.
package front

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"simplebit/wire/dial"
	"simplebit/wire/peer"
)

// MaxMetadata is the longest info dictionary fetched, in bytes. Peers that claim a longer one are not asked for it.
const MaxMetadata = 32 << 20

// DefaultMaxPeers is how many connections a fetch has at once unless configured, those being dialled included.
const DefaultMaxPeers = 20

// ErrFetching is returned for an info-hash that is being fetched already.
var ErrFetching = errors.New("its metadata is being fetched already")

// Config configures a [Front]. The zero value works, with a peer id that says nothing.
type Config struct {
	Dialer                                    *dial.Dialer // makes the connections, and refuses forbidden addresses; default: a zero Dialer
	PeerID                                    [20]byte     // sent in handshakes
	Software                                  string       // client name and version sent to peers; default: none
	MaxPeers                                  int          // connections at once for each fetch; default DefaultMaxPeers
	Port                                      uint16
	DHTPort                                   uint16
	DHTNode                                   func(netip.AddrPort)
	Dialable                                  func(netip.AddrPort) bool
	MaxDials, DialRate, MaxLinks, MaxAccepted int
	Log                                       *slog.Logger // default: nothing is logged
}

// MetadataStatus is what a fetch in progress has.
type MetadataStatus struct {
	Peers  int // connected, handshake done
	Pieces int // pieces of 16 KiB of the assembly that is nearest to its end; 0 while no peer has told the size
	Have   int // of these, the pieces that have come; not verified before all have
}

// Front fetches metadata. Any number of goroutines may use it.
type Front struct {
	cfg Config

	mu      sync.Mutex
	fetches map[[20]byte]MetadataStatus
}

// New returns a Front. It starts nothing.
func New(cfg Config) *Front {
	if cfg.Dialer == nil {
		cfg.Dialer = &dial.Dialer{}
	}
	if cfg.MaxPeers <= 0 {
		cfg.MaxPeers = DefaultMaxPeers
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Front{cfg: cfg, fetches: make(map[[20]byte]MetadataStatus)}
}

// Status returns what the fetch of infoHash has, or the zero value where none is in progress.
func (f *Front) Status(infoHash [20]byte) MetadataStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fetches[infoHash]
}

// FetchMetadata fetches the info dictionary whose SHA-1 is infoHash, and returns its exact bytes, at most [MaxMetadata] of
// them. Addresses are read from peers as they come, and the sender never waits long until the call returns; they may repeat,
// and about 2,000 are kept. The channel may be closed, or nil. An address that failed is dialled again after 30 seconds, then
// after twice as long, and so on up to 16 minutes, for as long as the fetch lasts; one that lied never.
//
// It returns when the dictionary is complete or ctx ends; every connection is closed by then. The error wraps that of ctx
// and tells how far the fetch came, or is [ErrFetching].
func (f *Front) FetchMetadata(ctx context.Context, infoHash [20]byte, peers <-chan netip.AddrPort) ([]byte, error) {
	if !f.begin(infoHash) {
		return nil, fmt.Errorf("torrent %x: %w", infoHash, ErrFetching)
	}
	defer f.end(infoHash)
	var links sync.WaitGroup
	defer links.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	l := loop{
		Front:  f,
		fetch:  newFetch(infoHash, f.cfg.MaxPeers),
		events: make(chan event),
		open:   make(map[uint64]*link),
		links:  &links,
		log:    f.cfg.Log.With("infohash", fmt.Sprintf("%x", infoHash)),
	}
	return l.run(ctx, peers)
}

func (f *Front) begin(infoHash [20]byte) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, running := f.fetches[infoHash]
	if !running {
		f.fetches[infoHash] = MetadataStatus{}
	}
	return !running
}

func (f *Front) publish(infoHash [20]byte, s MetadataStatus) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fetches[infoHash] = s
}

func (f *Front) end(infoHash [20]byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.fetches, infoHash)
}

// loop drives one fetch: it brings events to the core and carries out what the core decides.
type loop struct {
	*Front
	fetch  *fetch
	events chan event
	open   map[uint64]*link
	links  *sync.WaitGroup
	log    *slog.Logger
}

// event is what happened on the connection id. One of the fields behind it is set, or none: the handshake is done.
type event struct {
	id      uint64
	ext     *peer.Extensions
	message *peer.MetadataMessage
	gone    error
}

func (l *loop) run(ctx context.Context, peers <-chan netip.AddrPort) ([]byte, error) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(time.Until(l.poll(ctx)))
		if l.fetch.info != nil {
			return l.fetch.info, nil
		}
		select {
		case <-ctx.Done():
			s := l.fetch.status()
			return nil, fmt.Errorf("metadata of %x: %w (%d addresses known, %d peers connected, %d of %d pieces)",
				l.fetch.infoHash, ctx.Err(), l.fetch.book.len(), s.Peers, s.Have, s.Pieces)
		case addr, ok := <-peers:
			if !ok {
				peers = nil
				continue
			}
			l.fetch.candidate(addr)
		case e := <-l.events:
			l.handle(time.Now(), e)
		case <-timer.C:
		}
	}
}

func (l *loop) handle(now time.Time, e event) {
	switch {
	case e.gone != nil:
		delete(l.open, e.id)
		l.fetch.gone(now, e.id, e.gone)
	case e.ext != nil:
		l.fetch.extended(now, e.id, *e.ext)
	case e.message != nil:
		l.fetch.message(now, e.id, *e.message)
	default:
		l.fetch.connected(now, e.id)
	}
}

// poll carries out what is to be done now and returns when to come back at the latest.
func (l *loop) poll(ctx context.Context) time.Time {
	steps, wake := l.fetch.poll(time.Now())
	for _, d := range steps.drops {
		l.log.Debug("metadata: peer left", "peer", d.addr, "reason", d.why)
		if k := l.open[d.id]; k != nil {
			k.cancel()
		}
	}
	for _, n := range steps.notes {
		l.log.Info("metadata: " + n)
	}
	for _, d := range steps.dials {
		linkCtx, cancel := context.WithCancel(ctx)
		k := &link{id: d.id, addr: d.addr, cancel: cancel, asks: make(chan []byte, 2*pipeline)}
		l.open[d.id] = k
		l.links.Go(func() {
			defer cancel()
			err := l.talk(linkCtx, k)
			l.post(ctx, event{id: k.id, gone: err})
		})
	}
	for _, a := range steps.asks {
		request := peer.MetadataMessage{Type: peer.MetadataRequest, Piece: a.piece}.AppendMarshal(nil)
		select {
		case l.open[a.id].asks <- peer.Message{Type: peer.TypeExtended, ExtID: a.extID, Payload: request}.Append(nil):
		default:
			// The peer does not read: its requests stay unanswered, and the core will draw the conclusion.
		}
	}
	l.publish(l.fetch.infoHash, l.fetch.status())
	return wake
}

// Serve takes incoming peers until ctx ends.
func (f *Front) Serve(ctx context.Context, ln net.Listener) error {
	<-ctx.Done()
	return ln.Close()
}
