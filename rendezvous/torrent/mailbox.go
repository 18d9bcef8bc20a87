package torrent

import "sync"

// A mailbox holds functions that are to run on a loop. Posting never waits: front's loop posts here while this loop may be
// waiting for front's. What can be queued is bounded by those who post: front's dial budget, the trackers' and the DHT's pace.
type mailbox struct {
	wake chan struct{}

	mu    sync.Mutex
	queue []func()
}

func newMailbox() *mailbox { return &mailbox{wake: make(chan struct{}, 1)} }

// post adds f to what the loop runs. After the loop has ended, nothing runs it.
func (b *mailbox) post(f func()) {
	b.mu.Lock()
	b.queue = append(b.queue, f)
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// take returns what was posted since the last call. Only the loop calls it.
func (b *mailbox) take() []func() {
	b.mu.Lock()
	defer b.mu.Unlock()
	queue := b.queue
	b.queue = nil
	return queue
}
