package front

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"simplebit/wire/dial"
	"simplebit/wire/mse"
	"simplebit/wire/peer"
)

const (
	// Of an address that was never tried: the time for the connect, and for both handshakes with it.
	firstConnect = 3 * time.Second
	firstTimeout = 6 * time.Second
)

// run is the loop: it brings events to the core and carries out what the core decides.
func (p *Presence) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	defer p.end()
	for {
		timer.Reset(time.Until(p.poll(time.Now())))
		select {
		case <-p.ctx.Done():
			return
		case act := <-p.acts:
			act(time.Now())
		case <-p.claim.ready:
			for _, a := range p.claim.freed() {
				p.core.freed(a)
			}
			for p.claim.take() {
				p.dial(time.Now())
			}
		case <-timer.C:
		}
	}
}

// end waits for all that the presence has begun.
func (p *Presence) end() {
	p.cancel()
	p.tasks.Wait()
	p.claim.leave()
	p.cache.drop(p.front)
	p.mu.Lock()
	p.status = Status{}
	p.mu.Unlock()
	p.front.mu.Lock()
	delete(p.front.presences, p.torrent.InfoHash)
	delete(p.front.veiled, mse.ReqHash(p.torrent.InfoHash))
	p.front.mu.Unlock()
	close(p.over)
}

// poll carries out what is to be done now and returns when to come back at the latest.
func (p *Presence) poll(now time.Time) time.Time {
	steps, handshakes, wake := p.core.poll(now)
	for _, n := range steps.notes {
		p.front.reasons.info(n, "infohash", p.name())
	}
	for _, n := range steps.details {
		p.front.cfg.Log.Debug(n, "infohash", p.name())
	}
	for _, d := range steps.drops {
		if k := p.wires[d.id]; k != nil {
			p.front.cfg.Log.Debug("peer left", "infohash", p.name(), "peer", k.remote, "reason", d.why)
			k.cancel()
		}
	}
	for _, id := range steps.hellos {
		p.send(id, p.hello(p.wires[id]))
	}
	for _, a := range steps.asks {
		p.send(a.id, metadataMessage(a, peer.MetadataRequest))
	}
	for _, a := range steps.rejects {
		p.send(a.id, metadataMessage(a, peer.MetadataReject))
	}
	for _, x := range steps.pexes {
		p.send(x.id, outgoing{message: extended(x.extID, x.pex.AppendMarshal(nil))})
	}
	p.serve(now, steps.serves)
	p.tell(steps)
	p.publish(now)
	p.claim.want(handshakes)
	return sooner(wake, p.cache.expire(now, p.front))
}

// tell calls the functions of the owner.
func (p *Presence) tell(s steps) {
	t := p.torrent
	if len(s.reachable) > 0 && t.Reachable != nil {
		t.Reachable(s.reachable)
	}
	if s.unverified.IsValid() && t.Unverified != nil {
		t.Unverified(s.unverified)
	}
	if s.learned != nil && t.Learned != nil {
		t.Learned(s.learned)
	}
	if p.front.cfg.DHTNode != nil {
		for _, n := range s.nodes {
			p.front.cfg.DHTNode(n)
		}
	}
}

func (p *Presence) publish(now time.Time) {
	s := Status{Links: len(p.core.links)}
	s.Known, s.Reachable = p.core.book.strangers(now)
	if p.core.fetch != nil {
		s.Metadata = p.core.fetch.status()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status = s
}

// dial begins one handshake, for which the budget has been taken: one unit for all the tries that package dial makes of it,
// which are two connections in a row at most, and one by each transport at a time.
func (p *Presence) dial(now time.Time) {
	id, at, first, ok := p.core.dial(now)
	for ok && !p.claim.hold(at.Addr) {
		p.core.held(id)
		id, at, first, ok = p.core.dial(now)
	}
	if !ok {
		p.claim.done()
		return
	}
	dialer := *p.front.cfg.Dialer
	if first {
		dialer.Connect = firstConnect
		if dialer.Timeout <= 0 {
			dialer.Timeout = firstTimeout
		}
	}
	ours := p.handshake()
	p.tasks.Go(func() {
		conn, err := dialer.Dial(p.ctx, at.Addr, ours, at.Way)
		p.claim.free(at.Addr)
		p.claim.done()
		if err != nil {
			p.front.cfg.Log.Debug("no handshake", "infohash", p.name(), "reason", err)
			p.do(func(now time.Time) { p.core.failed(now, id, err) })
			if hopeless(err) && !errors.Is(err, dial.ErrSelf) {
				p.front.reasons.info("no peer of this torrent", "infohash", p.name(), "peer", at.Addr, "reason", err)
			}
			return
		}
		var k *wire
		p.wait(func(now time.Time) {
			if p.core.connected(now, id, conn.Peer, conn.Way()) {
				k = p.open(id, conn, at.Addr)
			}
		})
		if k == nil {
			conn.Close()
			return
		}
		p.talk(k)
	})
}

// wait runs f on the loop and returns when it has, or when it never will.
func (p *Presence) wait(f func(now time.Time)) {
	done := make(chan struct{})
	if p.do(func(now time.Time) { defer close(done); f(now) }) {
		<-done
	}
}

// handshake is what front says of itself first.
func (p *Presence) handshake() peer.Handshake {
	// Without the fast extension a peer that says nothing about its pieces is within the protocol.
	bits := peer.Reserved(false, true)
	if p.front.cfg.DHTPort != 0 && !p.core.private {
		bits = peer.WithDHT(bits)
	}
	return peer.Handshake{Reserved: bits, InfoHash: p.torrent.InfoHash, PeerID: p.front.cfg.PeerID}
}

// open makes a wire of a connection.
func (p *Presence) open(id uint64, conn *dial.Conn, remote netip.AddrPort) *wire {
	ctx, cancel := context.WithCancel(p.ctx)
	k := &wire{id: id, conn: conn, remote: remote, ctx: ctx, cancel: cancel, out: make(chan outgoing, queue)}
	p.wires[id] = k
	p.send(id, p.hello(k))
	if p.front.cfg.DHTPort != 0 && !p.core.private && conn.Peer.DHT() {
		p.send(id, outgoing{message: peer.Message{Type: peer.TypePort, Port: p.front.cfg.DHTPort}.Append(nil)})
	}
	return k
}

// hello is our extension handshake.
func (p *Presence) hello(k *wire) outgoing {
	if k == nil {
		return outgoing{}
	}
	e := peer.Extensions{MetadataID: metadataID, Port: p.front.cfg.Port, Version: p.front.cfg.Software, YourIP: k.remote.Addr()}
	if !p.core.private {
		e.PexID, e.MetadataSize = pexID, int64(p.core.infoSize)
	}
	return outgoing{message: extended(peer.ExtHandshake, e.AppendMarshal(nil))}
}

// send gives a message to the writer of a connection. One that does not read, so that the writer is behind, gets none: its
// questions stay unanswered, and ours too, from which the core draws the conclusion.
func (p *Presence) send(id uint64, o outgoing) bool {
	k := p.wires[id]
	if k == nil {
		return false
	}
	select {
	case k.out <- o:
		return true
	default:
		return false
	}
}
