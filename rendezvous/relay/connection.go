package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"simplebit/wire/control"
	"simplebit/wire/link"
)

// connection is two devices that are joined, the one that dials first.
type connection struct {
	sides   [2]Side
	torrent [20]byte
	streams [2]link.Stream
	ctx     context.Context // its cause is why the connection ends
	end     context.CancelCauseFunc
	idle    *time.Timer

	// Under Relays.mu.
	devices [2]*device
	counts  [2]*count
	carried int64 // bytes that were counted
}

func (c *connection) joins(d control.DeviceID) bool {
	return c.sides[0].Device == d || c.sides[1].Device == d
}

// errDone is that a device ends the connection.
var errDone = errors.New("done")

// run serves a connection to its end.
func (r *Relays) run(c *connection) error {
	defer c.end(nil)
	if err := r.open(c); err != nil {
		return err
	}
	c.idle = time.AfterFunc(idleTime, func() { c.end(ErrIdle) })
	defer c.idle.Stop()
	stop := context.AfterFunc(c.ctx, c.cancel)
	defer stop() // streams of which both directions have ended hold nothing: cancelling them would lose what is under way

	other := make(chan bool)
	go func() { defer close(other); r.forward(c, 1) }()
	r.forward(c, 0)
	<-other
	if c.ctx.Err() == nil {
		return nil
	}
	c.cancel() // that of AfterFunc may still be to come
	if err := context.Cause(c.ctx); err != errDone {
		return err
	}
	return nil
}

func (c *connection) cancel() {
	c.streams[0].Cancel()
	c.streams[1].Cancel()
}

// open opens both streams at once, or none.
func (r *Relays) open(c *connection) error {
	ctx, cancel := context.WithTimeout(c.ctx, openTime)
	defer cancel()
	type opened struct {
		side   int
		stream link.Stream
		err    error
	}
	results := make(chan opened)
	for i := range c.sides {
		other := c.sides[1-i]
		header := control.Relay{Torrent: c.torrent, Device: other.Device, Peer: other.Name, Addr: other.Addr, Dials: i == 0}
		go func() {
			s, err := r.cfg.Open(ctx, c.sides[i].Device, header)
			results <- opened{i, s, err}
		}()
	}
	var failed error
	for range c.sides {
		o := <-results
		switch {
		case o.err == nil:
			c.streams[o.side] = o.stream
		case failed == nil:
			failed = fmt.Errorf("to %s: %w", c.sides[o.side].Name, o.err)
			cancel()
		}
	}
	if failed == nil {
		r.mu.Lock()
		r.totals.Started++
		r.mu.Unlock()
		return nil
	}
	for _, s := range c.streams {
		if s != nil {
			s.Cancel()
		}
	}
	if cause := context.Cause(c.ctx); cause != nil {
		return cause
	}
	return failed
}

// forward passes on what comes from a side until that has no more, or the connection ends.
func (r *Relays) forward(c *connection, from int) {
	src, dst := c.streams[from], c.streams[1-from]
	fail := func(side int, err error) {
		if errors.Is(err, link.ErrCancelled) {
			c.end(errDone)
			return
		}
		c.end(fmt.Errorf("%s: %w", c.sides[side].Name, err))
	}
	b := make([]byte, min(bufferSize, max(r.cfg.Rate/16, MinRate/4))) // whose turns are short, so that a request is not long behind blocks
	for {
		n, err := src.Read(b)
		if n > 0 {
			c.idle.Reset(idleTime)
			if !r.pace(c, n) {
				return
			}
			dst.SetWriteDeadline(time.Now().Add(idleTime))
			if _, err := dst.Write(b[:n]); err != nil {
				fail(1-from, err)
				return
			}
			r.moved(c, from, n)
		}
		switch {
		case err == io.EOF:
			if err := dst.CloseWrite(); err != nil {
				fail(1-from, err)
				return
			}
			// The timer changes nothing once all has ended.
			time.AfterFunc(lingerTime, func() { c.end(errDone) })
			return
		case err != nil:
			fail(from, err)
			return
		}
	}
}

// pace waits until both devices, and their user, may move n bytes more; false: the connection ends.
func (r *Relays) pace(c *connection, n int) bool {
	now := time.Now()
	r.mu.Lock()
	wait := max(c.devices[0].bucket.take(now, n), c.devices[1].bucket.take(now, n))
	if r.user.rate > 0 {
		wait = max(wait, r.user.take(now, n))
	}
	r.mu.Unlock()
	if wait == 0 {
		return true
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.ctx.Done():
		return false
	}
}

// moved counts bytes that came from a side and were passed on, whatever they were good for.
func (r *Relays) moved(c *connection, from, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.counts[from].up += int64(n)
	c.counts[1-from].down += int64(n)
	r.totals.Bytes += int64(n)
	c.carried += int64(n)
}
