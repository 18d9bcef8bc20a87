package utp

import (
	"context"
	"log/slog"
	"net"
	"time"
)

// shut ends the connection for its user. c.mu is held.
func (c *Conn) shut() {
	c.closed = true
	if early := &c.core.recv.early; early.count > 0 {
		c.unheard = true
		early.drop(c.core.recv.grow)
	}
	c.read.shut()
	c.write.shut()
}

// abort resets the connection; whoever uses it gets cause.
func (c *Conn) abort(now time.Time, cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kill(now, cause)
}

// kill is abort with c.mu held. The RESET may be left to somebody who is sending at the moment.
func (c *Conn) kill(now time.Time, cause error) {
	if !c.closed {
		c.shut()
	}
	if c.gone {
		c.free()
		return
	}
	if c.cause == nil {
		c.cause = cause
	}
	c.core.abort()
	c.send(now)
	c.endpoint.wasReset(now, c)
	c.forget()
}

// busy reports whether somebody is sending.
func (c *Conn) busy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sending
}

// drain goes on with a connection after Close: what comes in is read and thrown away, so that acknowledgements of what we sent
// get through. Once everything is acknowledged, a peer that goes on sending learns that nobody listens. c.mu is held.
func (c *Conn) drain(now time.Time) {
	buf := c.endpoint.runs.Get().(*[]byte)
	scratch := (*buf)[:cap(*buf)]
	for n := c.core.read(scratch); n > 0; n = c.core.read(scratch) {
		c.unheard = true
	}
	c.endpoint.runs.Put(buf)
	if c.unheard && c.core.delivered() {
		c.kill(now, net.ErrClosed)
	}
}

// free gives the memory of the connection back when nobody needs it any more. Who is sending does so when he is done, with
// the RESET for example. c.mu is held.
func (c *Conn) free() {
	if c.gone && c.closed && !c.sending {
		c.core.release()
	}
}

// forget takes the connection out of the endpoint, once. What was received can still be read. c.mu is held.
func (c *Conn) forget() {
	if c.gone {
		return
	}
	c.gone = true
	c.endpoint.forget(c)
	c.read.cond.Broadcast()
	c.write.cond.Broadcast()
	if c.opened != nil {
		close(c.opened)
		c.opened = nil
	}
	if log := c.endpoint.config.Log; log.Enabled(context.Background(), slog.LevelDebug) {
		s := c.core.stats()
		log.Debug("utp connection ended", "remote", c.remote, "err", c.failure(), "rtt", s.rtt, "queueing", s.queueing,
			"cwnd", s.cwnd, "mtu", s.mtu, "lost", s.lost, "resent", s.resent, "timeouts", s.timeouts)
	}
	c.free()
}
