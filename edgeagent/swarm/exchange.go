package swarm

// An exchange passes batches from one goroutine, the producer, to another, the consumer, so that neither waits for the
// other and neither is woken for each thing in a batch. Two batches circulate: while the consumer is busy with one, the
// producer adds to the other.
type exchange[T any] struct {
	full  chan *T // what the consumer has not begun with; at most one
	empty chan *T
}

func newExchange[T any]() exchange[T] {
	x := exchange[T]{full: make(chan *T, 1), empty: make(chan *T, 2)}
	x.empty <- new(T)
	x.empty <- new(T)
	return x
}

// fill gives the producer a batch to add to: the one it offered last, if the consumer has not begun with it, else an empty
// one. It never waits: the consumer has one batch at most, so the other is in one of the channels.
func (x exchange[T]) fill() *T {
	select {
	case b := <-x.full:
		return b
	default:
		return <-x.empty
	}
}

// offer gives the consumer the batch that fill returned. It never waits.
func (x exchange[T]) offer(b *T) { x.full <- b }

// take gives the consumer the batch on offer, or nil. It never waits; to wait, receive from full.
func (x exchange[T]) take() *T {
	select {
	case b := <-x.full:
		return b
	default:
		return nil
	}
}

// giveBack returns the batch that take gave, emptied.
func (x exchange[T]) giveBack(b *T) { x.empty <- b }
