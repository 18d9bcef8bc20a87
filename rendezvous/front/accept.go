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

// perHost is how many connections one IPv4 address, or IPv6 network of 64 bits, may have to us.
const perHost = 32

// places counts the connections of those who dialled us.
type places struct {
	mu     sync.Mutex
	free   int
	byHost map[netip.Prefix]int
}

func newPlaces(n int) *places { return &places{free: n, byHost: map[netip.Prefix]int{}} }

func host(ip netip.Addr) netip.Prefix {
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	net, _ := ip.WithZone("").Prefix(bits)
	return net
}

// take takes a place for a peer at ip, if there is one.
func (p *places) take(ip netip.Addr) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch h := host(ip); {
	case p.free == 0:
		return errFull
	case p.byHost[h] >= perHost:
		return errCrowd
	default:
		p.free--
		p.byHost[h]++
		return nil
	}
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
	ctx, cancel := context.WithCancel(ctx)
	var guests sync.WaitGroup
	defer guests.Wait()
	defer cancel()
	defer context.AfterFunc(ctx, func() { ln.Close() })()
	for {
		c, err := ln.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				c.Close()
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
		remote := remoteOf(c)
		if err := f.places.take(remote.Addr()); err != nil {
			f.reasons.info("peer refused", "peer", remote, "reason", err)
			c.Close()
			continue
		}
		guests.Go(func() {
			defer f.places.give(remote.Addr())
			f.welcome(ctx, c, remote)
		})
	}
}

// remoteOf returns the address of the other end; one without IP for connections that are not of the network.
func remoteOf(c net.Conn) netip.AddrPort {
	a, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// welcome does the handshake with a peer that dialled us, and talks to it.
func (f *Front) welcome(ctx context.Context, c net.Conn, remote netip.AddrPort) {
	var p *Presence
	conn, err := dial.Accept(ctx, c, dial.Acceptor{
		Find: f.unveil, Encryption: f.cfg.Dialer.Encryption,
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
		return
	case err != nil:
		// Many dial with encryption first, and again without it.
		f.cfg.Log.Debug("peer refused", "peer", remote, "reason", err)
		return
	}
	var k *wire
	err = errLeft
	p.wait(func(now time.Time) {
		var id uint64
		if id, err = p.core.accepted(now, remote, conn.Peer); err == nil {
			k = p.open(id, conn, remote)
			p.tasks.Add(1)
		}
	})
	if k == nil {
		f.reasons.info("peer refused", "infohash", p.name(), "peer", remote, "reason", err)
		conn.Close()
		return
	}
	defer p.tasks.Done()
	defer context.AfterFunc(ctx, k.cancel)()
	p.talk(k)
}
