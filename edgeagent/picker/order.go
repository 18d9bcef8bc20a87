package picker

// An order is the fresh pieces of one class, by availability.
type order struct {
	pieces []int32
	ends   []int32
	first  int // no piece of the order has a lower index
}

// sortAll makes the orders from scratch, of all pieces that are neither had nor under way, in exactly the memory that
// the missing pieces of each class can ever need.
func (k *Picker) sortAll() {
	var room [classes]int
	for c := range k.orders {
		k.orders[c] = order{}
	}
	for piece, state := range k.state {
		c := k.class(piece)
		if state == had || c == unwanted {
			if state >= 0 {
				k.state[piece] = skipped
			}
			continue
		}
		room[c]++
		if state > underway {
			o := &k.orders[c]
			a := int(k.avail[piece])
			for len(o.ends) <= a {
				o.ends = append(o.ends, 0)
			}
			o.ends[a]++
		}
	}
	for c := range k.orders {
		o := &k.orders[c]
		if len(o.ends) == 0 {
			o.ends = []int32{0}
		}
		sum := int32(0)
		for a, n := range o.ends {
			o.ends[a], sum = sum, sum+n
		}
		o.pieces = make([]int32, sum, room[c])
	}
	// Each bucket's end begins at its start and moves up as the bucket fills.
	for piece, state := range k.state {
		c := k.class(piece)
		if state == had || state <= underway || c == unwanted {
			continue
		}
		o := &k.orders[c]
		end := &o.ends[k.avail[piece]]
		o.pieces[*end] = int32(piece)
		*end++
	}
	for c := range k.orders {
		o := &k.orders[c]
		for a := range o.ends {
			first, end := o.bucket(a)
			k.rng.Shuffle(int(end-first), func(i, j int) {
				i, j = i+int(first), j+int(first)
				o.pieces[i], o.pieces[j] = o.pieces[j], o.pieces[i]
			})
		}
		for i, piece := range o.pieces {
			k.state[piece] = int32(i)
		}
	}
}

// takeFresh removes a piece from its order.
func (k *Picker) takeFresh(piece int) {
	c := k.class(piece)
	o := &k.orders[c]
	hole := k.state[piece]
	for a := int(k.avail[piece]); a < len(o.ends); a++ {
		last := o.ends[a] - 1
		if last != hole {
			k.place(o, o.pieces[last], hole)
		}
		hole = last
		o.ends[a]--
	}
	o.pieces = o.pieces[:hole]
	for _, p := range k.peers {
		if !p.all && has(p.bits, piece) {
			p.fresh[c]--
		}
	}
}

// putFresh adds a wanted piece to its order, at a random place among those as rare.
func (k *Picker) putFresh(piece int) {
	c := k.class(piece)
	o := &k.orders[c]
	a := int(k.avail[piece])
	o.needBucket(a)
	hole := int32(len(o.pieces))
	o.pieces = append(o.pieces, int32(piece))
	for b := len(o.ends) - 1; b > a; b-- {
		first := o.ends[b-1]
		if first != hole {
			k.place(o, o.pieces[first], hole)
		}
		hole = first
		o.ends[b]++
	}
	o.ends[a]++
	k.place(o, int32(piece), hole)
	k.shuffleIn(o, piece)
	o.first = min(o.first, piece)
	for _, p := range k.peers {
		if !p.all && has(p.bits, piece) {
			p.fresh[c]++
		}
	}
}

// raise counts one more peer that has the piece.
func (k *Picker) raise(piece int) {
	a := int(k.avail[piece])
	k.avail[piece]++
	if at := k.state[piece]; at >= 0 {
		o := &k.orders[k.class(piece)]
		o.needBucket(a + 1)
		o.ends[a]--
		k.swap(o, at, o.ends[a])
		k.shuffleIn(o, piece)
	}
}

// lower counts one peer less that has the piece.
func (k *Picker) lower(piece int) {
	k.avail[piece]--
	a := int(k.avail[piece])
	if at := k.state[piece]; at >= 0 {
		o := &k.orders[k.class(piece)]
		k.swap(o, at, o.ends[a])
		o.ends[a]++
		k.shuffleIn(o, piece)
	}
}

// needBucket makes ends reach availability a.
func (o *order) needBucket(a int) {
	for len(o.ends) <= a {
		o.ends = append(o.ends, int32(len(o.pieces)))
	}
}

// bucket returns the bounds of the pieces with availability a.
func (o *order) bucket(a int) (first, end int32) {
	if a > 0 {
		first = o.ends[a-1]
	}
	return first, o.ends[a]
}

// shuffleIn swaps the piece with a random one of its bucket, so that peers with the same view choose differently.
func (k *Picker) shuffleIn(o *order, piece int) {
	first, end := o.bucket(int(k.avail[piece]))
	k.swap(o, k.state[piece], first+k.rng.Int32N(end-first))
}

func (k *Picker) swap(o *order, i, j int32) {
	a, b := o.pieces[i], o.pieces[j]
	k.place(o, a, j)
	k.place(o, b, i)
}

func (k *Picker) place(o *order, piece, at int32) {
	o.pieces[at] = piece
	k.state[piece] = at
}
