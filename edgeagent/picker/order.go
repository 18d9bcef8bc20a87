package picker

// takeFresh removes a piece from the fresh ones.
func (k *Picker) takeFresh(piece int) {
	hole := k.state[piece]
	for a := int(k.avail[piece]); a < len(k.ends); a++ {
		last := k.ends[a] - 1
		if last != hole {
			k.place(k.order[last], hole)
		}
		hole = last
		k.ends[a]--
	}
	k.order = k.order[:hole]
	for _, p := range k.peers {
		if !p.all && has(p.bits, piece) {
			p.fresh--
		}
	}
}

// putFresh adds a piece to the fresh ones at a random place among those as rare.
func (k *Picker) putFresh(piece int) {
	a := int(k.avail[piece])
	k.needBucket(a)
	hole := int32(len(k.order))
	k.order = append(k.order, int32(piece))
	for b := len(k.ends) - 1; b > a; b-- {
		first := k.ends[b-1]
		if first != hole {
			k.place(k.order[first], hole)
		}
		hole = first
		k.ends[b]++
	}
	k.ends[a]++
	k.place(int32(piece), hole)
	k.shuffleIn(piece)
	for _, p := range k.peers {
		if !p.all && has(p.bits, piece) {
			p.fresh++
		}
	}
}

// raise counts one more peer that has the piece.
func (k *Picker) raise(piece int) {
	a := int(k.avail[piece])
	k.avail[piece]++
	if at := k.state[piece]; at >= 0 {
		k.needBucket(a + 1)
		k.ends[a]--
		k.swap(at, k.ends[a])
		k.shuffleIn(piece)
	}
}

// lower counts one peer less that has the piece.
func (k *Picker) lower(piece int) {
	k.avail[piece]--
	a := int(k.avail[piece])
	if at := k.state[piece]; at >= 0 {
		k.swap(at, k.ends[a])
		k.ends[a]++
		k.shuffleIn(piece)
	}
}

// needBucket makes ends reach availability a.
func (k *Picker) needBucket(a int) {
	for len(k.ends) <= a {
		k.ends = append(k.ends, int32(len(k.order)))
	}
}

// bucket returns the bounds in order of the fresh pieces with availability a.
func (k *Picker) bucket(a int) (first, end int32) {
	if a > 0 {
		first = k.ends[a-1]
	}
	return first, k.ends[a]
}

// shuffleIn swaps the piece with a random one of its bucket, so that peers with the same view choose differently.
func (k *Picker) shuffleIn(piece int) {
	first, end := k.bucket(int(k.avail[piece]))
	k.swap(k.state[piece], first+k.rng.Int32N(end-first))
}

func (k *Picker) swap(i, j int32) {
	a, b := k.order[i], k.order[j]
	k.place(a, j)
	k.place(b, i)
}

func (k *Picker) place(piece, at int32) {
	k.order[at] = piece
	k.state[piece] = at
}
