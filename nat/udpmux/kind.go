package udpmux

import (
	"iter"
	"net/netip"
)

// Kind is the protocol that a datagram belongs to.
type Kind uint8

// The kinds. Drop is nobody's.
const (
	Drop Kind = iota
	QUIC
	STUN
	UTP
	DHT

	kinds = 5
)

// String names the kind in lower case, as metrics want it.
func (k Kind) String() string {
	switch k {
	case QUIC:
		return "quic"
	case STUN:
		return "stun"
	case UTP:
		return "utp"
	case DHT:
		return "dht"
	default:
		return "drop"
	}
}

// A Run is datagrams from one source that arrived together, in their order.
type Run struct {
	Via  *Socket        // where they arrived
	From netip.AddrPort // an IPv4 address is never in its form mapped into IPv6
	Data []byte         // the datagrams one after another, at least one byte
	Size int            // bytes of each but the last, which may be shorter: from 1 to len(Data)
}

// Len is the number of datagrams.
func (r Run) Len() int { return (len(r.Data) + r.Size - 1) / r.Size }

// Datagrams walks over the datagrams. They are views of Data.
func (r Run) Datagrams() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for b := r.Data; len(b) > 0; {
			n := min(r.Size, len(b))
			if !yield(b[:n:n]) {
				return
			}
			b = b[n:]
		}
	}
}
