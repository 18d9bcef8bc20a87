package front

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"simplebit/wire/dial"
	"simplebit/wire/mse"
)

// Torrent is what front is to do for a torrent. The functions are called by the presence's own goroutine and must not wait,
// nor call methods of the presence; Info alone may, and comes from another one. Each may be nil.
type Torrent struct {
	InfoHash [20]byte
	Private  bool // BEP 27: no PEX, no DHT, nobody is served metadata
	InfoSize int  // bytes of the info dictionary; 0 while it is unknown: it is fetched
	// Info loads the info dictionary once it is known, to serve it. What it returns is kept while peers ask for it, and must
	// not be changed.
	Info func(context.Context) ([]byte, error)
	// Reachable is told addresses that have just been verified by a handshake; the same ones at most every ten minutes.
	Reachable func([]Peer)
	// Unverified is told an address that is not verified, at most one a second, while the torrent is hungry and nothing better
	// turns up. An address at which front could not reach a peer is told only where there is no other, but first where somebody
	// took front's connection and hung up.
	Unverified func(netip.AddrPort)
	// Learned is told the info dictionary, verified against the info-hash, if InfoSize was 0; at most once. Whoever has stored
	// it says so by [Presence.Known].
	Learned func(info []byte)
}

// Peer is an address at which a handshake succeeded, and how.
type Peer struct {
	Addr netip.AddrPort
	Way  dial.Way
}

// Status is how a presence is getting on.
type Status struct {
	Metadata  MetadataStatus
	Known     int // addresses known, without those of our devices
	Reachable int // of these, verified by a handshake
	Links     int // connections open
}

// MetadataStatus is what a fetch in progress has.
type MetadataStatus struct {
	Peers  int // connected that may have it
	Pieces int // pieces of 16 KiB of the assembly that is nearest to its end; 0 while no peer has told the size
	Have   int // of these, the pieces that have come; not verified before all have
}

// Presence is front in the swarm of one torrent. Any goroutine may use it, also after it has been left: then nothing happens.
type Presence struct {
	front   *Front
	torrent Torrent
	claim   *claim
	acts    chan func(now time.Time)
	ctx     context.Context
	cancel  context.CancelFunc
	over    chan struct{}

	mu     sync.Mutex
	status Status

	// The rest belongs to the loop.
	core  *core
	wires map[uint64]*wire
	tasks sync.WaitGroup
	cache cache
}

// Enter begins to take part in a swarm, until [Presence.Leave]. The error is [ErrEntered].
func (f *Front) Enter(t Torrent) (*Presence, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.presences[t.InfoHash] != nil {
		return nil, fmt.Errorf("torrent %x: %w", t.InfoHash, ErrEntered)
	}
	ctx, cancel := context.WithCancel(context.Background())
	rnd := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	p := &Presence{
		front: f, torrent: t, claim: f.budget.join(), acts: make(chan func(time.Time)), ctx: ctx, cancel: cancel,
		over: make(chan struct{}), core: newCore(t, f.cfg.MaxLinks, f.cfg.Dialable, rnd), wires: map[uint64]*wire{},
	}
	f.presences[t.InfoHash] = p
	f.veiled[mse.ReqHash(t.InfoHash)] = t.InfoHash
	go p.run()
	return p, nil
}

// Add takes addresses at which peers may be. About 2,000 are kept; they may repeat.
func (p *Presence) Add(addrs []netip.AddrPort, from Source) {
	p.do(func(now time.Time) { p.core.add(now, addrs, from, maxKnown) })
}

// Withdraw says that no device of ours takes peers at addr any more, which was added with [SourceDevice]. If others named it
// too, it goes on as an address like theirs; else it is forgotten.
func (p *Presence) Withdraw(addr netip.AddrPort) {
	p.do(func(time.Time) { p.core.withdraw(addr) })
}

// Hungry says whether the devices are short of peers. While they are, addresses that failed are tried again, those verified
// half an hour ago are verified anew, and unverified ones are told of.
func (p *Presence) Hungry(hungry bool) {
	p.do(func(time.Time) { p.core.hungry = hungry })
}

// Known says that the info dictionary, of so many bytes, is to be had from Info now, and whether the torrent is private: then
// all connections are closed, and what DHT and PEX named is forgotten.
func (p *Presence) Known(infoSize int, private bool) {
	p.do(func(now time.Time) { p.core.known(now, infoSize, private) })
}

// Unusable says that a device could not use the peer at addr, or that it lied. For 30 minutes, or 24 hours, nobody is told of
// the address.
func (p *Presence) Unusable(addr netip.AddrPort, lied bool) {
	p.do(func(now time.Time) { p.core.unusable(now, addr, lied) })
}

// Reachable returns the peers verified, the last ones first, at most 200.
func (p *Presence) Reachable() (peers []Peer) {
	done := make(chan struct{})
	if !p.do(func(now time.Time) {
		defer close(done)
		for _, e := range p.core.book.reachable(now) {
			peers = append(peers, Peer{e.addr, e.way})
		}
	}) {
		return nil
	}
	<-done
	return peers
}

// Status returns how the presence is getting on.
func (p *Presence) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status
}

// Leave ends the presence: when it returns, all connections are closed and no function of [Torrent] is called any more.
func (p *Presence) Leave() {
	p.cancel()
	<-p.over
}

// do runs f on the loop, soon, and reports whether it will.
func (p *Presence) do(f func(now time.Time)) bool {
	select {
	case p.acts <- f:
		return true
	case <-p.ctx.Done():
		return false
	}
}
