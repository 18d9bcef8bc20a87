package job

import (
	"net/netip"
)

// maxKnown bounds the peer addresses kept for a job.
const maxKnown = 2000

// known remembers peer addresses, the newest maxKnown/2 at least: a swarm that is
// seeded for months sees more than anybody wants to keep.
type known struct {
	young, old map[netip.AddrPort]bool
}

func newKnown() *known { return &known{young: map[netip.AddrPort]bool{}} }

// add reports whether the address is new.
func (k *known) add(a netip.AddrPort) bool {
	if k.young[a] {
		return false
	}
	isNew := !k.old[a]
	if len(k.young) == maxKnown/2 {
		k.young, k.old = map[netip.AddrPort]bool{}, k.young
	}
	delete(k.old, a)
	k.young[a] = true
	return isNew
}

func (k *known) count() int { return len(k.young) + len(k.old) }

// all lists the addresses, the newer half first.
func (k *known) all() []netip.AddrPort {
	list := make([]netip.AddrPort, 0, k.count())
	for _, half := range []map[netip.AddrPort]bool{k.young, k.old} {
		for a := range half {
			list = append(list, a)
		}
	}
	return list
}
