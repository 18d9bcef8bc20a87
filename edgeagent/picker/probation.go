package picker

import "slices"

// Failed records that a piece, all of whose blocks were received, has the wrong hash: all its blocks are free again,
// and it is on probation until verified. It returns the peers that sent them, each once, for the caller to judge: a
// single one is to blame for certain, and gets the piece again only when nobody else has it.
func (k *Picker) Failed(piece int) []ID {
	if k.missing == 0 || k.state[piece] > underway {
		return nil
	}
	q := k.partials[underway-k.state[piece]]
	k.withdraw(q)
	var from []ID
	for i, by := range q.blocks {
		if by&received == 0 {
			continue
		}
		from = append(from, by&^received)
		q.blocks[i] = 0
		q.free++
		if k.class(piece) != unwanted {
			k.free++
		}
	}
	k.leave(q)
	q.next, q.probation = 0, true
	slices.Sort(from)
	from = slices.Compact(from)
	if len(from) == 1 {
		q.barred = slices.DeleteFunc(q.barred, func(id ID) bool { return k.peer(id) == nil || id == from[0] })
		q.barred = append(q.barred, from[0])
	}
	return from
}

// mayTry reports whether the peer may be asked for blocks of a piece on probation now: nobody else works on it, and the
// peer has not failed it alone, nor is it snubbed, unless there is nobody better.
func (k *Picker) mayTry(p *Peer, q *partial) bool {
	if q.owner != p && (q.owner != nil || q.pending > 0) {
		return false
	}
	barred := slices.Contains(q.barred, p.id)
	if !barred && !p.snubbed {
		return true
	}
	return !slices.ContainsFunc(k.peers, func(o *Peer) bool {
		return o != p && o.Has(q.piece) && (barred || !o.snubbed) && !slices.Contains(q.barred, o.id)
	})
}

// mixed reports whether a try of the piece would have more than one author if the peer went on with it. Such a piece is
// taken last: those who began it may yet finish it.
func (q *partial) mixed(p *Peer) bool {
	return q.probation && slices.ContainsFunc(q.blocks, func(by ID) bool { return by&received != 0 && by != p.id|received })
}
