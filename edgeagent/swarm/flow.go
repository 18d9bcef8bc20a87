package swarm

import (
	"fmt"
	"time"
)

const (
	// A peer that owes us blocks and sends none is snubbed: what it owes is asked of others too, and it is asked for one
	// block at a time until it sends again. One that has sent none so far may take firstPatience, others four times as long
	// as their slowest block of late, within bounds.
	firstPatience = 10 * time.Second
	leastPatience = 5 * time.Second
	mostPatience  = 30 * time.Second
	// blockLimit is how long a peer may owe us blocks without sending one before it is dropped.
	blockLimit = 60 * time.Second
	// maxStrays is how many blocks and rejects that were not asked for a peer may send.
	maxStrays = 64
)

// A flow is what we ask of a peer and how it answers.
type flow struct {
	pipe      pipeline
	pause     time.Time     // not to be asked for anything before
	owing     time.Time     // since when blocks are due: the last block, or the first request after a silence
	slowest   time.Duration // that a block took lately; 0 before the first
	snubbed   bool
	strays    int // blocks and rejects that were not asked for
	cancelled int // requests that we have cancelled, each of which may cause one of them
}

// came counts a block that was asked for.
func (f *flow) came(now time.Time) {
	f.pipe.received()
	f.slowest = max(now.Sub(f.owing), f.slowest-f.slowest/8, time.Millisecond)
	f.owing = now
}

// patience is how long the peer may owe us blocks before it is snubbed.
func (f *flow) patience() time.Duration {
	if f.slowest == 0 {
		return firstPatience
	}
	return min(max(4*f.slowest, leastPatience), mostPatience)
}

// stray counts a block or reject that was not asked for. A few cross with our cancels, or with a choke.
func (f *flow) stray(what string) error {
	if f.strays++; f.strays > maxStrays+f.cancelled {
		return violates("peer keeps sending %s that were not asked for", what)
	}
	return nil
}

// overdue returns why the peer must be dropped, if it has been silent for too long. It snubs one that has for some time.
func (t *Torrent) overdue(now time.Time, p *peerConn) error {
	if p.held.Load() {
		p.heard, p.flow.owing = now, now
	}
	if n := p.pick.Requests(); n > 0 {
		silence := now.Sub(p.flow.owing)
		if silence >= blockLimit {
			return fmt.Errorf("peer owes us %d blocks and sent none for %v", n, blockLimit)
		}
		if silence >= p.flow.patience() && !p.flow.snubbed {
			t.snub(p)
		}
	}
	if now.Sub(p.heard) >= idleLimit {
		return fmt.Errorf("peer sent nothing for %v", idleLimit)
	}
	return nil
}

// snub has others asked for what the peer owes.
func (t *Torrent) snub(p *peerConn) {
	p.flow.snubbed = true
	t.pick.SetSnubbed(p.pick, true)
	t.sendCancels()
	t.wakeAll = true
	t.log.Debug("peer owes us blocks", "addr", p.addr, "client", p.client, "blocks", p.pick.Requests())
}

// resumed ends a snub: the peer sends again.
func (t *Torrent) resumed(p *peerConn) {
	p.flow.snubbed = false
	p.flow.pipe = pipeline{}
	t.pick.SetSnubbed(p.pick, false)
	t.sendCancels()
}
