package picker

import (
	"math/bits"
	"slices"
)

// Priority says when a piece is wanted. The numbers are those of control.FilePriority.
type Priority uint8

// The priorities of pieces. Unknown ones are as Normal.
const (
	Normal Priority = iota
	Skip            // not at all
	Low             // after all others
	High            // before all others
)

// A class is the pieces of one priority; those of a lower class go first.
type class int

const (
	unwanted class = iota - 1
	high
	normal
	low
	classes = iota - 1
)

// class returns which class the piece is in.
func (k *Picker) class(piece int) class {
	if k.prio == nil {
		return normal
	}
	switch k.prio[piece] {
	case Skip:
		return unwanted
	case High:
		return high
	case Low:
		return low
	}
	return normal
}

// SetPriorities says how much each piece is wanted, at any time; those beyond the slice, which is not kept, are normal.
// Requests for pieces that are skipped from now on are given up: see Cancels. Blocks that have come of such a piece
// count when it is wanted again, so the storage must keep them. It costs a look at every piece of every peer.
func (k *Picker) SetPriorities(list []Priority) {
	if k.missing == 0 {
		return
	}
	var prio []Priority
	if slices.ContainsFunc(list[:min(len(list), len(k.state))], func(p Priority) bool { return p != Normal }) {
		prio = make([]Priority, len(k.state))
		copy(prio, list)
	}
	if slices.Equal(prio, k.prio) {
		return
	}
	for _, q := range k.partials {
		if q.piece < len(prio) && prio[q.piece] == Skip {
			k.withdraw(q)
			k.leave(q)
		}
	}
	k.prio = prio
	for _, q := range slices.Backward(k.partials) {
		if q.idle() {
			k.retire(q)
		}
	}
	k.sortAll()
	k.recount()
}

// recount makes the counts that depend on priorities from scratch, and has peers leave pieces while there are fresh ones
// of a higher class.
func (k *Picker) recount() {
	k.wanted, k.free = 0, 0
	for piece, state := range k.state {
		if state != had && k.class(piece) != unwanted {
			k.wanted++
		}
	}
	top := high
	for top < low && len(k.orders[top].pieces) == 0 {
		top++
	}
	for _, q := range k.partials {
		c := k.class(q.piece)
		if c != unwanted {
			k.free += q.free
		}
		if c > top {
			k.leave(q)
		}
	}
	for _, p := range k.peers {
		if p.all {
			continue
		}
		p.wanted, p.fresh = 0, [classes]int{}
		for at, octet := range p.bits {
			for ; octet != 0; octet &= 0x7f >> bits.LeadingZeros8(octet) {
				piece := at<<3 + bits.LeadingZeros8(octet)
				state, c := k.state[piece], k.class(piece)
				if state != had && c != unwanted {
					p.wanted++
				}
				if state >= 0 {
					p.fresh[c]++
				}
			}
		}
	}
}

// SetSequential makes fresh pieces of a class come in the order of the content, at any time. Pieces under way are
// finished as they are.
func (k *Picker) SetSequential(on bool) {
	k.sequential = on
	for c := range k.orders {
		k.orders[c].first = 0
	}
}
