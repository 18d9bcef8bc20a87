package picker

// Pick appends at most n blocks to ask the peer for to dst and records them as requested. It returns fewer when the
// peer has nothing more to offer. The caller has checked that the peer does not choke us.
func (k *Picker) Pick(p *Peer, n int, dst []Block) []Block {
	if !k.Interesting(p) {
		return dst
	}
	for n > 0 {
		if p.current == nil || p.current.free == 0 {
			p.current = k.next(p)
			if p.current == nil {
				return dst
			}
		}
		took := len(dst)
		dst = k.take(p, p.current, n, dst)
		n -= len(dst) - took
	}
	return dst
}

// PickAllowed is Pick for a peer that chokes us: only pieces that it allows nevertheless.
func (k *Picker) PickAllowed(p *Peer, n int, dst []Block) []Block {
	if !k.Interesting(p) {
		return dst
	}
	for _, piece := range p.allowed {
		if n <= 0 {
			break
		}
		if !p.Has(int(piece)) || k.state[piece] == had {
			continue
		}
		var q *partial
		if k.state[piece] >= 0 {
			q = k.begin(p, int(piece))
		} else if q = k.partials[underway-k.state[piece]]; !q.open(p) {
			continue
		} else if q.owner == nil {
			q.owner = p
		}
		took := len(dst)
		dst = k.take(p, q, n, dst)
		n -= len(dst) - took
	}
	return dst
}

// next chooses the piece that the peer works on next.
func (k *Picker) next(p *Peer) *partial {
	if q := k.leftBehind(p); q != nil {
		q.owner = p
		return q
	}
	if piece := k.rarest(p); piece >= 0 {
		return k.begin(p, piece)
	}
	return k.share(p)
}

// leftBehind returns the piece that is nearest to its end among those that nobody works on.
func (k *Picker) leftBehind(p *Peer) *partial {
	var best *partial
	if k.free == 0 {
		return nil
	}
	for _, q := range k.partials {
		if q.owner == nil && q.free > 0 && p.Has(q.piece) && (best == nil || q.free < best.free) {
			best = q
		}
	}
	return best
}

// rarest returns the rarest fresh piece that the peer has, or -1.
func (k *Picker) rarest(p *Peer) int {
	if k.freshFor(p) == 0 {
		return -1
	}
	if p.all {
		return int(k.order[0])
	}
	// Nobody but those with everything has the pieces of the first bucket.
	for _, piece := range k.order[k.ends[0]:] {
		if has(p.bits, int(piece)) {
			return int(piece)
		}
	}
	return -1
}

// share returns the piece with most left to do among those that others work on.
func (k *Picker) share(p *Peer) *partial {
	var best *partial
	if k.free == 0 {
		return nil
	}
	for _, q := range k.partials {
		if q.open(p) && p.Has(q.piece) && (best == nil || q.free > best.free) {
			best = q
		}
	}
	return best
}

// open reports whether the peer may take blocks of q.
func (q *partial) open(p *Peer) bool {
	return q.free > 0 && (!q.alone || q.owner == nil || q.owner == p)
}

// take requests the first n free blocks of q of the peer.
func (k *Picker) take(p *Peer, q *partial, n int, dst []Block) []Block {
	for i := q.next; i < len(q.blocks) && n > 0; i++ {
		q.next = i + 1
		if q.blocks[i] != 0 {
			continue
		}
		q.blocks[i] = p.id
		q.free--
		k.free--
		k.asked++
		p.requests++
		n--
		dst = append(dst, k.block(q, i))
	}
	return dst
}
