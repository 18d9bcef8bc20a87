// Package choker decides which peers may download from us. It is one pure function over what the caller knows of its
// interested peers, without I/O, clock or memory of its own.
//
// The rule is fair rather than clever: a peer keeps its slot while it is interested, and a free slot goes to the peer
// that has waited longest. A seed, which has no downloads to repay, also takes a slot back after [Turn] when somebody
// waits for it, so that every interested peer gets its turn.
package choker

import (
	"cmp"
	"slices"
	"time"
)

// Turn is how long a peer keeps a seed's slot while others wait.
const Turn = 30 * time.Second

// Peer is an interested peer as the choker sees it.
type Peer struct {
	// ID is the caller's name for the peer. It also breaks ties: the smaller goes first.
	ID uint32
	// Unchoked says whether the peer has a slot.
	Unchoked bool
	// Since is when it got the slot or, without one, since when it waits.
	Since time.Time
}

// Choose returns the IDs of the peers that shall have a slot, at most slots of them, in no order that means anything.
// peers are the interested ones; those not returned are to be choked. The slice is reordered.
func Choose(now time.Time, peers []Peer, slots int, seeding bool) []uint32 {
	slices.SortFunc(peers, func(a, b Peer) int {
		return cmp.Or(
			cmp.Compare(rank(now, a, seeding), rank(now, b, seeding)),
			preferred(a, b),
			cmp.Compare(a.ID, b.ID),
		)
	})
	chosen := make([]uint32, 0, min(slots, len(peers)))
	for _, p := range peers[:min(slots, len(peers))] {
		chosen = append(chosen, p.ID)
	}
	return chosen
}

// rank puts peers whose slot is safe before those who wait, and these before peers whose turn is over.
func rank(now time.Time, p Peer, seeding bool) int {
	switch {
	case !p.Unchoked:
		return 1
	case seeding && now.Sub(p.Since) >= Turn:
		return 2
	}
	return 0
}

// preferred orders peers of equal rank: the longest wait first, but the newest slot first, so that when slots are
// taken back they are those held longest.
func preferred(a, b Peer) int {
	if a.Unchoked {
		return b.Since.Compare(a.Since)
	}
	return a.Since.Compare(b.Since)
}
