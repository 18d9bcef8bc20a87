package utp

import (
	"sync"
	"time"
)

// alarms is a heap of the moments at which connections want to be driven though nothing happened to them. Most wakes
// move further away with every packet, so a connection is left where it is as long as it is due early enough: a busy
// connection touches the heap about once per timeout, an idle one once per keepalive.
type alarms struct {
	mu   sync.Mutex
	heap []*Conn
	kick chan struct{} // has a token when the first of the heap became another and earlier one
}

// alarm is a connection's place in the heap.
type alarm struct {
	at    time.Time // guarded by alarms.mu
	index int       // in the heap, from 1; 0: not in it. Guarded by alarms.mu
	armed time.Time // as at, for whoever holds the connection's mutex; zero: it was driven since, and may be in the heap or not
}

// arm makes c due at the given time, or earlier if it already is and was not driven since. The caller holds c's mutex.
func (t *alarms) arm(c *Conn, at time.Time) {
	if !c.alarm.armed.IsZero() && !c.alarm.armed.After(at) {
		return
	}
	c.alarm.armed = at
	t.mu.Lock()
	c.alarm.at = at
	if c.alarm.index == 0 {
		t.heap = append(t.heap, c)
		c.alarm.index = len(t.heap)
	}
	t.up(c.alarm.index)
	t.down(c.alarm.index) // if it was armed again between due and tick, it may become later now
	first := c.alarm.index == 1
	t.mu.Unlock()
	if first {
		select {
		case t.kick <- struct{}{}:
		default:
		}
	}
}

// due takes a connection whose time has come out of the heap; nil: there is none.
func (t *alarms) due(now time.Time) *Conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.heap) == 0 || t.heap[0].alarm.at.After(now) {
		return nil
	}
	c := t.heap[0]
	t.take(c)
	return c
}

// next is when the first one is due; zero: never.
func (t *alarms) next() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.heap) == 0 {
		return time.Time{}
	}
	return t.heap[0].alarm.at
}

func (t *alarms) remove(c *Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.alarm.index != 0 {
		t.take(c)
	}
}

func (t *alarms) take(c *Conn) {
	i, last := c.alarm.index, len(t.heap)
	t.swap(i, last)
	t.heap[last-1] = nil
	t.heap = t.heap[:last-1]
	c.alarm.index = 0
	if i < last {
		t.down(i)
		t.up(i)
	}
}

func (t *alarms) swap(i, j int) {
	t.heap[i-1], t.heap[j-1] = t.heap[j-1], t.heap[i-1]
	t.heap[i-1].alarm.index, t.heap[j-1].alarm.index = i, j
}

func (t *alarms) before(i, j int) bool { return t.heap[i-1].alarm.at.Before(t.heap[j-1].alarm.at) }

func (t *alarms) up(i int) {
	for i > 1 && t.before(i, i/2) {
		t.swap(i, i/2)
		i /= 2
	}
}

func (t *alarms) down(i int) {
	for {
		first := i
		for _, child := range [2]int{2 * i, 2*i + 1} {
			if child <= len(t.heap) && t.before(child, first) {
				first = child
			}
		}
		if first == i {
			return
		}
		t.swap(i, first)
		i = first
	}
}
