package utp

import (
	"net"
	"os"
	"sync"
	"time"
)

// side is one direction of a connection as its callers see it: who waits, and until when. The connection's mutex guards
// it.
type side struct {
	cond     sync.Cond
	waiting  int
	deadline time.Time
	timer    *time.Timer // made when somebody waits with a deadline for the first time
	armed    time.Time   // when the timer will fire; zero: it will not
}

// expired is why nobody may begin anything, or go on waiting.
func (s *side) expired(closed bool) error {
	switch {
	case closed:
		return net.ErrClosed
	case !s.deadline.IsZero() && !time.Now().Before(s.deadline):
		return os.ErrDeadlineExceeded
	}
	return nil
}

// wait waits until something may have changed. A timer that is set for a deadline since moved away fires in vain, rather
// than being moved with each deadline: most of them never come.
func (s *side) wait() {
	if !s.deadline.IsZero() && (s.armed.IsZero() || s.deadline.Before(s.armed)) {
		s.armed = s.deadline
		if d := time.Until(s.deadline); s.timer == nil {
			s.timer = time.AfterFunc(d, s.fire)
		} else {
			s.timer.Reset(d)
		}
	}
	s.waiting++
	s.cond.Wait()
	s.waiting--
}

func (s *side) fire() {
	s.cond.L.Lock()
	s.armed = time.Time{}
	s.cond.Broadcast()
	s.cond.L.Unlock()
}

// set moves the deadline; whoever waits looks at it anew.
func (s *side) set(t time.Time) {
	s.deadline = t
	s.cond.Broadcast()
}

// shut wakes everybody and stops the timer.
func (s *side) shut() {
	if s.timer != nil {
		s.timer.Stop()
	}
	s.cond.Broadcast()
}

// SetDeadline sets both deadlines, as [net.Conn] has it.
func (c *Conn) SetDeadline(t time.Time) error { return c.setDeadlines(t, &c.read, &c.write) }

// SetReadDeadline is for reads, those that wait among them. The zero time is none.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadlines(t, &c.read) }

// SetWriteDeadline is for writes, those that wait among them. The zero time is none.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(t, &c.write) }

func (c *Conn) setDeadlines(t time.Time, sides ...*side) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.fault("set", net.ErrClosed)
	}
	for _, s := range sides {
		s.set(t)
	}
	return nil
}
