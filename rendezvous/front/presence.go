package front

import (
	"context"
	"errors"
	"net/netip"
)

// ErrEntered is returned by [Front.Enter] for a torrent that has a presence already.
var ErrEntered = errors.New("front is in the swarm of this torrent already")

// Source is who named an address.
type Source uint8

// Who may name an address. SourceDevice is an endpoint of a device of ours, SourceIncoming the port that a peer told which
// had dialled us.
const (
	SourcePEX Source = iota
	SourceDHT
	SourceIncoming
	SourceTracker
	SourceMagnet
	SourceDevice
)

// Torrent is what front is to do for a torrent. The functions come from goroutines of the presence and must not wait, but
// for Info; each may be nil.
type Torrent struct {
	InfoHash   [20]byte
	Private    bool // BEP 27: no PEX, no DHT, no metadata served
	InfoSize   int  // bytes of the info dictionary; 0 while it is unknown: it is fetched
	Info       func(context.Context) ([]byte, error)
	Reachable  func([]netip.AddrPort)
	Unverified func(netip.AddrPort)
	Learned    func(info []byte)
}

// Status is how a presence is getting on.
type Status struct {
	Metadata  MetadataStatus
	Known     int // addresses known
	Reachable int // of these, verified by a handshake
	Links     int // connections open
}

// Presence is front in the swarm of one torrent. Any goroutine may use it.
type Presence struct {
	front   *Front
	torrent Torrent
	peers   chan netip.AddrPort
	cancel  context.CancelFunc
	done    chan struct{}
}

// Enter begins to take part in a swarm, until [Presence.Leave]. The error is [ErrEntered].
func (f *Front) Enter(t Torrent) (*Presence, error) {
	ctx, cancel := context.WithCancel(context.Background())
	p := &Presence{front: f, torrent: t, peers: make(chan netip.AddrPort), cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		if info, err := f.FetchMetadata(ctx, t.InfoHash, p.peers); err == nil && t.Learned != nil {
			t.Learned(info)
		}
	}()
	return p, nil
}

// Add takes addresses at which peers may be.
func (p *Presence) Add(addrs []netip.AddrPort, from Source) {
	for _, a := range addrs {
		select {
		case p.peers <- a:
		case <-p.done:
		}
	}
}

// Hungry says whether the devices are short of peers.
func (p *Presence) Hungry(bool) {}

// Known says that the info dictionary is known.
func (p *Presence) Known(infoSize int, private bool) {}

// Unusable says that a device could not use the peer at addr.
func (p *Presence) Unusable(addr netip.AddrPort, lied bool) {}

// Reachable returns the addresses verified, the newest first.
func (p *Presence) Reachable() []netip.AddrPort { return nil }

// Status returns how the presence is getting on.
func (p *Presence) Status() Status { return Status{Metadata: p.front.Status(p.torrent.InfoHash)} }

// Leave ends the presence and returns when it is over.
func (p *Presence) Leave() {
	p.cancel()
	<-p.done
}
