package tracker

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
)

// Lengths in bytes of a compact address without its port.
const (
	net4 = 4
	net6 = 16
)

// peerSet is different addresses that can be a peer's, at most maxPeers. The zero value is empty.
type peerSet struct {
	list []netip.AddrPort
	seen map[netip.AddrPort]bool
}

// compact adds addresses as BEP 7, 15 and 23 have them: size bytes of address, two of port, big-endian.
func (p *peerSet) compact(b []byte, size int) error {
	if len(b)%(size+2) != 0 {
		return fmt.Errorf("its peers have %d bytes, not a multiple of %d", len(b), size+2)
	}
	for ; len(b) > 0; b = b[size+2:] {
		ip, _ := netip.AddrFromSlice(b[:size])
		p.add(ip, int64(binary.BigEndian.Uint16(b[size:])))
	}
	return nil
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// add keeps an address that can be a peer's.
func (p *peerSet) add(ip netip.Addr, port int64) {
	ip = ip.Unmap()
	if !ip.IsValid() || ip.Zone() != "" || ip.IsUnspecified() || ip.IsMulticast() || ip == broadcast || port < 1 || port > math.MaxUint16 {
		return
	}
	addr := netip.AddrPortFrom(ip, uint16(port))
	if len(p.list) == maxPeers || p.seen[addr] {
		return
	}
	if p.seen == nil {
		p.seen = make(map[netip.AddrPort]bool)
	}
	p.seen[addr] = true
	p.list = append(p.list, addr)
}
