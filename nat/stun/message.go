package stun

import (
	"encoding/binary"
	"net/netip"

	"github.com/pion/stun/v2"
)

const (
	headerSize = 20
	magic      = 0x2112A442 // RFC 5389 section 6
	maxMessage = 2048       // bytes that are looked at: RFC 5780's padded requests have some 1500

	bindingRequest = 0x0001
	bindingSuccess = 0x0101
	bindingError   = 0x0111

	changeIP   = 4 // bits of CHANGE-REQUEST (RFC 5780 section 7.2)
	changePort = 2

	unknownAttribute = 420 // an error code
)

// id is a transaction's.
type id = [stun.TransactionIDSize]byte

// framed says whether b is a message of the type, as long as its header says. The magic cookie is not looked at.
func framed(b []byte, kind uint16) bool {
	return len(b) >= headerSize && len(b) <= maxMessage && len(b)%4 == 0 &&
		binary.BigEndian.Uint16(b) == kind && int(binary.BigEndian.Uint16(b[2:])) == len(b)-headerSize
}

func hasCookie(b []byte) bool { return binary.BigEndian.Uint32(b[4:]) == magic }

// decode reads a framed message into m, which copies it, and checks its fingerprint if it has one. The cookie of a
// message from before RFC 5389 was part of the transaction id; m then has the magic one in its place.
func decode(m *stun.Message, b []byte) bool {
	m.Raw = append(m.Raw[:0], b...)
	binary.BigEndian.PutUint32(m.Raw[4:], magic)
	if m.Decode() != nil {
		return false
	}
	return !m.Contains(stun.AttrFingerprint) || hasCookie(b) && stun.Fingerprint.Check(m) == nil
}

// start makes m an empty message of the type.
func start(m *stun.Message, kind uint16, transaction id) {
	m.Reset()
	m.Type.ReadValue(kind)
	m.TransactionID = transaction
	m.WriteHeader()
}

// addressSize is the bytes that an attribute with the address takes in a message.
func addressSize(a netip.AddrPort) int { return 4 + 4 + a.Addr().BitLen()/8 }

// addAddress adds the address, which is unmapped, as MAPPED-ADDRESS has it, or as XOR-MAPPED-ADDRESS has it (RFC 5389
// sections 15.1 and 15.2).
func addAddress(m *stun.Message, t stun.AttrType, a netip.AddrPort) {
	var b [20]byte
	ip := a.Addr().As16()
	v := append(b[:4], ip[:]...)
	b[1] = 2
	if a.Addr().Is4() {
		b[1], v = 1, append(b[:4], ip[12:]...)
	}
	binary.BigEndian.PutUint16(b[2:], a.Port())
	if t == stun.AttrXORMappedAddress {
		xorAddress(v, m.TransactionID)
	}
	m.Add(t, v)
}

// address reads the first attribute of the type. It is unmapped, and not valid where there is none or it makes no sense
// as the address of one socket.
func address(m *stun.Message, t stun.AttrType) netip.AddrPort {
	raw, err := m.Get(t)
	if err != nil || len(raw) != 8 && len(raw) != 20 || raw[0] != 0 || (raw[1] == 1) != (len(raw) == 8) || raw[1] > 2 {
		return netip.AddrPort{}
	}
	var b [20]byte
	v := append(b[:0], raw...)
	if t == stun.AttrXORMappedAddress {
		xorAddress(v, m.TransactionID)
	}
	ip, _ := netip.AddrFromSlice(v[4:])
	ip = ip.Unmap()
	a := netip.AddrPortFrom(ip, binary.BigEndian.Uint16(v[2:]))
	if a.Port() == 0 || ip.IsUnspecified() || ip.IsMulticast() {
		return netip.AddrPort{}
	}
	return a
}

func xorAddress(v []byte, transaction id) {
	var mask [16]byte
	binary.BigEndian.PutUint32(mask[:], magic)
	copy(mask[4:], transaction[:])
	v[2] ^= mask[0]
	v[3] ^= mask[1]
	for i := range v[4:] {
		v[4+i] ^= mask[i]
	}
}

// unmap gives an IPv4 address that is mapped into IPv6 its own form.
func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
