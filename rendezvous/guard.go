package rendezvous

import (
	"fmt"
	"net/netip"
	"syscall"

	"simplebit/nat"
)

// guard decides which addresses that strangers name may be contacted.
type guard struct{ allowPrivate bool }

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
