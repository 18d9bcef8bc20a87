package picker

// randomFirst is how many pieces are chosen at random before the rarest go first. A rare piece comes from few, and so
// slowly, while a new peer has nothing to trade.
const randomFirst = 4

// Pick appends at most n blocks to ask the peer for to dst and records them as requested. It returns fewer when the
// peer has nothing more to offer. The caller has checked that the peer does not choke us.
func (k *Picker) Pick(p *Peer, n int, dst []Block) []Block {
	if !k.Interesting(p) {
		return dst
	}
	for n > 0 {
		if p.current == nil || !k.open(p, p.current) {
			if p.current = k.next(p); p.current == nil {
				return k.double(p, n, dst)
			}
		}
		took := len(dst)
		dst = k.take(p, p.current, n, dst)
		n -= len(dst) - took
	}
	return dst
}

// PickAllowed is Pick for a peer that chokes us: only pieces that it allows nevertheless, and no endgame.
func (k *Picker) PickAllowed(p *Peer, n int, dst []Block) []Block {
	if !k.Interesting(p) {
		return dst
	}
	for _, piece := range p.allowed {
		if n <= 0 {
			break
		}
		var q *partial
		switch state := k.state[piece]; {
		case state <= underway:
			q = k.partials[underway-state]
		case state >= 0 && p.Has(int(piece)):
			q = k.begin(int(piece))
		default:
			continue
		}
		if !k.open(p, q) {
			continue
		}
		q.adopt(p)
		took := len(dst)
		dst = k.take(p, q, n, dst)
		n -= len(dst) - took
	}
	return dst
}

// next chooses the piece that the peer works on next.
func (k *Picker) next(p *Peer) *partial {
	q := k.leftBehind(p)
	for c := high; c < classes; c++ {
		if q != nil && k.class(q.piece) == c {
			break
		}
		if k.freshFor(p, c) > 0 {
			q = k.begin(k.choose(p, c))
			break
		}
	}
	if q == nil {
		q = k.share(p)
	}
	if q != nil {
		q.adopt(p)
	}
	return q
}

// adopt makes the peer the one who works on the piece, if nobody does. Nobody relies on a snubbed one.
func (q *partial) adopt(p *Peer) {
	if q.owner == nil && !p.snubbed {
		q.owner = p
	}
}

// leftBehind returns the best of the pieces under way that are the peer's or nobody's: its own, or the one that is
// nearest to its end.
func (k *Picker) leftBehind(p *Peer) *partial {
	var best *partial
	if k.free == 0 {
		return nil
	}
	for _, q := range k.partials {
		if q.owner != nil && q.owner != p || !k.open(p, q) || q.mixed(p) {
			continue
		}
		if best == nil || k.before(q, best, func() bool {
			if q.owner != best.owner {
				return q.owner == p
			}
			return q.free < best.free
		}) {
			best = q
		}
	}
	return best
}

// share returns the piece with most left to do among those that others work on.
func (k *Picker) share(p *Peer) *partial {
	var best *partial
	if k.free == 0 {
		return nil
	}
	for _, q := range k.partials {
		if k.open(p, q) && (best == nil || k.before(q, best, func() bool { return q.free > best.free })) {
			best = q
		}
	}
	return best
}

// before reports whether q goes before r: by class, by position if that is what counts, or else as better says.
func (k *Picker) before(q, r *partial, better func() bool) bool {
	if a, b := k.class(q.piece), k.class(r.piece); a != b {
		return a < b
	}
	if k.sequential {
		return q.piece < r.piece
	}
	return better()
}

// choose returns the fresh piece of the class to begin with the peer, which has one.
func (k *Picker) choose(p *Peer, c class) int {
	o := &k.orders[c]
	switch {
	case k.sequential:
		return k.foremost(p, c)
	case k.pieces()-k.missing < randomFirst:
		return o.seek(p, k.rng.IntN(len(o.pieces)))
	case p.all:
		return int(o.pieces[0])
	}
	// Nobody but those with everything has the pieces of the first bucket.
	return o.seek(p, int(o.ends[0]))
}

// seek returns the next piece of the order, from a position on and around, that the peer has. There must be one.
func (o *order) seek(p *Peer, from int) int {
	for !p.all && !has(p.bits, int(o.pieces[from])) {
		if from++; from == len(o.pieces) {
			from = 0
		}
	}
	return int(o.pieces[from])
}

// foremost returns the piece of the class with the lowest index that the peer has. There must be one.
func (k *Picker) foremost(p *Peer, c class) int {
	o := &k.orders[c]
	for k.state[o.first] < 0 || k.class(o.first) != c {
		o.first++
	}
	piece := o.first
	for k.state[piece] < 0 || k.class(piece) != c || !p.Has(piece) {
		piece++
	}
	return piece
}

// open reports whether the peer may be asked for blocks of the piece now.
func (k *Picker) open(p *Peer, q *partial) bool {
	free := q.free
	if p.snubbed && !q.probation {
		free -= q.late
	}
	return free > 0 && p.Has(q.piece) && k.class(q.piece) != unwanted && (!q.probation || k.mayTry(p, q))
}

// take requests the first n blocks of the piece that the peer may be asked for.
func (k *Picker) take(p *Peer, q *partial, n int, dst []Block) []Block {
	for i := q.next; i < len(q.blocks) && n > 0; i++ {
		if q.blocks[i] == 0 && (!p.snubbed || q.second(i) < 0) {
			k.request(p, q, i)
			dst = append(dst, k.block(q, i))
			n--
		}
		if q.blocks[i] != 0 && q.next == i {
			q.next = i + 1
		}
	}
	return dst
}
