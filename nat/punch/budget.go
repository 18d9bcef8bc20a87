package punch

import "net/netip"

// budget is how many datagrams went to each address. There are never more addresses than pairs.
type budget struct {
	observed netip.Addr // may get more, if ports are guessed there
	spent    map[netip.Addr]int
}

// confirmed is spent on an address that has answered.
const confirmed = -1

// take reports whether the address may get one more, and counts it.
func (b *budget) take(to netip.Addr) bool {
	n := b.spent[to]
	if n == confirmed {
		return true
	}
	most := MaxUnconfirmed
	if to == b.observed {
		most = MaxObserved
	}
	if n >= most {
		return false
	}
	b.spent[to] = n + 1
	return true
}

func (b *budget) confirm(a netip.Addr) { b.spent[a] = confirmed }
