package utp

import (
	"io"
	"net"
	"syscall"
	"time"
)

// leastQueue is what a connection may always queue to be sent, in bytes; see room.
const leastQueue = 128 << 10

// brief is a round trip that nobody notices.
const brief = 2 * time.Millisecond

// mostRead is what one Read returns at most, in bytes: while it copies, the read loop cannot take packets in.
const mostRead = 256 << 10

// Read reads what is there, and waits while there is nothing. After everything up to the other end's FIN it returns
// [io.EOF].
func (c *Conn) Read(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if err := c.read.expired(c.closed); err != nil {
			return 0, c.fault("read", err)
		}
		if n := c.core.read(b[:min(len(b), mostRead)]); n > 0 || len(b) == 0 {
			c.drive(time.Now())
			return n, nil
		}
		if c.core.eof() {
			return 0, io.EOF
		}
		if err := c.failure(); err != nil {
			return 0, c.fault("read", err)
		}
		c.read.wait()
	}
}

// Write queues b to be sent, and waits while there is no room. What it returns counts the bytes queued: they are on
// their way unless the connection fails, as with TCP.
func (c *Conn) Write(b []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.put(b)
	c.push()
	return n, err
}

// WriteBuffers writes all buffers of b as one Write, so that small and large ones share packets. Like [net.Buffers.WriteTo]
// it takes what it wrote out of b.
func (c *Conn) WriteBuffers(b *net.Buffers) (int64, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	var total int64
	for len(*b) > 0 {
		n, err := c.put((*b)[0])
		total += int64(n)
		if err != nil {
			(*b)[0] = (*b)[0][n:]
			c.push()
			return total, err
		}
		(*b)[0] = nil
		*b = (*b)[1:]
	}
	c.push()
	return total, nil
}

// push sends what was written, unless it can wait for the next acknowledgement so that it goes out in one run with what is
// written next: where much is under way and round trips are short, a system call less is worth more than the wait, of
// brief at most. c.mu is held.
func (c *Conn) push() {
	s := &c.core.send
	if s.flight >= maxRun && s.pending() < maxRun && c.core.rtt.smoothed < brief {
		return
	}
	c.drive(time.Now())
}

// EndPacket has the next Write begin a packet of its own: what was written so far and what comes then reach the other end
// one after the other. It waits for nothing. Where it is called again before what was written has left, only the last call counts.
//
// A stream has no such bounds, but who takes it from libutp sees packets. Transmission 3.00 looks at what came behind a
// handshake in the same packet only when another packet comes, which may be never.
func (c *Conn) EndPacket() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.core.endPacket()
}

// put queues all of b; it sends only when there is no more room. c.mu is held, but not throughout.
func (c *Conn) put(b []byte) (int, error) {
	done := 0
	for {
		if err := c.unwritable(); err != nil {
			return done, c.fault("write", err)
		}
		n := c.core.write(b[done:][:min(len(b)-done, c.room())])
		if done += n; done == len(b) {
			return done, nil
		}
		if n > 0 {
			c.drive(time.Now())
			continue // there may be room now
		}
		c.wanted = len(b) - done
		c.write.wait()
	}
}

// queue is the bytes that may wait to be sent or acknowledged: twice what the path takes, since more would only get old
// while it waits.
func (c *Conn) queue() int {
	return min(c.endpoint.config.PerConn, max(leastQueue, 2*c.core.congestion.bytes()))
}

// room is how many more bytes may be queued. c.mu is held.
func (c *Conn) room() int {
	return max(0, min(c.core.writable(), c.queue()-c.core.send.ring.n))
}

// unwritable is why nothing can be written any more. c.mu is held.
func (c *Conn) unwritable() error {
	if err := c.write.expired(c.closed); err != nil {
		return err
	}
	if err := c.failure(); err != nil {
		return err
	}
	if c.finished {
		return syscall.EPIPE
	}
	return nil
}

// CloseWrite ends our direction: the other end reads [io.EOF] after what was written before.
func (c *Conn) CloseWrite() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.fault("close", net.ErrClosed)
	}
	c.finish()
	c.drive(time.Now())
	return nil
}

func (c *Conn) finish() {
	if !c.finished {
		c.finished = true
		c.core.closeWrite()
		c.write.cond.Broadcast()
	}
}

// Close ends the connection for its user at once. What was written is still delivered by the endpoint, which gives up after
// 10 s; what comes in is thrown away, and once we have nothing more to say is answered with a RESET.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.fault("close", net.ErrClosed)
	}
	now := time.Now()
	c.shut()
	if c.gone {
		c.free()
		return nil
	}
	c.limit = now.Add(lingerTime)
	c.finish()
	c.drive(now)
	return nil
}

// Reset ends the connection at once in both directions. What was written and is not yet delivered is lost; the other end
// is told by a RESET.
func (c *Conn) Reset() error {
	c.abort(time.Now(), net.ErrClosed)
	return nil
}

// LocalAddr is the address of the connection's socket, a *[net.UDPAddr].
func (c *Conn) LocalAddr() net.Addr { return c.socket.mux.LocalAddr() }

// RemoteAddr is where the connection's packets come from, a *[net.UDPAddr].
func (c *Conn) RemoteAddr() net.Addr { return net.UDPAddrFromAddrPort(c.remote) }

// fault is an error as package net gives them.
func (c *Conn) fault(op string, err error) error {
	return &net.OpError{Op: op, Net: "utp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}
