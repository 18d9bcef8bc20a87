package dial

import (
	"net"
	"net/netip"
)

// Remote returns the address of the other end of c, not mapped; the zero value for a connection that is not of the network.
func Remote(c net.Conn) netip.AddrPort {
	a, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// Host returns who counts as one where strangers are counted: an IPv4 address, not mapped, or an IPv6 network of 64 bits, of
// which one machine can have every address. All that is no address is one host, the zero value.
func Host(ip netip.Addr) netip.Prefix {
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	host, _ := ip.WithZone("").Prefix(bits) // fails for what is no address
	return host
}
