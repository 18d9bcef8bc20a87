package udpmux

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// queue holds datagrams for a reader that waits. What does not fit is dropped, the latest first.
type queue struct {
	mu       sync.Mutex
	ready    sync.Cond
	bytes    ring
	entries  []entry // a ring
	first, n int
	max      int
	closed   bool
	deadline deadline
}

type entry struct {
	from netip.AddrPort
	size int
}

// deadline wakes the readers of a queue when it passes.
type deadline struct {
	timer  *time.Timer
	round  int // counts calls, so that a timer which fires late does nothing
	passed bool
}

func newQueue(limit int) *queue {
	q := &queue{max: limit}
	q.ready.L = &q.mu
	return q
}

// push adds a datagram, or returns false when there is no room.
func (q *queue) push(from netip.AddrPort, b []byte) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.n == maxQueued || q.bytes.n+len(b) > q.max {
		return false
	}
	q.bytes.write(b, q.max)
	if q.n == len(q.entries) {
		q.grow()
	}
	q.entries[(q.first+q.n)%len(q.entries)] = entry{from, len(b)}
	q.n++
	q.ready.Signal()
	return true
}

func (q *queue) grow() {
	more := make([]entry, min(max(16, 2*len(q.entries)), maxQueued))
	for i := range q.n {
		more[i] = q.entries[(q.first+i)%len(q.entries)]
	}
	q.entries, q.first = more, 0
}

// pop waits for a datagram and copies what fits into b.
func (q *queue) pop(b []byte) (int, netip.AddrPort, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		switch {
		case q.closed:
			return 0, netip.AddrPort{}, net.ErrClosed
		case q.deadline.passed:
			return 0, netip.AddrPort{}, os.ErrDeadlineExceeded
		case q.n > 0:
			e := q.entries[q.first]
			q.first = (q.first + 1) % len(q.entries)
			q.n--
			return q.bytes.read(b, e.size), e.from, nil
		}
		q.ready.Wait()
	}
}

func (q *queue) setDeadline(t time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	d := &q.deadline
	if d.timer != nil {
		d.timer.Stop()
	}
	d.timer, d.passed = nil, false
	d.round++
	if q.closed || t.IsZero() {
		return
	}
	wait := time.Until(t)
	if wait <= 0 {
		d.passed = true
		q.ready.Broadcast()
		return
	}
	round := d.round
	d.timer = time.AfterFunc(wait, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if d.round == round {
			d.passed = true
			q.ready.Broadcast()
		}
	})
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	if q.deadline.timer != nil {
		q.deadline.timer.Stop()
	}
	q.bytes, q.entries, q.n = ring{}, nil, 0
	q.ready.Broadcast()
}

// ring is a buffer of bytes that grows by doubling.
type ring struct {
	b        []byte
	first, n int
}

// write appends p, for which there must be room within limit.
func (r *ring) write(p []byte, limit int) {
	if r.n+len(p) > len(r.b) {
		more := make([]byte, min(max(2*len(r.b), r.n+len(p), 8<<10), limit))
		n := r.read(more, r.n)
		*r = ring{b: more, n: n}
	}
	end := (r.first + r.n) % len(r.b)
	copy(r.b, p[copy(r.b[end:], p):])
	r.n += len(p)
}

// read removes the next n bytes and copies what fits of them into p.
func (r *ring) read(p []byte, n int) int {
	p = p[:min(len(p), n)]
	if len(p) > 0 {
		copy(p[copy(p, r.b[r.first:]):], r.b)
	}
	if r.n -= n; r.n == 0 {
		r.first = 0
	} else {
		r.first = (r.first + n) % len(r.b)
	}
	return len(p)
}
