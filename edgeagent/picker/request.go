package picker

import "slices"

// Cancel is a request that the picker has given up without the peer's doing.
type Cancel struct {
	Peer  *Peer
	Block Block
}

// Cancels appends to dst the requests that SetPriorities, SetSnubbed, Verified and Failed have given up since the last
// call. The caller sends each peer a CANCEL; what comes nevertheless is refused as not asked for.
func (k *Picker) Cancels(dst []Cancel) []Cancel {
	dst = append(dst, k.cancels...)
	k.cancels = nil
	return dst
}

// Received records that the peer has sent the block. It is not ok when the block was not asked of this peer: then it
// must not be written. Another peer that was asked for it as well, of which there is one at most, owes it no more and is
// appended to also: the caller sends it a CANCEL.
func (k *Picker) Received(p *Peer, b Block, also []*Peer) (ok bool, cancel []*Peer) {
	q, i := k.find(b)
	if q == nil {
		return false, also
	}
	next := q.next
	if !k.release(p, q, i) {
		return false, also
	}
	if other := k.debtor(q, i); other != nil {
		k.release(other, q, i)
		also = append(also, other)
	}
	q.blocks[i] = p.id | received
	q.next = next
	q.free--
	k.free--
	k.arrived(p)
	return true, also
}

// Rejected records that the peer will not send the block (BEP 6), so that others are asked. It reports false for a
// block that was not asked of this peer.
func (k *Picker) Rejected(p *Peer, b Block) bool {
	q, i := k.find(b)
	if q == nil || !k.release(p, q, i) {
		return false
	}
	q.disown(p)
	k.freshAgain(q)
	return true
}

// Choked records that the peer serves no more for now: its pieces are left to others. Without keep, what was asked of
// it is free again; with keep it stays asked until received or rejected, as the fast extension has it.
func (k *Picker) Choked(p *Peer, keep bool) {
	for _, q := range slices.Backward(k.partials) {
		for i := 0; !keep && p.requests > 0 && i < len(q.blocks); i++ {
			k.release(p, q, i)
		}
		q.disown(p)
		k.freshAgain(q)
	}
}

// SetSnubbed says whether the peer owes blocks and has sent none for so long that it is not to be relied upon. What it
// owes may then be asked of others too, but for pieces on probation, whose requests are given up: see Cancels. The
// caller asks it for one block at a time.
func (k *Picker) SetSnubbed(p *Peer, on bool) {
	if p.snubbed == on {
		return
	}
	p.snubbed = on
	for _, q := range slices.Backward(k.partials) {
		for i := range q.blocks {
			if on && q.blocks[i] == p.id {
				k.lag(p, q, i)
			} else if at := q.second(i); !on && q.blocks[i] == 0 && at >= 0 && q.seconds[at].by == p {
				q.removeSecond(at)
				q.late--
				k.hold(p, q, i)
			}
		}
		q.disown(p)
		k.freshAgain(q)
	}
}

// lag makes the block that the snubbed peer holds one that another can hold.
func (k *Picker) lag(p *Peer, q *partial, block int) {
	at := q.second(block)
	switch {
	case q.probation, at >= 0 && q.seconds[at].by.snubbed:
		k.giveUp(p, q, block)
	case at >= 0:
		q.blocks[block] = q.seconds[at].by.id
		q.seconds[at].by = p
	default:
		k.letGo(q, block)
		q.addSecond(block, p)
		q.late++
	}
}

// withdraw gives up all requests for blocks of the piece.
func (k *Picker) withdraw(q *partial) {
	for i := range q.blocks {
		for p := k.debtor(q, i); p != nil; p = k.debtor(q, i) {
			k.giveUp(p, q, i)
		}
	}
}

func (k *Picker) giveUp(p *Peer, q *partial, block int) {
	k.release(p, q, block)
	k.cancels = append(k.cancels, Cancel{p, k.block(q, block)})
}

// debtor returns a peer that was asked for the block and has not sent it, or nil.
func (k *Picker) debtor(q *partial, block int) *Peer {
	if by := q.blocks[block]; by != 0 && by&received == 0 {
		return k.peer(by)
	}
	if at := q.second(block); at >= 0 {
		return q.seconds[at].by
	}
	return nil
}
