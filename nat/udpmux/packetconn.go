package udpmux

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// PacketConn is a kind's part of the socket as a net.PacketConn, for libraries that want one. It is called before Run,
// once for each kind, as Handle is.
//
// Datagrams wait in a bounded queue (see Config.Queue). Addresses are *net.UDPAddr, and not to be written to: they are shared
// by datagrams of one source in a row, and only a change of source allocates one. Writing
// never waits, so write deadlines mean nothing. Close ends its readers and leaves the socket open. It hides what else
// the socket can do: with a SyscallConn, quic-go would set options of a socket that is not its own.
func (s *Socket) PacketConn(k Kind) net.PacketConn {
	q := newQueue(s.cfg.Queue)
	s.Handle(k, func(_ time.Time, runs []Run) {
		for _, r := range runs {
			for b := range r.Datagrams() {
				if !q.push(r.From, b) {
					s.counts.overflow.Add(1)
				}
			}
		}
	})
	s.queues[k] = q
	return &packetConn{s: s, q: q}
}

type packetConn struct {
	s *Socket
	q *queue

	mu   sync.Mutex
	from netip.AddrPort // of the last datagram, and the same as a net.Addr: mostly the next has it too
	addr *net.UDPAddr
}

func (c *packetConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.q.pop(b)
	if err != nil {
		return 0, nil, c.failed("read", err)
	}
	return n, c.netAddr(from), nil
}

func (c *packetConn) netAddr(a netip.AddrPort) net.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.addr == nil || c.from != a {
		c.from, c.addr = a, net.UDPAddrFromAddrPort(a)
	}
	return c.addr
}

func (c *packetConn) WriteTo(b []byte, to net.Addr) (int, error) {
	a, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, c.failed("write", fmt.Errorf("%T is not a UDP address", to))
	}
	if err := c.s.Send(a.AddrPort(), b, len(b)); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (c *packetConn) failed(op string, err error) error {
	return &net.OpError{Op: op, Net: "udp", Source: c.s.local, Err: err}
}

func (c *packetConn) Close() error {
	c.q.close()
	return nil
}

func (c *packetConn) LocalAddr() net.Addr { return c.s.local }

func (c *packetConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

func (c *packetConn) SetReadDeadline(t time.Time) error {
	c.q.setDeadline(t)
	return nil
}

func (c *packetConn) SetWriteDeadline(time.Time) error { return nil }

// SetReadBuffer does nothing: the buffers belong to the socket. Without the method quic-go complains.
func (c *packetConn) SetReadBuffer(int) error { return nil }

// SetWriteBuffer does nothing, likewise.
func (c *packetConn) SetWriteBuffer(int) error { return nil }
