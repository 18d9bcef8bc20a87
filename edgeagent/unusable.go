package edgeagent

import (
	"sync"
	"time"

	"simplebit/edgeagent/swarm"
	"simplebit/wire/control"
)

// maxUnusable bounds the addresses that wait to be told: what a surrogate takes
// at once.
const maxUnusable = 4 * control.MaxCandidates

// unusable collects the addresses that the swarms found to be of no use, for the
// session. Without one they are dropped: the surrogate then verifies addresses
// again anyway. Any goroutine may call its methods.
type unusable struct {
	mu   sync.Mutex
	open bool // there is a session
	n    int  // addresses in byID
	byID map[infoHash][]control.UnusablePeer
	told time.Time
}

// begin forgets what an earlier session has left, and collects for a new one.
func (u *unusable) begin() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.open, u.n, u.byID = true, 0, map[infoHash][]control.UnusablePeer{}
}

// end drops what is collected and what comes until begin.
func (u *unusable) end() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.open, u.byID = false, nil
}

// add notes a torrent's verdicts; beyond the bounds they are dropped.
func (u *unusable) add(id infoHash, list []swarm.Verdict) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, v := range list {
		if !u.open || u.n == maxUnusable || len(u.byID[id]) == control.MaxCandidates {
			return
		}
		if !v.Addr.IsValid() || v.Addr.Port() == 0 {
			continue
		}
		u.byID[id] = append(u.byID[id], control.UnusablePeer{Addr: v.Addr, Reason: control.UnusableReason(v.Reason)})
		u.n++
	}
}

// due returns one message for each torrent that has any, but nothing before so
// long after the last ones.
func (u *unusable) due(now time.Time, every time.Duration) (due []control.Unusable) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.n == 0 || now.Sub(u.told) < every {
		return nil
	}
	for id, peers := range u.byID {
		due = append(due, control.Unusable{ID: id, Peers: peers})
	}
	clear(u.byID)
	u.n, u.told = 0, now
	return due
}
