package dht

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// maxSaved is how many nodes of a family are saved; a table of both families has at most 20 KB.
const maxSaved = 300

// savedMagic begins a saved table.
const savedMagic = "SBDHT1"

var errNotSaved = errors.New("dht: the saved node table is damaged")

// savedTable is what a node remembers over a restart:
//
//	"SBDHT1", then for IPv4 and for IPv6 (ip: 4 or 16 bytes)
//	    id[20]  seen[ip]  count[2]  count × (id[20] ip port[2])
//
// seen is our own address as others have seen it, all zero if unknown. Numbers are big-endian.
type savedTable struct {
	v4, v6 savedFamily
}

type savedFamily struct {
	id    [20]byte
	seen  netip.Addr // the zero value if unknown
	nodes []node     // at most maxSaved, the best first
}

// appendMarshal appends the table as it is saved.
func (t savedTable) appendMarshal(b []byte) []byte {
	b = append(b, savedMagic...)
	b = t.v4.appendMarshal(b, netip.IPv4Unspecified())
	return t.v6.appendMarshal(b, netip.IPv6Unspecified())
}

func (f savedFamily) appendMarshal(b []byte, unknown netip.Addr) []byte {
	if !f.seen.IsValid() {
		f.seen = unknown
	}
	b = append(append(b, f.id[:]...), f.seen.AsSlice()...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(f.nodes)))
	for _, n := range f.nodes {
		b = appendCompact(append(b, n.id[:]...), n.addr)
	}
	return b
}

// parseSaved reads a saved table. Nothing at all is an empty one.
func parseSaved(b []byte) (t savedTable, err error) {
	if len(b) == 0 {
		return t, nil
	}
	if len(b) < len(savedMagic) || string(b[:len(savedMagic)]) != savedMagic {
		return savedTable{}, errNotSaved
	}
	b = b[len(savedMagic):]
	if t.v4, b, err = consumeFamily(b, 4); err == nil {
		t.v6, b, err = consumeFamily(b, 16)
	}
	if err != nil || len(b) > 0 {
		return savedTable{}, errNotSaved
	}
	return t, nil
}

// consumeFamily reads a family's part and returns what follows it.
func consumeFamily(b []byte, ipLen int) (savedFamily, []byte, error) {
	var f savedFamily
	if len(b) < 20+ipLen+2 {
		return f, nil, errNotSaved
	}
	f.id = [20]byte(b)
	f.seen, _ = netip.AddrFromSlice(b[20 : 20+ipLen])
	if f.seen.IsUnspecified() {
		f.seen = netip.Addr{}
	}
	if f.seen.Is4In6() {
		return f, nil, errNotSaved
	}
	b = b[20+ipLen:]
	count, size := int(binary.BigEndian.Uint16(b)), 20+ipLen+2
	if b = b[2:]; count > maxSaved || len(b) < count*size {
		return f, nil, errNotSaved
	}
	for ; count > 0; count-- {
		n := node{[20]byte(b), compactAddr(b[20:size])}
		if !n.addr.IsValid() {
			return f, nil, errNotSaved
		}
		f.nodes = append(f.nodes, n)
		b = b[size:]
	}
	return f, b, nil
}
