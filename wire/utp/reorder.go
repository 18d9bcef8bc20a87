package utp

const (
	chunkSize  = 512 // bytes
	slabChunks = 7   // allocated at a time
	pageSlots  = 64
	pageBytes  = pageSlots*8 + 16 // memory of a page
	entryBytes = 8                // and of its place in the table
	mostPages  = 256
	maxEarly   = (mostPages - 1) * pageSlots // packets that the last may be ahead of the first missing one
)

// early is a packet that came before one which is still missing.
type early struct {
	chunk uint32 // first of a chain; 0: none
	size  uint16
	held  bool
}

// page is the slots of packets that follow each other.
type page struct {
	slots [pageSlots]early
	held  int   // packets in it
	next  *page // in the list of unused ones
}

// reorder holds packets that came early, by sequence number, and their payloads in chains of chunks: what is missing
// has no known length, so there is no telling where in the stream they belong.
//
// Only pages with a packet in them exist: a lone packet far ahead must not cost the memory of all that may come before it.
type reorder struct {
	pages   []*page // a power of two, by sequence number; nil: nothing held
	unused  *page
	made    int    // pages, used or not
	count   int    // packets held
	bytes   int    // of payload held
	highest uint16 // sequence number of the furthest packet, when count > 0
	slabs   [][]byte
	next    []uint32 // of chunk i-1: the next of its chain, or free one
	free    uint32   // first free chunk
	used    int      // chunks in chains
}

// page is where the page of a packet has its place in the table, which is not empty.
func (r *reorder) page(seq uint16) **page { return &r.pages[int(seq/pageSlots)&(len(r.pages)-1)] }

// slot is the packet's own; nil if its page has none.
func (r *reorder) slot(seq uint16) *early {
	if len(r.pages) == 0 {
		return nil
	}
	p := *r.page(seq)
	if p == nil {
		return nil
	}
	return &p.slots[seq%pageSlots]
}

// has reports whether the packet with this sequence number is held. It must not be before the one missing, nor further ahead
// than any that was put.
func (r *reorder) has(seq uint16) bool {
	s := r.slot(seq)
	return s != nil && s.held
}

// put holds a packet that is ahead packets after the missing one, in at most limit bytes of chunks, and reports whether
// it did.
func (r *reorder) put(seq uint16, ahead int, payload []byte, limit int, grow func(int) bool) bool {
	if ahead >= maxEarly || !r.widen(seq, ahead, grow) || r.has(seq) || !r.open(seq, grow) {
		return false
	}
	first, ok := r.store(payload, limit, grow)
	if !ok {
		r.shut(seq)
		return false
	}
	*r.slot(seq) = early{chunk: first, size: uint16(len(payload)), held: true}
	(*r.page(seq)).held++
	if r.count == 0 || int16(seq-r.highest) > 0 {
		r.highest = seq
	}
	r.count++
	r.bytes += len(payload)
	return true
}

// widen makes the table large enough for a packet that is ahead packets after the missing one.
func (r *reorder) widen(seq uint16, ahead int, grow func(int) bool) bool {
	missing := (seq - uint16(ahead)) / pageSlots
	need := int(seq/pageSlots-missing)%(1<<16/pageSlots) + 1
	if need <= len(r.pages) {
		return true
	}
	size := max(len(r.pages), 1)
	for size < need {
		size *= 2
	}
	if !grow((size - len(r.pages)) * entryBytes) {
		return false
	}
	pages := make([]*page, size)
	for i := range len(r.pages) {
		n := int(missing) + i
		pages[n&(size-1)] = r.pages[n&(len(r.pages)-1)]
	}
	r.pages = pages
	return true
}

// open makes the packet's page unless there is one.
func (r *reorder) open(seq uint16, grow func(int) bool) bool {
	at := r.page(seq)
	if *at != nil {
		return true
	}
	if r.unused == nil {
		if !grow(pageBytes) {
			return false
		}
		r.made++
		r.unused = &page{}
	}
	p := r.unused
	r.unused, p.next = p.next, nil
	*at = p
	return true
}

// shut takes the packet's page out of the table if it holds nothing.
func (r *reorder) shut(seq uint16) {
	if at := r.page(seq); (*at).held == 0 {
		(*at).next, r.unused = r.unused, *at
		*at = nil
	}
}

// take moves the payload of the packet to the ring, which has room, and forgets the packet.
func (r *reorder) take(seq uint16, to *ring) {
	s := r.slot(seq)
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
	(*r.page(seq)).held--
	r.shut(seq)
}

// sizeOf is the payload length of a packet that is held.
func (r *reorder) sizeOf(seq uint16) int { return int(r.slot(seq).size) }

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
	return len(r.pages)*entryBytes + r.made*pageBytes + len(r.slabs)*slabChunks*(chunkSize+4)
}
