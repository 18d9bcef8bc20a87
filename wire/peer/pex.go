package peer

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// MaxPexPeers is how many addresses are read from each list of a [Pex] message: ten times what BEP 11 lets a peer send.
const MaxPexPeers = 500

// PexFlags says what the sender of a [Pex] message knows of an address (BEP 11).
type PexFlags uint8

// The flags of BEP 11.
const (
	PexEncryption PexFlags = 0x01 // prefers encryption
	PexSeed       PexFlags = 0x02 // only uploads
	PexUTP        PexFlags = 0x04 // speaks uTP
	PexHolepunch  PexFlags = 0x08 // speaks ut_holepunch (BEP 55)
	PexReachable  PexFlags = 0x10 // accepts connections: the sender made one to it
)

// PexPeer is an address in a [Pex] message. It has not been checked: it may have port 0 or be anything.
type PexPeer struct {
	Addr  netip.AddrPort // never an IPv4-mapped one
	Flags PexFlags       // 0 where the sender did not say
}

// Pex is the payload of a ut_pex message (BEP 11): what changed among the peers to which the sender is connected.
type Pex struct {
	Added   []PexPeer // the IPv4 ones come first
	Dropped []netip.AddrPort
	Ignored int // in what was read: addresses beyond [MaxPexPeers]
}

// Lengths in bytes of a compact address.
const (
	compact4 = 4 + 2
	compact6 = 16 + 2
)

// AppendMarshal appends the message to b. Empty lists are left out, and addresses that are not valid.
func (p Pex) AppendMarshal(b []byte) []byte {
	var added, flags, dropped [2][]byte // IPv4, IPv6
	for _, a := range p.Added {
		if i, ok := family(a.Addr); ok {
			added[i] = appendCompact(added[i], a.Addr)
			flags[i] = append(flags[i], byte(a.Flags))
		}
	}
	for _, a := range p.Dropped {
		if i, ok := family(a); ok {
			dropped[i] = appendCompact(dropped[i], a)
		}
	}
	b = append(b, 'd')
	// Bencoded keys are sorted (BEP 3).
	for _, f := range []struct {
		key  string
		list []byte
	}{
		{"added", added[0]}, {"added.f", flags[0]}, {"added6", added[1]}, {"added6.f", flags[1]},
		{"dropped", dropped[0]}, {"dropped6", dropped[1]},
	} {
		if len(f.list) > 0 {
			b = appendString(appendString(b, f.key), string(f.list))
		}
	}
	return append(b, 'e')
}

// ParsePex reads a ut_pex message. Unknown keys, values of the wrong kind, IPv4-mapped addresses and bytes behind the
// dictionary are passed over. The error wraps [ErrBencode], or [ErrLength] where a list is no whole number of addresses.
func ParsePex(payload []byte) (Pex, error) {
	lists, err := pexLists(payload)
	if err != nil {
		return Pex{}, fmt.Errorf("peer sent a bad ut_pex message: %w", err)
	}
	var p Pex
	for _, f := range []struct {
		added, flags, dropped string
		size                  int
	}{{"added", "added.f", "dropped", compact4}, {"added6", "added6.f", "dropped6", compact6}} {
		flags := lists[f.flags]
		added, beyond := compactList(lists[f.added], f.size, MaxPexPeers-len(p.Added))
		p.Ignored += beyond
		for i, a := range added {
			if a.Addr().Is4In6() {
				continue
			}
			q := PexPeer{Addr: a}
			if i < len(flags) {
				q.Flags = PexFlags(flags[i])
			}
			p.Added = append(p.Added, q)
		}
		dropped, beyond := compactList(lists[f.dropped], f.size, MaxPexPeers-len(p.Dropped))
		p.Ignored += beyond
		for _, a := range dropped {
			if !a.Addr().Is4In6() {
				p.Dropped = append(p.Dropped, a)
			}
		}
	}
	return p, nil
}

// pexLists returns the strings of the message by their keys; they refer to payload.
func pexLists(payload []byte) (map[string][]byte, error) {
	d := decoder{payload}
	if err := d.open(); err != nil {
		return nil, err
	}
	lists := make(map[string][]byte, 6)
	for {
		key, ok, err := d.key()
		if err != nil || !ok {
			return lists, err
		}
		size := 0
		switch string(key) {
		case "added", "dropped":
			size = compact4
		case "added6", "dropped6":
			size = compact6
		case "added.f", "added6.f":
			size = 1
		default:
			if err := d.skip(); err != nil {
				return nil, err
			}
			continue
		}
		s, err := d.strOr()
		if err != nil {
			return nil, err
		}
		if len(s)%size != 0 {
			return nil, fmt.Errorf("%d bytes of addresses in %q: %w", len(s), key, ErrLength)
		}
		lists[string(key)] = s
	}
}

// compactList reads at most most addresses of size bytes each, and returns how many there are beyond.
func compactList(b []byte, size, most int) (list []netip.AddrPort, beyond int) {
	n := len(b) / size
	if n > most {
		beyond, n = n-most, most
	}
	for i := range n {
		one := b[i*size : (i+1)*size]
		ip, _ := netip.AddrFromSlice(one[:size-2])
		list = append(list, netip.AddrPortFrom(ip, binary.BigEndian.Uint16(one[size-2:])))
	}
	return list, beyond
}

// family returns 0 for an IPv4 address and 1 for an IPv6 one.
func family(a netip.AddrPort) (int, bool) {
	switch ip := a.Addr().Unmap(); {
	case ip.Is4():
		return 0, true
	case ip.Is6():
		return 1, true
	}
	return 0, false
}

func appendCompact(b []byte, a netip.AddrPort) []byte {
	b = append(b, a.Addr().Unmap().AsSlice()...)
	return binary.BigEndian.AppendUint16(b, a.Port())
}
