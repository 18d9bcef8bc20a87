package swarm

import (
	"cmp"
	"errors"
	"slices"
	"time"
)

// idleAge is how long a peer is left in its place whatever it is worth.
const idleAge = time.Minute

var (
	errTurnover = errors.New("it is of no use, and others wait for the place")
	errShare    = errors.New("another torrent needs the place")
)

// turnover gives up places that others need more: other torrents, or candidates of this one that cannot be dialled.
func (t *Torrent) turnover(now time.Time, waiting bool) {
	p := leastUseful(now, t.peers, t.seeding())
	if p == nil {
		return
	}
	switch {
	case t.c.Shared.owes(now, t.place, now.Sub(p.tally.last) >= idleAge):
		t.drop(now, p, errShare)
	case waiting && t.idle(now, p):
		t.drop(now, p, errTurnover)
	}
}

// idle reports whether a peer is of so little use that a new one is worth more: neither side wants anything, or we do and
// it has nothing, as more than half of the peers. Else strangers could take all places.
func (t *Torrent) idle(now time.Time, p *peerConn) bool {
	if p.interested || now.Sub(p.began) < idleAge {
		return false
	}
	return !p.remote.interested || !t.seeding() && t.crowded()
}

// crowded reports whether more than half of the peers have nothing for us.
func (t *Torrent) crowded() bool {
	n := 0
	for _, p := range t.peers {
		if !p.interested {
			n++
		}
	}
	return 2*n > len(t.peers)
}

// leastUseful returns the peer that would be missed least, or nil if there is none. Of those who are as useful, one that is
// relayed gives way first, whatever its rate.
func leastUseful(now time.Time, peers []*peerConn, seeding bool) *peerConn {
	if len(peers) == 0 {
		return nil
	}
	use := func(p *peerConn) int {
		n := 0
		if p.draining() {
			return -1
		}
		if p.interested {
			n += 2
		}
		if p.remote.interested {
			n++
		}
		return n
	}
	rank := func(p *peerConn) int {
		if p.conn.Relayed {
			return 0
		}
		return 1
	}
	return slices.MinFunc(peers, func(a, b *peerConn) int {
		aGave, aTook := a.tally.recent(now)
		bGave, bTook := b.tally.recent(now)
		if seeding {
			aGave, bGave = aTook, bTook
		}
		return cmp.Or(cmp.Compare(use(a), use(b)), rank(a)-rank(b), cmp.Compare(aGave, bGave), b.began.Compare(a.began))
	})
}
