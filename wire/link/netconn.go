package link

import (
	"net"
	"net/netip"
)

// gather is how much of several buffers goes into one Write, which costs a frame and a packet at least.
const gather = 32 << 10

// NetConn returns a stream as a net.Conn between the two addresses, which are for show. Close cancels the stream: what was
// not delivered is lost.
func NetConn(s Stream, local, remote netip.AddrPort) net.Conn {
	return &netConn{Stream: s, local: local, remote: remote}
}

type netConn struct {
	Stream
	local, remote netip.AddrPort
	joined        []byte
}

func (c *netConn) LocalAddr() net.Addr  { return net.TCPAddrFromAddrPort(c.local) }
func (c *netConn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

func (c *netConn) Close() error {
	c.Cancel()
	return nil
}

// WriteBuffers writes them all, several in one Write. It is for the one who writes, like Write, and consumes b.
func (c *netConn) WriteBuffers(b *net.Buffers) (n int64, err error) {
	for len(*b) > 0 && err == nil {
		c.joined = c.joined[:0]
		for len(*b) > 0 && len(c.joined) < gather {
			m := min(len((*b)[0]), gather-len(c.joined))
			c.joined = append(c.joined, (*b)[0][:m]...)
			if (*b)[0] = (*b)[0][m:]; len((*b)[0]) == 0 {
				*b = (*b)[1:]
			}
		}
		var m int
		m, err = c.Stream.Write(c.joined)
		n += int64(m)
	}
	return n, err
}
