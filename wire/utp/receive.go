package utp

// gapSlack is what a packet that fills a gap may exceed the receive buffer by, in bytes: dropping it would leave
// everything behind it waiting.
const gapSlack = 16 << 10

// receiver puts the stream together.
type receiver struct {
	ring     ring
	early    reorder
	next     uint16 // sequence number of the first packet that is missing
	limit    int    // most bytes to hold
	promised int    // bytes that the peer may still send as far as it knows
	ackDue   bool   // something came that must be acknowledged
	asked    int    // bytes of packets that came since something was sent, at most maxHeader
	refused  bool   // the budget had no memory when it was asked last
	finKnown bool
	finSeq   uint16
	finished bool // everything up to their FIN is there
	grow     func(int) bool
	spare    func() int // as in coreConfig
}

// window is the bytes there is room for.
func (r *receiver) window() int {
	return max(r.most()-r.ring.n-r.early.bytes, 0)
}

// most is the bytes that may be held as things are: what the ring can grow to. A peer that is told of more would send what
// is then dropped.
func (r *receiver) most() int {
	size := max(len(r.ring.buf), minRing)
	if r.refused {
		return min(r.limit, size)
	}
	if r.spare == nil {
		return r.limit
	}
	for spare := r.spare(); size < r.limit && 2*size-len(r.ring.buf) <= max(spare, minRing); {
		size *= 2
	}
	return min(size, r.limit)
}

// accept takes a packet that has a sequence number, and reports whether its payload was new.
func (r *receiver) accept(seq uint16, payload []byte, fin bool) bool {
	r.ackDue = true
	r.asked = min(r.asked+headerLen+len(payload), maxHeader)
	ahead := int(int16(seq - r.next))
	if ahead < 0 || r.finished {
		return false
	}
	if r.finKnown && (int16(seq-r.finSeq) > 0 || fin && seq != r.finSeq) {
		return false
	}
	if fin && !r.finKnown && r.early.count > 0 && int16(r.early.highest-seq) > 0 {
		return false // it cannot end before what was sent
	}
	if ahead > 0 {
		if len(payload) > r.window() || !r.early.put(seq, ahead, payload, 2*r.limit, r.grow) {
			return false
		}
	} else if !r.fill(payload) {
		return false
	}
	r.promised -= len(payload)
	if fin {
		r.finKnown, r.finSeq = true, seq
	}
	r.drain()
	r.finished = r.finKnown && r.next == r.finSeq+1
	return true
}

// fill takes the payload of the packet that is missing.
func (r *receiver) fill(payload []byte) bool {
	room := r.limit - r.ring.n - r.early.bytes
	if r.early.count > 0 {
		room += gapSlack
	}
	if len(payload) > room || !r.room(len(payload)) {
		return false
	}
	r.ring.write(payload)
	r.next++
	return true
}

// drain takes packets that are no longer early.
func (r *receiver) drain() {
	for r.early.count > 0 && r.early.has(r.next) && r.room(r.early.sizeOf(r.next)) {
		r.early.take(r.next, &r.ring)
		r.next++
	}
}

func (r *receiver) room(n int) bool {
	ok := r.ring.reserve(n, r.limit+gapSlack, r.grow)
	r.refused = !ok
	return ok
}

// read takes bytes out, and asks for a window update when that opens the window by a quarter.
func (r *receiver) read(b []byte) int {
	n := min(len(b), r.ring.n)
	if n == 0 {
		return 0
	}
	r.ring.copyTo(b[:n], 0)
	r.ring.discard(n)
	if r.early.count > 0 {
		r.drain() // what the budget had no room for
		r.finished = r.finKnown && r.next == r.finSeq+1
	}
	if !r.finished && r.window()-r.promised >= r.most()/4 {
		r.ackDue = true
	}
	return n
}
