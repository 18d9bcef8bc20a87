package utp

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

const (
	// maxRun is the most bytes that UDP_SEGMENT takes at once over IPv4, and so what poll fills.
	maxRun = 65507
	// lingerTime is how long a closed connection goes on with what was written before.
	lingerTime = 10 * time.Second
)

// Conn is a uTP connection, a [net.Conn]. Any goroutine may call any method. Errors are those of a TCP connection, in a
// [net.OpError]: syscall.ECONNRESET, syscall.ETIMEDOUT when the other end does not answer any more, syscall.EPIPE after
// CloseWrite, os.ErrDeadlineExceeded, [net.ErrClosed].
//
// Its mutex guards its core, and whoever has it drives it: the read loop brings packets, callers bring and fetch bytes, the
// timer brings time. One of them at a time also sends. The mutex is free while a run is on its way to the kernel, so
// that bytes come and go meanwhile; whoever finds that somebody is sending leaves what is due to him, since he asks the
// core again after each run.
type Conn struct {
	endpoint *Endpoint
	socket   *socket
	remote   netip.AddrPort
	id       uint16 // in packets to us
	peerID   uint16 // in packets from us

	writing sync.Mutex // taken before mu: one Write at a time, so that each stays in one piece

	mu       sync.Mutex
	core     *core
	memory   allotment
	read     side
	write    side
	opened   chan struct{} // of one that we dialled: closed once it is decided; nil afterwards
	limit    time.Time     // when it is given up, once closed. Zero: never
	wanted   int           // bytes that a waiting Write has left
	sending  bool          // somebody is in send
	touched  bool          // it is in its socket's list
	finished bool          // by CloseWrite or Close
	closed   bool          // by Close or Reset: nobody reads or writes any more
	unheard  bool          // bytes came after Close
	gone     bool          // the endpoint has forgotten it
	cause    error         // why it ended, where the core does not know

	alarm alarm
}

func newConn(e *Endpoint, s *socket, remote netip.AddrPort) *Conn {
	c := &Conn{endpoint: e, socket: s, remote: remote, memory: allotment{budget: &e.memory}}
	c.read.cond.L = &c.mu
	c.write.cond.L = &c.mu
	return c
}

func (c *Conn) coreConfig() coreConfig {
	mtu := 1472
	if !c.remote.Addr().Is4() {
		mtu = 1452
	}
	return coreConfig{
		RecvBuffer: c.endpoint.config.PerConn, SendBuffer: c.endpoint.config.PerConn, MaxDatagram: mtu,
		Seq: random16(), RecvID: c.id, grow: c.memory.grow, spare: c.memory.spare,
	}
}

// receive gives the core a packet. c.mu is held.
func (c *Conn) receive(now time.Time, p *packet) {
	if !c.gone {
		c.core.receive(now, p)
	}
}

// tick is called by the timer.
func (c *Conn) tick(now time.Time) {
	c.mu.Lock()
	c.alarm.armed = time.Time{}
	c.drive(now)
	c.mu.Unlock()
}

// drive does what has become due: it sends, wakes who waits, and arms the timer. c.mu is held, but not throughout.
func (c *Conn) drive(now time.Time) {
	if c.gone {
		return
	}
	if !c.limit.IsZero() && !now.Before(c.limit) {
		c.kill(now, net.ErrClosed)
	}
	c.send(now)
	c.settle(now)
}

// send sends what the core has to send, unless somebody does so already. c.mu is held, and free while the kernel works.
func (c *Conn) send(now time.Time) {
	if c.sending {
		return
	}
	c.sending = true
	buf := c.endpoint.runs.Get().(*[]byte)
	for {
		run, segment, fragment := c.core.poll(now, (*buf)[:0])
		if len(run) == 0 {
			break
		}
		c.mu.Unlock()
		send := c.socket.mux.Send
		if fragment {
			send = c.socket.mux.SendFragmentable
		}
		err := send(c.remote, run, segment)
		now = time.Now()
		c.mu.Lock()
		if err != nil {
			c.sendFailed(err, segment)
		}
	}
	c.endpoint.runs.Put(buf)
	c.sending = false
	c.free()
}

// sendFailed: a datagram that is too long tells about the path. Any other failure is the loss of some datagrams, unless
// there is nothing to lose yet.
func (c *Conn) sendFailed(err error, segment int) {
	switch {
	case errors.Is(err, syscall.EMSGSIZE):
		c.core.sendFailedTooLong(segment)
	case c.opened != nil, errors.Is(err, net.ErrClosed):
		c.cause = err
		c.forget()
	}
}

// settle looks at what became of the core. c.mu is held.
func (c *Conn) settle(now time.Time) {
	if c.gone {
		return
	}
	if c.core.connected() && c.opened != nil {
		close(c.opened)
		c.opened = nil
	}
	if c.closed {
		c.drain(now)
	}
	if c.core.done() || c.core.err() != nil {
		c.forget()
		return
	}
	c.wake()
	at := c.core.wake()
	if !c.limit.IsZero() && (at.IsZero() || c.limit.Before(at)) {
		at = c.limit
	}
	if !at.IsZero() {
		if soon := now.Add(time.Millisecond); at.Before(soon) {
			at = soon // nothing is so urgent that a core could keep the timer busy
		}
		c.endpoint.alarms.arm(c, at)
	}
}

// wake wakes those who can go on. c.mu is held.
func (c *Conn) wake() {
	if c.read.waiting > 0 && (c.core.readable() > 0 || c.core.eof()) {
		c.read.cond.Broadcast()
	}
	if c.write.waiting > 0 && c.room() >= min(c.wanted, c.queue()/4) {
		c.write.cond.Broadcast()
	}
}

// failure is why the connection is of no use any more, nil while it is. c.mu is held.
func (c *Conn) failure() error {
	if c.cause != nil {
		return c.cause
	}
	switch err := c.core.err(); err {
	case errReset:
		return syscall.ECONNRESET
	case errRefused:
		return syscall.ECONNREFUSED
	case errTimeout:
		return syscall.ETIMEDOUT
	default:
		return err
	}
}
