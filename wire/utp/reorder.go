package utp

const (
	chunkSize  = 512      // bytes
	slabChunks = 7        // allocated at a time
	maxEarly   = 16 << 10 // packets that the last may be ahead of the first missing one
	minSlots   = 64
	slotBytes  = 8 // memory of a slot
)

// early is a packet that came before one which is still missing.
type early struct {
	chunk uint32 // first of a chain; 0: none
	size  uint16
	held  bool
}

// reorder holds packets that came early, by sequence number, and their payloads in chains of chunks: what is missing
// has no known length, so there is no telling where in the stream they belong.
type reorder struct {
	slots   []early // a power of two, by sequence number
	count   int     // packets held
	bytes   int     // of payload held
	highest uint16  // sequence number of the furthest packet, when count > 0
	slabs   [][]byte
	next    []uint32 // of chunk i-1: the next of its chain, or free one
	free    uint32   // first free chunk
	used    int      // chunks in chains
}

// has reports whether the packet with this sequence number is held; first is the one missing.
func (r *reorder) has(seq uint16) bool {
	return len(r.slots) > 0 && r.slots[int(seq)&(len(r.slots)-1)].held
}

// put holds a packet that is ahead packets after the missing one, in at most limit bytes of chunks, and reports whether
// it did.
func (r *reorder) put(seq uint16, ahead int, payload []byte, limit int, grow func(int) bool) bool {
	if !r.widen(seq, ahead, grow) || r.has(seq) {
		return false
	}
	first, ok := r.store(payload, limit, grow)
	if !ok {
		return false
	}
	r.slots[int(seq)&(len(r.slots)-1)] = early{chunk: first, size: uint16(len(payload)), held: true}
	if r.count == 0 || int16(seq-r.highest) > 0 {
		r.highest = seq
	}
	r.count++
	r.bytes += len(payload)
	return true
}

// widen makes slots for packets up to ahead after the missing one.
func (r *reorder) widen(seq uint16, ahead int, grow func(int) bool) bool {
	if ahead < len(r.slots) {
		return true
	}
	if ahead >= maxEarly {
		return false
	}
	size := max(len(r.slots), minSlots)
	for size <= ahead {
		size *= 2
	}
	if !grow((size - len(r.slots)) * slotBytes) {
		return false
	}
	slots := make([]early, size)
	missing := seq - uint16(ahead)
	for i := range len(r.slots) {
		s := missing + uint16(i)
		slots[int(s)&(size-1)] = r.slots[int(s)&(len(r.slots)-1)]
	}
	r.slots = slots
	return true
}

// take moves the payload of the packet to the ring, which has room, and forgets the packet.
func (r *reorder) take(seq uint16, to *ring) {
	s := &r.slots[int(seq)&(len(r.slots)-1)]
	left := int(s.size)
	for i := s.chunk; i != 0; {
		n := min(left, chunkSize)
		to.write(r.chunk(i)[:n])
		left -= n
		following := r.next[i-1]
		r.next[i-1], r.free = r.free, i
		r.used--
		i = following
	}
	r.count--
	r.bytes -= int(s.size)
	*s = early{}
}

// sizeOf is the payload length of a packet that is held.
func (r *reorder) sizeOf(seq uint16) int { return int(r.slots[int(seq)&(len(r.slots)-1)].size) }

func (r *reorder) chunk(i uint32) []byte {
	i--
	at := int(i%slabChunks) * chunkSize
	return r.slabs[i/slabChunks][at : at+chunkSize]
}

func (r *reorder) store(b []byte, limit int, grow func(int) bool) (first uint32, ok bool) {
	need := (len(b) + chunkSize - 1) / chunkSize
	if (r.used+need)*chunkSize > limit {
		return 0, false
	}
	for len(r.next)-r.used < need {
		if !grow(slabChunks * (chunkSize + 4)) {
			return 0, false
		}
		r.slabs = append(r.slabs, make([]byte, slabChunks*chunkSize))
		for range slabChunks {
			r.next = append(r.next, r.free)
			r.free = uint32(len(r.next))
		}
	}
	last := uint32(0)
	for len(b) > 0 {
		i := r.free
		r.free, r.next[i-1] = r.next[i-1], 0
		if last == 0 {
			first = i
		} else {
			r.next[last-1] = i
		}
		last = i
		b = b[copy(r.chunk(i), b):]
		r.used++
	}
	return first, true
}

// trim gives all memory back if nothing is held.
func (r *reorder) trim(grow func(int) bool) {
	if r.count == 0 {
		r.drop(grow)
	}
}

// drop forgets everything.
func (r *reorder) drop(grow func(int) bool) {
	if n := r.memory(); n > 0 {
		grow(-n)
	}
	*r = reorder{}
}

func (r *reorder) memory() int {
	return len(r.slots)*slotBytes + len(r.slabs)*slabChunks*(chunkSize+4)
}
