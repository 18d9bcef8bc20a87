// Package nat holds the types of network address translation and the pure
// decisions about addresses. It does no I/O.
package nat

import "net/netip"

// shared is RFC 6598's address space between subscribers and a carrier's NAT.
var shared = netip.MustParsePrefix("100.64.0.0/10")

// thisNetwork is RFC 1122's "this network": Linux delivers it to the host itself.
var thisNetwork = netip.MustParsePrefix("0.0.0.0/8")

// translators are the prefixes whose addresses embed an IPv4 address that the
// network, not this host, may deliver to: NAT64 (RFC 6052, 8215) and 6to4 (RFC 3056).
var translators = []netip.Prefix{
	netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("2002::/16"),
}

// Public reports whether a program on the public internet may be asked by a
// stranger to contact the address: a unicast address that is not private
// (RFC 1918, 4193), shared (RFC 6598), loopback, link-local or unspecified,
// and that does not reach one of these through a translator. An IPv4 address
// mapped into IPv6 is judged as IPv4.
func Public(a netip.Addr) bool {
	a = a.Unmap()
	if !a.IsGlobalUnicast() || a.IsPrivate() || shared.Contains(a) || thisNetwork.Contains(a) {
		return false
	}
	for _, p := range translators {
		if p.Contains(a) {
			return false
		}
	}
	return true
}
