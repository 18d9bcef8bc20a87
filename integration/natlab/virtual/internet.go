package virtual

import (
	"net/netip"
	"time"
)

// Internet leads packets between homes and public hosts, through the NATs that are in their way. Every address that is
// nobody's is a public host's. It is not for concurrent use; the zero value has no homes.
type Internet struct{ nats []attached }

type attached struct{ nat, upstream *NAT }

// Attach connects a NAT to the internet, or to a carrier that was attached before.
func (i *Internet) Attach(n, carrier *NAT) { i.nats = append(i.nats, attached{n, carrier}) }

// Send leads a packet of a device in that home, or of a public host if there is none, to the home and the device in whose
// LAN it arrives, or to a public host, and returns it as it is seen there. Packets within a LAN pass no NAT. What is dropped
// on the way is not ok, but has left its marks as far as it came.
func (i *Internet) Send(now time.Time, from *NAT, p Packet) (to *NAT, seen Packet, ok bool) {
	if from != nil && from.holds(p.To.Addr()) {
		return from, p, true
	}
	for n := from; n != nil; n = i.upstream(n) {
		var side Side
		switch p, side = n.Route(now, Inside, p); side {
		case Dropped:
			return nil, p, false
		case Inside:
			return i.down(now, n, p)
		}
	}
	return i.down(now, nil, p)
}

// down leads a packet from a NAT's inside, or the internet, to whom it is for.
func (i *Internet) down(now time.Time, at *NAT, p Packet) (to *NAT, seen Packet, ok bool) {
	for {
		next := i.next(at, p.To.Addr())
		if next == nil {
			return at, p, at == nil || !at.carrier
		}
		var side Side
		if p, side = next.Route(now, Outside, p); side != Inside {
			return nil, p, false
		}
		at = next
	}
}

// next is the NAT behind at, or on the internet, that leads to the address.
func (i *Internet) next(at *NAT, to netip.Addr) *NAT {
	for _, a := range i.nats {
		if a.nat.External() != to && (a.nat.carrier || !a.nat.holds(to)) {
			continue
		}
		for n := a.nat; n != nil; n = i.upstream(n) {
			if i.upstream(n) == at && n != at {
				return n
			}
		}
	}
	return nil
}

func (i *Internet) upstream(n *NAT) *NAT {
	for _, a := range i.nats {
		if a.nat == n {
			return a.upstream
		}
	}
	return nil
}

// holds reports whether the address is one of the NAT's inside.
func (n *NAT) holds(a netip.Addr) bool {
	inside := false
	n.each(func(b *box) { inside = inside || !b.elsewhere && b.inside.Contains(a) })
	return inside
}
