package dial

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// ErrBusy is why an incoming peer is refused that wanted encryption, and whose turn did not come in the time of its greeting.
var ErrBusy = errors.New("too many peers want encryption at once")

const (
	// hostRest is the time between the exchanges of one host.
	hostRest = 500 * time.Millisecond
	// burstOf is of how many seconds the exchanges may be made at once, after a time without any.
	burstOf = 2
)

// Exchanges bounds the arithmetic that strangers cause: anybody's 96 bytes make an [Acceptor] compute two modular
// exponentiations of 768 bits. So many exchanges are made at once, so many a second on average, with the exchanges of
// 2 s in one go after a rest, and of one host (see [Host]) one each half second. Peers beyond that wait, first come first served
// among the hosts whose turn it can be. Any number of goroutines may use it.
type Exchanges struct {
	mu    sync.Mutex
	queue exchangeQueue
	alarm *time.Timer // for the turns that time alone brings; nil: none was needed yet
}

// NewExchanges permits so many at once and so many a second; both at least 1.
func NewExchanges(atOnce, perSecond int) *Exchanges {
	return &Exchanges{queue: newExchangeQueue(max(1, atOnce), max(1, perSecond))}
}

// turn waits for a place for a peer at ip. done gives it back. The error is ErrBusy at the deadline of ctx, and else the cause
// of its end.
func (e *Exchanges) turn(ctx context.Context, ip netip.Addr) (done func(), err error) {
	w := &waiter{host: Host(ip), ready: make(chan struct{})}
	e.mu.Lock()
	e.queue.waiting = append(e.queue.waiting, w)
	e.grant()
	e.mu.Unlock()
	select {
	case <-w.ready:
		return e.done, nil
	case <-ctx.Done():
	}
	e.mu.Lock()
	if !e.queue.quit(w) {
		e.queue.running-- // its turn has come at the same moment
	}
	e.grant()
	e.mu.Unlock()
	if ctx.Err() == context.DeadlineExceeded {
		return nil, ErrBusy
	}
	return nil, fmt.Errorf("waiting for encryption: %w", context.Cause(ctx))
}

func (e *Exchanges) done() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.queue.running--
	e.grant()
}

// grant tells those whose turn has come, and sees to it that it is called again in time. e.mu is held.
func (e *Exchanges) grant() {
	now := time.Now()
	w, again := e.queue.next(now)
	for ; w != nil; w, again = e.queue.next(now) {
		close(w.ready)
	}
	switch {
	case again.IsZero():
		if e.alarm != nil {
			e.alarm.Stop()
		}
	case e.alarm == nil:
		e.alarm = time.AfterFunc(again.Sub(now), func() {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.grant()
		})
	default:
		e.alarm.Reset(again.Sub(now))
	}
}

// waiter is a peer that waits for its turn.
type waiter struct {
	host  netip.Prefix
	ready chan struct{} // closed when its turn has come
}

// exchangeQueue decides whose turn it is.
type exchangeQueue struct {
	atOnce   int
	interval time.Duration // between exchanges, on average
	ahead    time.Duration // how far due may be in the future
	running  int
	due      time.Time                  // when all that was granted would be over, one an interval
	last     map[netip.Prefix]time.Time // turns of the last hostRest
	waiting  []*waiter                  // first come first
}

func newExchangeQueue(atOnce, perSecond int) exchangeQueue {
	interval := time.Second / time.Duration(perSecond)
	return exchangeQueue{
		atOnce: atOnce, interval: interval, ahead: time.Duration(burstOf*perSecond-1) * interval,
		last: map[netip.Prefix]time.Time{},
	}
}

// next takes out who may begin now. Where there is nobody, again is when time alone may change that; zero: not before somebody
// joins, quits or is done.
func (q *exchangeQueue) next(now time.Time) (w *waiter, again time.Time) {
	if q.running >= q.atOnce || len(q.waiting) == 0 {
		return nil, time.Time{}
	}
	if at := q.due.Add(-q.ahead); at.After(now) {
		return nil, at
	}
	for h, at := range q.last {
		if !at.Add(hostRest).After(now) {
			delete(q.last, h)
		}
	}
	for _, w := range q.waiting {
		at, rests := q.last[w.host]
		if !rests {
			q.quit(w)
			q.running++
			q.last[w.host] = now
			if q.due.Before(now) {
				q.due = now
			}
			q.due = q.due.Add(q.interval)
			return w, time.Time{}
		}
		if at = at.Add(hostRest); again.IsZero() || at.Before(again) {
			again = at
		}
	}
	return nil, again
}

// quit takes out who waits; it reports whether w did.
func (q *exchangeQueue) quit(w *waiter) bool {
	i := slices.Index(q.waiting, w)
	if i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
	}
	return i >= 0
}
