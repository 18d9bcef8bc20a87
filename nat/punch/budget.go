package punch

import "net/netip"

// budget is how many datagrams went to each host. There are never more of them than pairs.
type budget struct {
	observed netip.Addr // may get more, if ports are guessed there
	spent    map[netip.Addr]int
}

// host is the addresses that share a budget: one of IPv4, a network of IPv6.
func host(a netip.Addr) netip.Addr {
	if a.Is4() {
		return a
	}
	network, _ := a.Prefix(64) // no error: it has 128 bits
	return network.Addr()
}

// confirmed is spent on an address that has answered.
const confirmed = -1

// take reports whether an address may get one more, and counts it.
func (b *budget) take(to netip.Addr) bool {
	n := b.spent[host(to)]
	if n == confirmed {
		return true
	}
	most := MaxUnconfirmed
	if to == b.observed && to.Is4() {
		most = MaxObserved
	}
	if n >= most {
		return false
	}
	b.spent[host(to)] = n + 1
	return true
}

func (b *budget) confirm(a netip.Addr) { b.spent[host(a)] = confirmed }
