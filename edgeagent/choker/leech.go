package choker

import (
	"cmp"
	"slices"
)

// leech repays those who gave most, and leaves one slot and whatever nobody has earned to chance.
func leech(q Question, peers []Peer, chosen []Choice) []Choice {
	slices.SortFunc(peers, func(a, b Peer) int {
		return cmp.Or(cmp.Compare(b.earned(), a.earned()), cmp.Compare(a.ID, b.ID))
	})
	optimistic := 0
	for _, c := range chosen {
		if c.Optimistic {
			optimistic++
		}
	}
	repay := max(1, q.Slots-1) - (len(chosen) - optimistic)
	n := 0
	for n < len(peers) && n < repay && len(chosen) < q.Slots && peers[n].earned() > 0 {
		chosen = append(chosen, Choice{peers[n].ID, false})
		n++
	}
	return gamble(q, peers[n:], chosen)
}

// earned is what a peer's claim to a slot rests on, in bytes/s.
func (p Peer) earned() int64 {
	if p.Snubbed {
		return 0
	}
	return p.Gave
}

// gamble gives the slots that are left to peers chosen at random, each for a turn, and for longer where nobody waits.
func gamble(q Question, peers []Peer, chosen []Choice) []Choice {
	var waiting, done []Peer
	for _, p := range peers {
		switch {
		case !p.Unchoked:
			waiting = append(waiting, p)
		case p.Optimistic && q.Now.Sub(p.Since) < Turn && len(chosen) < q.Slots:
			chosen = append(chosen, Choice{p.ID, true})
		default:
			done = append(done, p)
		}
	}
	for len(chosen) < q.Slots && len(waiting) > 0 {
		i := draw(q, waiting)
		chosen = append(chosen, Choice{waiting[i].ID, true})
		waiting = slices.Delete(waiting, i, i+1)
	}
	for _, p := range done {
		if len(chosen) < q.Slots {
			chosen = append(chosen, Choice{p.ID, true})
		}
	}
	return chosen
}

// draw returns the index of a random peer.
func draw(q Question, peers []Peer) int {
	weight := func(p Peer) int {
		if q.Now.Sub(p.Joined) < fresh {
			return 3
		}
		return 1
	}
	sum := 0
	for _, p := range peers {
		sum += weight(p)
	}
	at := q.Rand.IntN(sum)
	for i, p := range peers {
		if at -= weight(p); at < 0 {
			return i
		}
	}
	return len(peers) - 1
}
