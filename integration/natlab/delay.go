//go:build linux

package natlab

import (
	"container/heap"
	"time"
)

// maxHeld bounds the bytes that are under way in the core of one lab. What comes beyond is lost.
const maxHeld = 64 << 20

// parcel is a frame under way.
type parcel struct {
	due   time.Time
	frame []byte
	to    *coreLink
}

// lane is what is under way between two links in one direction, in the order of its arrival.
type lane struct {
	queue []parcel
	first int       // of the queue that is not out yet
	last  time.Time // when the latest parcel is due
}

func (l *lane) head() parcel { return l.queue[l.first] }

// delays holds frames until they are due. Frames of one lane leave in the order in which they came, also when the delay
// has become shorter meanwhile.
type delays struct {
	lanes map[[2]*coreLink]*lane
	busy  busyLanes
	held  int // bytes
	spare [][]byte
}

// put takes a copy of a frame, to be due after d. It is false when too much is under way.
func (q *delays) put(arrived time.Time, d time.Duration, from, to *coreLink, frame []byte) bool {
	if q.held+len(frame) > maxHeld {
		return false
	}
	if q.lanes == nil {
		q.lanes = map[[2]*coreLink]*lane{}
	}
	way := [2]*coreLink{from, to}
	l := q.lanes[way]
	if l == nil {
		l = &lane{}
		q.lanes[way] = l
	}
	due := arrived.Add(d)
	if due.Before(l.last) {
		due = l.last
	}
	l.last = due
	if l.first > 0 && len(l.queue) == cap(l.queue) {
		n := copy(l.queue, l.queue[l.first:])
		clear(l.queue[n:])
		l.queue, l.first = l.queue[:n], 0
	}
	l.queue = append(l.queue, parcel{due, append(q.buffer(), frame...), to})
	q.held += len(frame)
	if len(l.queue)-l.first == 1 {
		heap.Push(&q.busy, l)
	}
	return true
}

// between reports whether frames are under way from one link to another.
func (q *delays) between(from, to *coreLink) bool {
	l := q.lanes[[2]*coreLink{from, to}]
	return l != nil && l.first < len(l.queue)
}

// take returns the frame that is due first, if it is due. It is valid until recycle.
func (q *delays) take(now time.Time) (p parcel, ok bool) {
	if len(q.busy) == 0 || q.busy[0].head().due.After(now) {
		return p, false
	}
	l := q.busy[0]
	p = l.head()
	l.queue[l.first] = parcel{}
	l.first++
	q.held -= len(p.frame)
	if l.first == len(l.queue) {
		l.queue, l.first = l.queue[:0], 0
		heap.Pop(&q.busy)
	} else {
		heap.Fix(&q.busy, 0)
	}
	return p, true
}

// next is when the next frame is due: the zero time when there is none.
func (q *delays) next() time.Time {
	if len(q.busy) == 0 {
		return time.Time{}
	}
	return q.busy[0].head().due
}

// buffer returns an empty buffer that holds a frame.
func (q *delays) buffer() []byte {
	if n := len(q.spare) - 1; n >= 0 {
		b := q.spare[n]
		q.spare = q.spare[:n]
		return b
	}
	return make([]byte, 0, ringFrame)
}

// recycle takes back the frame of a parcel.
func (q *delays) recycle(p parcel) {
	const spares = 4096
	if len(q.spare) < spares {
		q.spare = append(q.spare, p.frame[:0])
	}
}

// busyLanes is a heap of lanes by when their first frame is due.
type busyLanes []*lane

func (b busyLanes) Len() int           { return len(b) }
func (b busyLanes) Less(i, j int) bool { return b[i].head().due.Before(b[j].head().due) }
func (b busyLanes) Swap(i, j int)      { b[i], b[j] = b[j], b[i] }

// Push is heap.Interface's.
func (b *busyLanes) Push(l any) { *b = append(*b, l.(*lane)) }

// Pop is heap.Interface's.
func (b *busyLanes) Pop() any {
	last := len(*b) - 1
	l := (*b)[last]
	*b = (*b)[:last]
	return l
}
