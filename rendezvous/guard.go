package rendezvous

import (
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"simplebit/nat"
)

// guard decides which addresses that strangers name may be contacted.
type guard struct {
	allowPrivate bool
	own          map[netip.AddrPort]bool // where this surrogate takes peers itself
}

// newGuard knows the surrogate's own peer port on all addresses of this machine
// and on the public one.
func newGuard(allowPrivate bool, public string, port uint16) (guard, error) {
	g := guard{allowPrivate, map[netip.AddrPort]bool{}}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return g, err
	}
	for _, a := range own {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			g.own[netip.AddrPortFrom(p.Addr(), port)] = true
		}
	}
	if a, err := netip.ParseAddr(public); err == nil {
		g.own[netip.AddrPortFrom(a, port)] = true
	}
	return g, nil
}

// candidate reports whether a peer's address may be contacted: trackers name this
// surrogate, too.
func (g guard) candidate(a netip.AddrPort) bool {
	return a.Port() != 0 && g.dialable(a.Addr()) && !g.own[a]
}

// dialable reports whether the address may be contacted.
func (g guard) dialable(a netip.Addr) bool {
	return nat.Public(a) || g.allowPrivate && a.IsValid() && !a.IsUnspecified() && !a.IsMulticast()
}

// control is a net.Dialer's Control hook: it sees the address after resolution,
// so a name that resolves to a private address is refused too.
func (g guard) control(network, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("address %q: %w", address, err)
	}
	if !g.dialable(ap.Addr()) {
		return fmt.Errorf("%s is a private address, which a stranger may not make this surrogate contact: run it with --allow-private to permit that", ap.Addr())
	}
	return nil
}
