package session

import (
	"net/netip"

	"simplebit/wire/control"
)

const (
	maxUnadmitted = 256 // connections that are not yet a session: see Hub.takeOver
	maxFromOne    = 32  // of them from one IPv4 address or IPv6 /64
)

// admissions counts the connections that have not said who they are, so that
// strangers cannot keep devices out, and remembers who is revoked meanwhile.
type admissions struct {
	total   int
	from    map[netip.Prefix]int
	revoked map[control.DeviceID]bool
}

// start reports whether there is room for another connection; end ends it then.
func (a *admissions) start(addr netip.Addr) bool {
	origin := originOf(addr)
	if a.total >= maxUnadmitted || a.from[origin] >= maxFromOne {
		return false
	}
	a.total++
	a.from[origin]++
	return true
}

func (a *admissions) end(addr netip.Addr) {
	origin := originOf(addr)
	a.total--
	if a.from[origin]--; a.from[origin] == 0 {
		delete(a.from, origin)
	}
	if a.total == 0 {
		clear(a.revoked)
	}
}

// revoke notes a revocation that a connection on its way may have escaped.
func (a *admissions) revoke(device control.DeviceID) {
	if a.total > 0 {
		a.revoked[device] = true
	}
}

// originOf is what one stranger has: an IPv4 address, or an IPv6 /64.
func originOf(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap()
	bits := 64
	if addr.Is4() {
		bits = 32
	}
	p, _ := addr.Prefix(bits)
	return p
}
