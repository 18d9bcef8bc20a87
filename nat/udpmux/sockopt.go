package udpmux

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// family is which addresses a socket reaches and how they are written for it.
type family struct {
	six  bool // AF_INET6; an IPv4 destination is written as an address mapped into IPv6
	only bool // and reaches no IPv4 address (IPV6_V6ONLY)
}

// reaches says whether the socket can send to the address at all.
func (f family) reaches(a netip.Addr) bool {
	if a.Is4() || a.Is4In6() {
		return !f.six || !f.only
	}
	return f.six && a.Is6()
}

// options is what a socket turned out to be able to do.
type options struct {
	family   family
	segments bool // UDP_SEGMENT is known (Linux 4.18)
	gro      bool // UDP_GRO is on (Linux 5.0)
}

// setOptions prepares the socket. Only what every later call relies on is an error.
func setOptions(fd uintptr, c Config, k kernel) (o options, err error) {
	f := int(fd)
	domain, err := unix.GetsockoptInt(f, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return o, fmt.Errorf("asking for the address family: %w", err)
	}
	if o.family.six = domain == unix.AF_INET6; o.family.six {
		only, err := unix.GetsockoptInt(f, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
		if err != nil {
			return o, fmt.Errorf("asking whether IPv4 is served: %w", err)
		}
		o.family.only = only != 0
		setProbe6(f)
	}
	setProbe4(f)
	// An older kernel ignores the control message and sends the run as one datagram, so it must be asked first.
	_, err = unix.GetsockoptInt(f, unix.SOL_UDP, unix.UDP_SEGMENT)
	o.segments = err == nil
	o.gro = setBuffers(fd, c, k)
	return o, nil
}

// setBuffers asks for the buffers, and for UDP_GRO where there is memory for it.
func setBuffers(fd uintptr, c Config, k kernel) (gro bool) {
	f := int(fd)
	if unix.SetsockoptInt(f, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, c.ReadBuffer) != nil {
		_ = unix.SetsockoptInt(f, unix.SOL_SOCKET, unix.SO_RCVBUF, c.ReadBuffer)
	}
	if unix.SetsockoptInt(f, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, c.WriteBuffer) != nil {
		_ = unix.SetsockoptInt(f, unix.SOL_SOCKET, unix.SO_SNDBUF, c.WriteBuffer)
	}
	return c.Memory >= groBuffer && k.setGRO(fd, 1) == nil
}

// grow gives a further socket, whose read loop has been stopped, the buffers of the configuration, so that it can run again.
func (s *Socket) grow(c Config) error {
	s.further = false
	s.cfg.Memory, s.cfg.ReadBuffer, s.cfg.WriteBuffer = c.Memory, c.ReadBuffer, c.WriteBuffer
	if err := s.conn.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	return s.raw.Control(func(fd uintptr) { s.gro.Store(setBuffers(fd, s.cfg, s.kernel)) })
}

// localAddr is the socket's own address, an IPv4 one in its own form.
func localAddr(conn *net.UDPConn) *net.UDPAddr {
	return net.UDPAddrFromAddrPort(unmap(conn.LocalAddr().(*net.UDPAddr).AddrPort()))
}
