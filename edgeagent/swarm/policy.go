package swarm

import (
	"slices"
	"time"

	"simplebit/edgeagent/picker"
)

// Policy is what a person wants of a torrent. The zero value wants all of it, without limits.
type Policy struct {
	// Priorities of the pieces; nil: all normal. Pieces behind the end of a short slice are normal. It must not be changed
	// after it was handed over.
	Priorities []picker.Priority
	// Sequential asks for the pieces in the order of the content.
	Sequential bool
	// Down and Up bound the torrent's payload in bytes/s, besides what the device allows. 0: no limit.
	Down, Up int64
	// MaxPeers bounds the torrent's connections, besides what the device allows. 0: only the device bounds them.
	MaxPeers int
}

// limits are the torrent's own, besides those of the device.
type limits struct{ down, up limit }

// SetPolicy changes what is wanted of the torrent, at any time. It does not wait; limits of rates count at once.
func (t *Torrent) SetPolicy(p Policy) {
	t.limits.down.set(p.Down)
	t.limits.up.set(p.Up)
	t.policy.Store(&p)
	t.wake()
}

// wake has the loop look at the policy and the limits. It may be called from any goroutine and does not wait.
func (t *Torrent) wake() {
	select {
	case t.poke <- struct{}{}:
	default:
	}
}

// obey does what the policy says from now on.
func (t *Torrent) obey(now time.Time) {
	t.want = t.policy.Load()
	t.pick.SetSequential(t.want.Sequential)
	t.pick.SetPriorities(t.want.Priorities)
	t.sendCancels()
	t.wantedLeft = 0
	for i := range t.pieces {
		if t.wants(i) && !t.have.Has(i) {
			t.wantedLeft += int64(t.sizeOf(i))
		}
	}
	for limit := t.want.MaxPeers; limit > 0 && len(t.peers) > limit; {
		t.drop(now, leastUseful(now, t.peers, t.seeding()), errFewer)
	}
	for _, p := range t.peers {
		t.updateInterest(p)
	}
	t.restate(now)
	t.wakeAll, t.changed = true, true
}

// wants reports whether a piece is wanted.
func (t *Torrent) wants(piece int) bool {
	return piece >= len(t.want.Priorities) || t.want.Priorities[piece] != picker.Skip
}

// seeding reports whether nothing that is wanted is missing; complete, whether nothing is.
func (t *Torrent) seeding() bool  { return t.pick.Wanted() == 0 }
func (t *Torrent) complete() bool { return t.pick.Missing() == 0 }

// restate draws the conclusions when the torrent has begun to want nothing, or something again.
func (t *Torrent) restate(now time.Time) {
	if t.seeding() == t.seeded {
		return
	}
	t.seeded = t.seeding()
	for _, p := range slices.Clone(t.peers) {
		if t.useless(p) {
			t.drop(now, p, errBothSeeds)
			continue
		}
		t.sendExtensions(p)
		t.touch(p)
	}
	if t.seeded {
		clear(t.suspects.sums)
		t.choking.now = true
		t.log.Debug("torrent has all that is wanted", "uploaded", t.total.uploaded, "downloaded", t.total.downloaded)
	}
	t.publish(now)
}
