package front

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"simplebit/wire/dial"
	"simplebit/wire/peer"
)

const (
	// perHost is how many connections one IPv4 address, or IPv6 network of 64 bits, may have to us.
	perHost = 32
	// maxGreeting bounds the connections whose handshake is not done, which have no place yet, and maxGreetingHost those of one
	// host.
	maxGreeting     = 128
	maxGreetingHost = 8
	// Of the handshakes of encryption that strangers make us compute, so many are under way, and begin in a second. Each takes
	// 0.2 ms of a processor.
	exchangesAtOnce = 2
	maxExchanges    = 100
)

// places counts the connections of those who dialled us, and bounds those that are still greeting apart from them: silence
// takes no place.
type places struct {
	greetings *dial.Greetings
	exchanges *dial.Exchanges

	mu     sync.Mutex
	free   int
	byHost map[netip.Prefix]int
}

func newPlaces(n int) *places {
	return &places{
		greetings: dial.NewGreetings(maxGreeting, maxGreetingHost), exchanges: dial.NewExchanges(exchangesAtOnce, maxExchanges),
		free: n, byHost: map[netip.Prefix]int{},
	}
}

func host(ip netip.Addr) netip.Prefix { return dial.Host(ip) }

// refuse returns why a peer at ip can have no place, nil if it can. p.mu is held.
func (p *places) refuse(ip netip.Addr) error {
	switch {
	case p.free == 0:
		return errFull
	case p.byHost[host(ip)] >= perHost:
		return errCrowd
	}
	return nil
}

// look is take without taking: it saves the greeting of a peer for which there is no place.
func (p *places) look(ip netip.Addr) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refuse(ip)
}

// take takes a place for a peer at ip, if there is one.
func (p *places) take(ip netip.Addr) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.refuse(ip); err != nil {
		return err
	}
	p.free--
	p.byHost[host(ip)]++
	return nil
}

// give gives it back.
func (p *places) give(ip netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free++
	h := host(ip)
	if p.byHost[h]--; p.byHost[h] == 0 {
		delete(p.byHost, h)
	}
}

var (
	errCrowd = errors.New("too many connections from its address")
	errLeft  = errors.New("front has just left the swarm")
)

// Serve takes peers that dial us, for the torrents that are entered, until ctx ends: then it closes ln and all connections
// that came from it, and returns nil. It returns an error where ln fails for good.
func (f *Front) Serve(ctx context.Context, ln net.Listener) error {
	stopped := ctx
	ctx, cancel := context.WithCancel(ctx)
	var guests sync.WaitGroup
	defer guests.Wait()
	defer cancel()
	defer context.AfterFunc(ctx, func() { ln.Close() })()
	for {
		c, err := ln.Accept()
		switch {
		case stopped.Err() != nil: // ctx follows, but who owns ln may have closed it before
			if err == nil {
				dial.Abort(c)
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil:
			// Out of files, most likely: others will close some.
			f.reasons.info("accepting peers", "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		remote := dial.Remote(c)
		if err := f.places.look(remote.Addr()); err != nil {
			f.reasons.info("peer refused", "peer", remote, "reason", err)
			dial.Abort(c)
			continue
		}
		greeting, greeted := f.places.greetings.Begin(ctx, remote.Addr())
		guests.Go(func() {
			p, conn := f.greet(greeting, c, remote)
			greeted()
			if conn == nil {
				return
			}
			if err := f.places.take(remote.Addr()); err != nil {
				f.reasons.info("peer refused", "infohash", p.name(), "peer", remote, "reason", err)
				dial.Abort(conn)
				return
			}
			defer f.places.give(remote.Addr())
			f.welcome(ctx, p, conn, remote)
		})
	}
}

// greet does the handshake with a peer that dialled us. It returns neither where that fails.
func (f *Front) greet(ctx context.Context, c net.Conn, remote netip.AddrPort) (p *Presence, _ *dial.Conn) {
	conn, err := dial.Accept(ctx, c, dial.Acceptor{
		Find: f.unveil, Any: f.present, Exchanges: f.places.exchanges, Encryption: f.cfg.Dialer.Encryption,
		Answer: func(infoHash [20]byte) (ours peer.Handshake, ok bool) {
			if p = f.find(infoHash); p != nil {
				p.wait(func(time.Time) { ours, ok = p.handshake(), true })
			}
			return ours, ok
		},
	})
	switch {
	case errors.Is(err, dial.ErrUnwanted):
		f.reasons.info("peer refused", "peer", remote, "reason", err)
		return nil, nil
	case err != nil:
		// Many dial with encryption first, and again without it.
		f.cfg.Log.Debug("peer refused", "peer", remote, "reason", err)
		return nil, nil
	}
	return p, conn
}

// present reports whether there is any torrent.
func (f *Front) present() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.presences) > 0
}

// welcome talks to a peer that has been greeted.
func (f *Front) welcome(ctx context.Context, p *Presence, conn *dial.Conn, remote netip.AddrPort) {
	var k *wire
	err := errLeft
	p.wait(func(now time.Time) {
		var id uint64
		if id, err = p.core.accepted(now, remote, conn.Peer); err == nil {
			k = p.open(id, conn, remote)
			p.tasks.Add(1)
		}
	})
	if k == nil {
		f.reasons.info("peer refused", "infohash", p.name(), "peer", remote, "reason", err)
		dial.Abort(conn)
		return
	}
	defer p.tasks.Done()
	defer context.AfterFunc(ctx, k.cancel)()
	p.talk(k)
}
