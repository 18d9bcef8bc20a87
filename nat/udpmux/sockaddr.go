package udpmux

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sockaddr holds either family's address as the kernel reads and writes it. An IPv4 one uses the first 16 bytes.
type sockaddr = unix.RawSockaddrInet6

// port is the bytes of a port, which are in network order on every machine.
func port(p *uint16) []byte { return (*[2]byte)(unsafe.Pointer(p))[:] }

// decode is the address that the kernel wrote, unmapped; ok is false for a family that is not IP's.
func decode(sa *sockaddr, z *zones) (a netip.AddrPort, ok bool) {
	switch sa.Family {
	case unix.AF_INET:
		sa4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom4(sa4.Addr), binary.BigEndian.Uint16(port(&sa4.Port))), true
	case unix.AF_INET6:
		ip := netip.AddrFrom16(sa.Addr).Unmap()
		if sa.Scope_id != 0 && ip.Is6() {
			ip = z.with(ip, sa.Scope_id)
		}
		return netip.AddrPortFrom(ip, binary.BigEndian.Uint16(port(&sa.Port))), true
	}
	return netip.AddrPort{}, false
}

// encode writes the address for a socket of the family and returns its length, 0 where its zone is of no interface.
func encode(sa *sockaddr, to netip.AddrPort, f family, z *zones) uint32 {
	if !f.six {
		sa4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		*sa4 = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: to.Addr().Unmap().As4()}
		binary.BigEndian.PutUint16(port(&sa4.Port), to.Port())
		return unix.SizeofSockaddrInet4
	}
	*sa = sockaddr{Family: unix.AF_INET6, Addr: to.Addr().As16()}
	binary.BigEndian.PutUint16(port(&sa.Port), to.Port())
	if zone := to.Addr().Zone(); zone != "" {
		if sa.Scope_id = z.index(zone); sa.Scope_id == 0 {
			return 0
		}
	}
	return unix.SizeofSockaddrInet6
}
