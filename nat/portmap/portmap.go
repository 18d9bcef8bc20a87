package portmap

import (
	"fmt"
	"net/netip"
	"time"

	"simplebit/nat"
)

// Protocol is the transport protocol of a port, by its number at IANA.
type Protocol uint8

// The protocols that ports can be mapped of.
const (
	TCP Protocol = 6
	UDP Protocol = 17
)

// String returns "tcp" or "udp".
func (p Protocol) String() string {
	switch p {
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	}
	return fmt.Sprintf("protocol %d", uint8(p))
}

// Port is a port of this device that others should reach.
type Port struct {
	Protocol Protocol
	Internal uint16 // the number on the device, above 0
}

// String returns the port as "udp:6882".
func (p Port) String() string { return fmt.Sprintf("%s:%d", p.Protocol, p.Internal) }

// Mapping is a port that the gateway forwards.
type Mapping struct {
	Port
	External netip.AddrPort // where the gateway says it can be reached from outside: unicast, of the gateway's family
	Lifetime time.Duration  // as granted; 0: until it is removed. It is renewed in time
	By       string         // "pcp", "nat-pmp" or "upnp"
}

// Public reports whether strangers on the internet may be told the external address. Where it is not, there is another NAT
// in front of the gateway, or the gateway lies.
func (m Mapping) Public() bool { return nat.Public(m.External.Addr()) }

// method is a protocol by which ports are mapped, the preferred ones first.
type method uint8

const (
	pcp method = iota
	natPMP
	upnp
	methods // their number
)

// String returns what Mapping.By holds.
func (m method) String() string {
	return [...]string{"pcp", "nat-pmp", "upnp"}[m]
}
