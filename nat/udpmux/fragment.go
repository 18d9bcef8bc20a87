package udpmux

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// SendFragmentable is Send for datagrams that may reach their destination in fragments, so that they pass a path that has
// become narrow: over IPv4 without the don't-fragment bit; over IPv6, where routers do not fragment, as long as the kernel
// was told that the path is narrow (ICMPv6 packet too big), which it believes for some minutes. Where a firewall keeps
// that from it, the datagram is lost. It takes three system calls a datagram and holds up other senders of the socket, so
// it is for rare cases.
func (s *Socket) SendFragmentable(to netip.AddrPort, data []byte, size int) error {
	// Nobody else's datagrams may pass in fragments meanwhile: they may be probes.
	s.fragmenting.Lock()
	defer s.fragmenting.Unlock()
	return s.send(to, data, size, way{inFragments: true})
}

// fragmentable is what a datagram is sent with: the socket's options, as Linux has none for a single datagram.
type fragmentable struct {
	on  bool
	six bool // the destination is IPv6's
}

func (f fragmentable) begin(fd uintptr) {
	switch {
	case !f.on:
	case f.six:
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DONT)
	default:
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT)
	}
}

func (f fragmentable) end(fd uintptr) {
	switch {
	case !f.on:
	case f.six:
		setProbe6(int(fd))
	default:
		setProbe4(int(fd))
	}
}

// setProbe4 has the don't-fragment bit set and the kernel's idea of the path's MTU ignored.
func setProbe4(fd int) {
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE)
}

// setProbe6 is setProbe4 for IPv6's destinations.
func setProbe6(fd int) {
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE)
}
