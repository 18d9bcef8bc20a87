package picker

import (
	"cmp"
	"slices"
)

// Endgame reports whether blocks are requested and none that is wanted and offered by a peer is left to ask for, so that
// Pick gives out blocks that another peer owes. What nobody has does not count, nor does the rest of a piece on
// probation that a peer works on.
func (k *Picker) Endgame() bool {
	if k.asked == 0 {
		return false
	}
	for _, o := range k.orders {
		if len(o.pieces) > 0 && (k.seeds > 0 || len(o.pieces) > int(o.ends[0])) {
			return false
		}
	}
	for _, q := range k.partials {
		taken := q.probation && (q.owner != nil || q.pending > 0)
		if q.free > q.late && !taken && k.class(q.piece) != unwanted && (k.seeds > 0 || k.avail[q.piece] > 0) {
			return false
		}
	}
	return true
}

// owed is a block that a peer was asked for, alone.
type owed struct {
	q     *partial
	block int
	pace  uint32 // of that peer
}

// double requests up to n blocks of the peer that others owe, those of the slowest first, and of these the last ones:
// they would take longest to come.
func (k *Picker) double(p *Peer, n int, dst []Block) []Block {
	if p.snubbed || !k.Endgame() {
		return dst
	}
	k.owed = k.owed[:0]
	for _, q := range k.partials {
		if q.pending == 0 || q.probation || !p.Has(q.piece) {
			continue
		}
		for i, by := range slices.Backward(q.blocks) {
			if by != 0 && by&received == 0 && by != p.id && q.second(i) < 0 {
				k.owed = append(k.owed, owed{q, i, k.pace(k.peer(by))})
			}
		}
	}
	slices.SortStableFunc(k.owed, func(a, b owed) int { return cmp.Compare(a.pace, b.pace) })
	for _, o := range k.owed[:min(n, len(k.owed))] {
		o.q.addSecond(o.block, p)
		k.asked++
		p.requests++
		dst = append(dst, k.block(o.q, o.block))
	}
	return dst
}

// paceEpoch is after how many blocks, of all peers, what came before counts half in a peer's pace.
const paceEpoch = 256

// pace tells how much of what came lately came from the peer: its rate, without a clock.
func (k *Picker) pace(p *Peer) uint32 {
	return p.pace >> min(k.arrivals/paceEpoch-p.epoch, 31)
}

// arrived counts a block of the peer.
func (k *Picker) arrived(p *Peer) {
	k.arrivals++
	p.pace = k.pace(p) + paceEpoch
	p.epoch = k.arrivals / paceEpoch
}
