package stun

import (
	"errors"
	"net"
	"net/netip"
	"time"
)

// Conn is a socket that serves nothing but STUN, as a Sender.
type Conn struct{ *net.UDPConn }

// Send sends one datagram, whatever size says.
func (c Conn) Send(to netip.AddrPort, data []byte, _ int) error {
	_, err := c.WriteToUDPAddrPort(data, to)
	return err
}

// Read passes on what arrives at the socket until it is closed, which is no error. receive must not keep b.
func Read(c *net.UDPConn, receive func(now time.Time, from netip.AddrPort, b []byte)) error {
	buf := make([]byte, maxMessage+1) // one more, so that nothing longer is taken for a message
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			return err
		}
		receive(time.Now(), unmap(from), buf[:n])
	}
}
