package utp

// minRing is the least memory a ring has, in bytes, unless it has none.
const minRing = 4 << 10

// ring is a queue of bytes. It grows by doubling when asked to and copies in bulk.
type ring struct {
	buf  []byte
	head int // of the oldest byte
	n    int // bytes held
	peak int // most bytes held since the last trim
}

// reserve makes room for n more bytes, in at most limit bytes of memory, and reports whether there is. grow is asked for
// the memory.
func (r *ring) reserve(n, limit int, grow func(int) bool) bool {
	need := r.n + n
	if need <= len(r.buf) {
		return true
	}
	if need > limit {
		return false
	}
	size := max(len(r.buf), minRing)
	for size < need {
		size *= 2
	}
	size = min(size, limit)
	if !grow(size - len(r.buf)) {
		return false
	}
	r.resize(size)
	return true
}

func (r *ring) resize(size int) {
	var buf []byte
	if size > 0 {
		buf = make([]byte, size)
		r.copyTo(buf[:r.n], 0)
	}
	r.buf, r.head = buf, 0
}

// write appends b, for which there is room.
func (r *ring) write(b []byte) {
	tail := r.head + r.n
	if tail >= len(r.buf) {
		tail -= len(r.buf)
	}
	n := copy(r.buf[tail:], b)
	copy(r.buf, b[n:])
	r.n += len(b)
	r.peak = max(r.peak, r.n)
}

// copyTo fills b with the bytes from offset on, which are there.
func (r *ring) copyTo(b []byte, offset int) {
	if len(b) == 0 {
		return
	}
	from := r.head + offset
	if from >= len(r.buf) {
		from -= len(r.buf)
	}
	n := copy(b, r.buf[from:])
	copy(b[n:], r.buf)
}

// discard forgets the n oldest bytes.
func (r *ring) discard(n int) {
	r.n -= n
	if r.n == 0 {
		r.head = 0
		return
	}
	if r.head += n; r.head >= len(r.buf) {
		r.head -= len(r.buf)
	}
}

// trim gives memory back: all of it when nothing was held since the last trim, and the better part when at most a
// quarter was used.
func (r *ring) trim(grow func(int) bool) {
	size := len(r.buf)
	switch {
	case r.peak == 0:
		size = 0
	case r.peak <= size/4:
		size = max(minRing, r.peak*2)
	}
	r.peak = r.n
	if size < len(r.buf) {
		grow(size - len(r.buf))
		r.resize(size)
	}
}

// drop forgets everything.
func (r *ring) drop(grow func(int) bool) {
	if r.buf != nil {
		grow(-len(r.buf))
	}
	*r = ring{}
}
