package swarm

import (
	"math/rand/v2"
	"slices"
	"time"

	"simplebit/edgeagent/choker"
	"simplebit/wire/peer"
)

// owedTooLong is how long a peer may owe us blocks and keep an upload slot for what it gave before.
const owedTooLong = 30 * time.Second

// A slot is a peer's leave to download from us.
type slot struct {
	held       bool // else it is choked
	optimistic bool
	served     bool      // it has had one before, or has one
	since      time.Time // when it got the slot or, without one, since when it waits
	from       int64     // bytes it had taken when it got the slot
	took       int64     // the rate at which it took in its last turn, in bytes/s
}

// choking is what the loop knows of its upload slots.
type choking struct {
	slots    choker.Slots
	rng      *rand.Rand
	round    time.Time // when the last round was
	uploaded int64     // in bytes, then
	looks    int       // at what peers ask for, since then
	idle     int       // of these, how many found nothing to send
	now      bool      // a slot or a wait for one has begun
}

// look notes whether there is anything to send.
func (c *choking) look(peers []*peerConn) {
	c.looks++
	if !slices.ContainsFunc(peers, func(p *peerConn) bool { return len(p.serve.requests) > 0 || p.serve.handed > 0 }) {
		c.idle++
	}
}

// interested handles INTERESTED and NOT INTERESTED.
func (t *Torrent) interested(now time.Time, p *peerConn, is bool) {
	if is == p.remote.interested {
		return
	}
	p.remote.interested = is
	if is && !p.slot.held {
		p.slot.since = now
	}
	t.touch(p)
	t.choking.now = true
}

// rechoke gives the upload slots to the peers that shall have them now.
func (t *Torrent) rechoke(now time.Time) {
	c := &t.choking
	c.now = false
	q := choker.Question{Now: now, Seeding: t.seeding(), Round: now.Sub(c.round) >= choker.Interval, Rand: c.rng}
	waiting := make([]choker.Peer, 0, len(t.peers))
	used := 0
	for _, p := range t.peers {
		if p.draining() {
			continue
		}
		if p.remote.interested {
			waiting = append(waiting, p.asChoker(now))
		}
		if p.slot.held && p.remote.interested {
			used++
		}
	}
	if q.Round {
		c.slots = c.slots.Next(choker.Load{
			Rate:    perSecond(t.total.uploaded-c.uploaded, now.Sub(c.round)),
			Limit:   t.up().perSecond(),
			Idle:    float64(c.idle) / float64(max(c.looks, 1)),
			Used:    used,
			Waiting: len(waiting) - used,
		})
		c.round, c.uploaded, c.looks, c.idle = now, t.total.uploaded, 0, 0
		for _, p := range t.peers {
			p.tally.turn(now)
		}
	}
	q.Slots = t.uploadSlots()
	t.gather.Store(int32(max(1, t.c.Pool.Size()/peer.BlockSize/4/int64(q.Slots))))
	chosen := make(map[uint32]bool, q.Slots)
	for _, choice := range choker.Choose(q, waiting) {
		chosen[choice.ID] = choice.Optimistic
	}
	for _, p := range t.peers {
		if p.draining() {
			continue // what it has asked for is its due
		}
		optimistic, serve := chosen[uint32(p.pick.ID())]
		p.slot.optimistic = optimistic
		if serve != p.slot.held {
			t.serve(now, p, serve)
		}
	}
}

// uploadSlots is how many peers are served at a time.
func (t *Torrent) uploadSlots() int {
	if t.c.UploadSlots > 0 {
		return t.c.UploadSlots
	}
	return t.choking.slots.Count()
}

// asChoker is the peer as the choker sees it.
func (p *peerConn) asChoker(now time.Time) choker.Peer {
	gave, took := p.tally.recent(now)
	if !p.slot.held {
		took = p.slot.took
	}
	return choker.Peer{
		ID:       uint32(p.pick.ID()),
		Unchoked: p.slot.held, Optimistic: p.slot.optimistic, Since: p.slot.since, Served: p.slot.served,
		Joined: p.began,
		Gave:   gave, Took: took,
		Snubbed: p.flow.snubbed && now.Sub(p.flow.owing) >= owedTooLong,
	}
}

// serve gives the peer a slot or takes it back.
func (t *Torrent) serve(now time.Time, p *peerConn, serve bool) {
	s := &p.slot
	if serve {
		s.from, s.served = p.tally.sent, true
		p.queue(peer.Message{Type: peer.TypeUnchoke})
	} else {
		s.took = perSecond(p.tally.sent-s.from, now.Sub(s.since))
		p.queue(peer.Message{Type: peer.TypeChoke})
		p.rejectAll()
	}
	s.held, s.since = serve, now
	t.touch(p)
}
