package rendezvous

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"simplebit/nat"
	"simplebit/rendezvous/front"
	"simplebit/wire/dial"
)

// guard decides which addresses that strangers name may be contacted.
type guard struct {
	allowPrivate bool
	own          map[netip.AddrPort]bool // where this surrogate takes peers itself
}

// newGuard knows the surrogate's own peer port on all addresses of this machine
// and on the public ones.
func newGuard(allowPrivate bool, publics []string, own []net.Addr, port uint16) guard {
	g := guard{allowPrivate, map[netip.AddrPort]bool{}}
	for _, a := range own {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			g.own[netip.AddrPortFrom(p.Addr(), port)] = true
		}
	}
	for _, a := range publicAddrs(publics) {
		g.own[netip.AddrPortFrom(a, port)] = true
	}
	return g
}

// candidate reports whether a peer's address may be contacted: trackers name this
// surrogate, too.
func (g guard) candidate(a netip.AddrPort) bool {
	return a.Port() != 0 && g.dialable(a.Addr()) && !g.own[netip.AddrPortFrom(a.Addr().Unmap(), a.Port())]
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
		return forbidden(ap.Addr())
	}
	return nil
}

// guarded opens connections to addresses that may be contacted.
type guarded struct {
	guard
	dial.ContextDialer
}

// DialContext refuses what [guard.control] does.
func (d guarded) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if err := d.control(network, address, nil); err != nil {
		return nil, err
	}
	return d.ContextDialer.DialContext(ctx, network, address)
}

// forbidden is the refusal to contact an address.
type forbidden netip.Addr

// Error says what permits it.
func (f forbidden) Error() string {
	return fmt.Sprintf("%s is a private address, which a stranger may not make this surrogate contact: run it with --allow-private to permit that", netip.Addr(f))
}

// Unwrap tells front that trying again is of no use.
func (f forbidden) Unwrap() error { return front.ErrForbidden }
