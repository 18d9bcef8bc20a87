package natlab

import (
	"encoding/binary"
	"net/netip"
	"sync"
)

// Sizes of headers, in bytes.
const (
	headerEthernet = 14
	header4        = 20
	header6        = 40
	headerICMP     = 8
)

// packet is what a router reads of an IP packet. Its bytes are a view.
type packet struct {
	bytes    []byte // without what a link may have appended
	src, dst netip.Addr
	hops     uint8 // TTL or hop limit
}

// parsePacket reads the header of an IPv4 or IPv6 packet. It is false for what a router must drop: what is no such packet,
// shorter than it says, or has a wrong header checksum (RFC 1812 section 5.2.2).
func parsePacket(b []byte) (p packet, ok bool) {
	if len(b) == 0 {
		return p, false
	}
	switch b[0] >> 4 {
	case 4:
		if len(b) < header4 {
			return p, false
		}
		header, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
		if header < header4 || total < header || total > len(b) || checksum(0, b[:header]) != 0 {
			return p, false
		}
		return packet{b[:total], netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20])), b[8]}, true
	case 6:
		if len(b) < header6 {
			return p, false
		}
		total := header6 + int(binary.BigEndian.Uint16(b[4:]))
		if total > len(b) {
			return p, false
		}
		return packet{b[:total], netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40])), b[7]}, true
	}
	return p, false
}

// crosses reports whether a router that has these addresses would have to forward the packet.
func (p packet) crosses(own *addresses) bool {
	return routable(p.dst) && !own.has(p.dst) && !p.src.IsLinkLocalUnicast()
}

// addresses are those of a router. Any goroutine may use them.
type addresses struct {
	mu  sync.RWMutex
	all map[netip.Addr]bool
}

func (a *addresses) has(addr netip.Addr) bool {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.all[addr]
}

// add takes those that are valid.
func (a *addresses) add(addrs ...netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.all == nil {
		a.all = map[netip.Addr]bool{}
	}
	for _, addr := range addrs {
		if addr.IsValid() {
			a.all[addr] = true
		}
	}
}

// routable reports whether packets to the address leave their link.
func routable(a netip.Addr) bool {
	return a.IsGlobalUnicast() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// age takes one from TTL or hop limit, which are above 1.
func (p packet) age() {
	if p.dst.Is6() {
		p.bytes[7]--
		return
	}
	p.bytes[8]--
	// RFC 1141: the checksum grows by what the header loses.
	sum := uint32(binary.BigEndian.Uint16(p.bytes[10:])) + 0x100
	binary.BigEndian.PutUint16(p.bytes[10:], uint16(sum+sum>>16))
}

// complaint is what a router tells a sender.
type complaint uint8

const (
	timeExceeded complaint = iota
	noRoute
	tooBig // comes with the size that is not
)

// Types and codes of ICMP (RFC 792, 1191) and ICMPv6 (RFC 4443), by complaint.
var (
	complaints4 = [...][2]byte{{11, 0}, {3, 0}, {3, 4}}
	complaints6 = [...][2]byte{{3, 0}, {1, 0}, {2, 0}}
)

// The most of a packet that a complaint carries: RFC 1812 section 4.3.2.3 has 576 bytes altogether, RFC 4443 section 3.1 1,280.
const (
	quote4 = 576 - header4 - headerICMP
	quote6 = 1280 - header6 - headerICMP
)

// answerable reports whether a router may complain about the packet (RFC 1812 section 4.3.2.7, RFC 4443 section 2.4).
func (p packet) answerable() bool {
	if !routable(p.src) {
		return false
	}
	if p.dst.Is4() && binary.BigEndian.Uint16(p.bytes[6:])&0x1fff != 0 {
		return false // not the first fragment
	}
	return !p.complains()
}

// complains reports whether the packet is an error message of ICMP, or ICMP of a type that might be one.
func (p packet) complains() bool {
	if p.dst.Is6() {
		return p.bytes[6] == protocolICMP6 && (len(p.bytes) == header6 || p.bytes[header6] < 128)
	}
	header := int(p.bytes[0]&15) * 4
	if p.bytes[9] != protocolICMP {
		return false
	}
	if len(p.bytes) <= header {
		return true
	}
	const reply, echo, timestamp, maskReply = 0, 8, 13, 18
	kind := p.bytes[header]
	return kind != reply && kind != echo && (kind < timestamp || kind > maskReply)
}

const (
	protocolICMP  = 1
	protocolICMP6 = 58
)

// appendComplaint appends the packet that tells the sender of p, on behalf of a router of address from. For tooBig, mtu is
// what would have passed.
func (p packet) appendComplaint(b []byte, what complaint, mtu int, from netip.Addr) []byte {
	begin := len(b)
	const hops = 64
	if p.dst.Is6() {
		quote := p.bytes[:min(len(p.bytes), quote6)]
		b = append(b, 0x60, 0, 0, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(headerICMP+len(quote)))
		b = append(b, protocolICMP6, hops)
		b = append(append(b, from.AsSlice()...), p.src.AsSlice()...)
		b = append(b, complaints6[what][0], complaints6[what][1], 0, 0)
		b = binary.BigEndian.AppendUint32(b, uint32(mtu))
		b = append(b, quote...)
		message := b[begin+header6:]
		// The pseudo-header of RFC 8200 section 8.1: both addresses, length and protocol.
		sum := uint32(len(message)) + protocolICMP6
		sum = add(sum, b[begin+8:begin+header6])
		binary.BigEndian.PutUint16(message[2:], checksum(sum, message))
		return b
	}
	quote := p.bytes[:min(len(p.bytes), quote4)]
	const precedence = 0xc0 // internetwork control, as RFC 1812 section 4.3.2.5 has it
	b = append(b, 0x45, precedence)
	b = binary.BigEndian.AppendUint16(b, uint16(header4+headerICMP+len(quote)))
	b = append(b, 0, 0, 0, 0, hops, protocolICMP, 0, 0)
	b = append(append(b, from.AsSlice()...), p.src.AsSlice()...)
	binary.BigEndian.PutUint16(b[begin+10:], checksum(0, b[begin:begin+header4]))
	b = append(b, complaints4[what][0], complaints4[what][1], 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(mtu))
	b = append(b, quote...)
	message := b[begin+header4:]
	binary.BigEndian.PutUint16(message[2:], checksum(0, message))
	return b
}

// add adds 16-bit words to the sum of a checksum.
func add(sum uint32, b []byte) uint32 {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	return sum
}

// checksum is the internet checksum (RFC 1071) of b after what sum holds. It is 0 over bytes that hold their own.
func checksum(sum uint32, b []byte) uint16 {
	sum = add(sum, b)
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
