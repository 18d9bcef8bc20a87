package storage

import "sync"

// A queue hands blocks from many goroutines to the one at work. It never holds more than the pool has, so it needs no limit
// of its own.
type queue struct {
	wake chan struct{} // has an element when the torrent's own goroutine is to look

	mu     sync.Mutex
	blocks []*Block
	closed bool
}

// put returns false when the queue is closed.
func (q *queue) put(b *Block) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.blocks = append(q.blocks, b)
	return true
}

// signal has the torrent's own goroutine look.
func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take returns all blocks and leaves the empty slice for the next ones.
func (q *queue) take(empty []*Block) []*Block {
	q.mu.Lock()
	defer q.mu.Unlock()
	blocks := q.blocks
	q.blocks = empty[:0]
	return blocks
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
}
