// Package front is the surrogate's own presence in swarms. For each torrent that a device takes part in it keeps a book of
// addresses, makes sure by handshakes of its own which of them are peers, and tells the devices of those. It exchanges
// addresses with other clients (BEP 11), fetches the info dictionary that a magnet link lacks, and serves it to others (BEP 9).
// To other clients it is a peer that has no pieces.
//
// One goroutine owns the presence of a torrent; what to do next is decided by cores without I/O: the book (what to dial and
// what to tell of), the fetch, what to tell whom by PEX, what to serve. Each connection has a goroutine that reads and one that
// writes. All presences share one budget of handshakes.
//
// A fetch talks to several peers at once and trusts none of them. What they send is put together in assemblies, one for
// each size of the dictionary that peers claim, and the whole is checked against the info-hash. A mismatch throws
// suspicion on everybody who contributed: from then on each of them must deliver the whole dictionary alone, so a liar
// spoils nobody's work but its own, and is found out and left alone.
package front

import (
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"

	"golang.org/x/time/rate"

	"simplebit/wire/dial"
)

// MaxMetadata is the longest info dictionary fetched, in bytes. Peers that claim a longer one are not asked for it.
const MaxMetadata = 32 << 20

// Defaults of [Config].
const (
	DefaultMaxDials    = 200
	DefaultDialRate    = 200
	DefaultMaxLinks    = 20
	DefaultMaxAccepted = 500
)

const (
	// servingRate is how much metadata is served to all peers together, in bytes per second.
	servingRate = 1 << 20
	// maxCached bounds the dictionaries in memory because they are being served, all together, in bytes.
	maxCached = 128 << 20
)

// ErrEntered is returned by [Front.Enter] for a torrent that has a presence already.
var ErrEntered = errors.New("front is in the swarm of this torrent already")

// ErrForbidden is to be wrapped by what [Config.Dialer] returns for an address that may not be contacted. Such an address is
// not told of, and is not tried again for a day.
var ErrForbidden = errors.New("address may not be contacted")

// Config configures a [Front]. The zero value works, with a peer id that says nothing.
type Config struct {
	// Dialer makes the connections, and refuses forbidden addresses. Its Encryption also holds for peers that dial us.
	// Default: a zero Dialer.
	Dialer   *dial.Dialer
	PeerID   [20]byte // sent in handshakes
	Software string   // client name and version sent to peers; default: none
	Port     uint16   // where peers reach us, told in extension handshakes (BEP 10, p); 0: not told
	DHTPort  uint16   // UDP port of our DHT node, told to peers that have one (BEP 5); 0: we have none
	// DHTNode is told where a peer says that its DHT node is (BEP 5). It must not wait. Default: nobody is told.
	DHTNode func(netip.AddrPort)
	// Dialable says whether an address that a stranger or a device named may be contacted, and told to others. Default: all may.
	Dialable func(netip.AddrPort) bool

	MaxDials    int          // handshakes in progress, for all torrents; default DefaultMaxDials
	DialRate    int          // handshakes begun in any second, for all torrents; default DefaultDialRate
	MaxLinks    int          // connections kept for one torrent, and as many to peers that dialled us; default DefaultMaxLinks
	MaxAccepted int          // connections of peers that dialled us, for all torrents; default DefaultMaxAccepted
	Log         *slog.Logger // default: nothing is logged
}

// Front takes part in swarms. Any number of goroutines may use it.
type Front struct {
	cfg     Config
	budget  *budget
	places  *places
	reasons *reasons
	serving *rate.Limiter // bytes of metadata
	cached  atomic.Int64  // bytes of dictionaries in memory

	mu        sync.Mutex
	presences map[[20]byte]*Presence
	veiled    map[[20]byte][20]byte // info-hashes by what encrypted connections name them
}

// New returns a Front. It starts nothing.
func New(cfg Config) *Front {
	if cfg.Dialer == nil {
		cfg.Dialer = &dial.Dialer{}
	}
	if cfg.Dialable == nil {
		cfg.Dialable = func(netip.AddrPort) bool { return true }
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	for _, d := range []struct {
		n        *int
		fallback int
	}{
		{&cfg.MaxDials, DefaultMaxDials}, {&cfg.DialRate, DefaultDialRate},
		{&cfg.MaxLinks, DefaultMaxLinks}, {&cfg.MaxAccepted, DefaultMaxAccepted},
	} {
		if *d.n <= 0 {
			*d.n = d.fallback
		}
	}
	return &Front{
		cfg: cfg, budget: newBudget(cfg.MaxDials, cfg.DialRate), places: newPlaces(cfg.MaxAccepted), reasons: newReasons(cfg.Log),
		serving: rate.NewLimiter(servingRate, 4*servingChunk), presences: map[[20]byte]*Presence{}, veiled: map[[20]byte][20]byte{},
	}
}

// find returns the presence of a torrent, or nil.
func (f *Front) find(infoHash [20]byte) *Presence {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.presences[infoHash]
}

// unveil returns the torrent that an encrypted connection is for.
func (f *Front) unveil(req2 [20]byte) (infoHash [20]byte, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	infoHash, ok = f.veiled[req2]
	return infoHash, ok
}
