// Package choker decides which peers may download from us, and how many at a time. It consists of pure functions over what
// the caller knows of its interested peers: no I/O, no clock, no memory of its own.
//
// While we download, slots repay: those who sent us most over the last 20 s keep theirs, and at least one slot is
// optimistic, so that somebody new can show what it gives (BEP 3, "Choking and optimistic unchoking"). A seed has nothing
// to repay. It serves everybody in turn, and sooner those who take much, since they can pass it on.
//
// What is decided between two rounds only fills free slots: a peer whose slot came and went with every message of others
// would get nothing done.
package choker

import (
	"math/rand/v2"
	"time"
)

const (
	// Interval is the time between two rounds.
	Interval = 10 * time.Second
	// Turn is how long a peer keeps an optimistic slot, or a slot of a seed, while others wait.
	Turn = 30 * time.Second
	// patience is how long a peer may hold a seed's slot and take nothing while others wait.
	patience = 20 * time.Second
	// idle is the rate in bytes/s below which a peer takes nothing.
	idle = 1 << 10
	// fresh is how long a peer counts as new: it lacks what others have long got, so it is three times as likely to get an
	// optimistic slot (BEP 3).
	fresh = time.Minute
)

// Peer is an interested peer as the choker sees it.
type Peer struct {
	// ID is the caller's name for the peer, not 0. It also breaks ties: the smaller goes first.
	ID uint32
	// Unchoked says whether the peer has a slot, and Optimistic whether it has it without having earned it.
	Unchoked, Optimistic bool
	// Since is when it got the slot or, without one, since when it waits.
	Since time.Time
	// Joined is when it connected.
	Joined time.Time
	// Gave is what it sent us over the last 20 s, in bytes/s.
	Gave int64
	// Took is what it took over the last 20 s or, without a slot, in its last turn, in bytes/s.
	Took int64
	// Served says whether it has had a slot before or has one now.
	Served bool
	// Snubbed says that it owes us blocks and sends none: it has earned nothing, whatever it gave.
	Snubbed bool
}

// Question is what is to be decided.
type Question struct {
	Now time.Time
	// Slots is how many peers may be served; see [Slots].
	Slots int
	// Seeding says that we want nothing ourselves.
	Seeding bool
	// Round says that slots may be taken back, as is due every [Interval]. Otherwise only free ones are given.
	Round bool
	// Rand decides who gets an optimistic slot.
	Rand *rand.Rand
}

// Choice is a peer that shall have a slot.
type Choice struct {
	ID         uint32
	Optimistic bool
}

// Choose returns the peers that shall have a slot, at most q.Slots of them. peers are the interested ones; those not
// returned are to be choked. The slice is reordered.
func Choose(q Question, peers []Peer) []Choice {
	chosen := make([]Choice, 0, min(max(q.Slots, 0), len(peers)))
	if !q.Round {
		chosen, peers = keep(q, peers, chosen)
	}
	if q.Seeding {
		return seed(q, peers, chosen)
	}
	return leech(q, peers, chosen)
}

// keep lets those who have a slot keep it. It returns them and the other peers.
func keep(q Question, peers []Peer, chosen []Choice) ([]Choice, []Peer) {
	rest := peers[:0]
	for _, p := range peers {
		if p.Unchoked && len(chosen) < q.Slots {
			chosen = append(chosen, Choice{p.ID, p.Optimistic})
		} else {
			rest = append(rest, p)
		}
	}
	return chosen, rest
}
