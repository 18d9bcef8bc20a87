package choker

import (
	"cmp"
	"slices"
)

// seed serves everybody in turn: those whose turn is not over, then those who wait, then those whose turn is over.
func seed(q Question, peers []Peer, chosen []Choice) []Choice {
	fastest := int64(1)
	for _, p := range peers {
		fastest = max(fastest, p.Took)
	}
	slices.SortFunc(peers, func(a, b Peer) int {
		return cmp.Or(
			cmp.Compare(rank(q, a), rank(q, b)),
			preferred(q, a, b, fastest),
			cmp.Compare(a.ID, b.ID),
		)
	})
	for _, p := range peers {
		if len(chosen) < q.Slots {
			chosen = append(chosen, Choice{ID: p.ID})
		}
	}
	return chosen
}

// rank puts peers whose slot is safe before those who wait, and these before peers whose turn is over.
func rank(q Question, p Peer) int {
	held := q.Now.Sub(p.Since)
	switch {
	case !p.Unchoked:
		return 1
	case held >= Turn, held >= patience && p.Took < idle:
		return 2
	}
	return 0
}

// preferred orders peers of equal rank: who waits by how long, weighed by how fast it takes, and of those with a slot the
// newest first, so that when slots are taken back they are those held longest.
func preferred(q Question, a, b Peer, fastest int64) int {
	if a.Unchoked {
		return b.Since.Compare(a.Since)
	}
	return cmp.Compare(claim(q, b, fastest), claim(q, a, fastest))
}

// claim is a peer's wait in seconds, counted up to four times for one that takes fast, and for one that has not been able
// to show it yet. Since it grows with the wait of all, nobody waits more than four times as long as is fair.
func claim(q Question, p Peer, fastest int64) float64 {
	weight := 4.0
	if p.Served {
		weight = 1 + 3*float64(p.Took)/float64(fastest)
	}
	return weight * q.Now.Sub(p.Since).Seconds()
}
