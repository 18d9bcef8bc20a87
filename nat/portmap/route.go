package portmap

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// ErrNoGateway means that this device has no default route through a gateway.
var ErrNoGateway = errors.New("portmap: no default route through a gateway: is the network up?")

// Flags of a route (linux/route.h).
const (
	routeUp      = 1
	routeGateway = 2
)

// DefaultGateway returns the gateway of the IPv4 default route with the lowest metric, or ErrNoGateway.
func DefaultGateway() (netip.Addr, error) {
	table, err := os.ReadFile("/proc/net/route")
	if err != nil {
		return netip.Addr{}, fmt.Errorf("portmap: find the gateway: %w", err)
	}
	if a, ok := parseRoutes(string(table), binary.NativeEndian); ok {
		return a, nil
	}
	return netip.Addr{}, ErrNoGateway
}

// DefaultGateway6 is DefaultGateway for IPv6. The address is link-local as a rule, and then has a zone.
func DefaultGateway6() (netip.Addr, error) {
	table, err := os.ReadFile("/proc/net/ipv6_route")
	if err != nil {
		return netip.Addr{}, fmt.Errorf("portmap: find the gateway: %w", err)
	}
	if a, ok := parseRoutes6(string(table)); ok {
		return a, nil
	}
	return netip.Addr{}, ErrNoGateway
}

// parseRoutes reads /proc/net/route, whose addresses are numbers in the machine's byte order:
//
//	Iface Destination Gateway Flags RefCnt Use Metric Mask …
//	eth0  00000000 0101A8C0 0003 0 0 100 00000000 …
func parseRoutes(table string, order binary.ByteOrder) (gateway netip.Addr, ok bool) {
	best := uint64(0)
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 8 || f[1] != "00000000" || f[7] != "00000000" {
			continue
		}
		via, err1 := strconv.ParseUint(f[2], 16, 32)
		metric, err2 := strconv.ParseUint(f[6], 10, 32)
		if err1 != nil || err2 != nil || !usable(f[3]) || via == 0 || ok && metric >= best {
			continue
		}
		var b [4]byte
		order.PutUint32(b[:], uint32(via))
		gateway, best, ok = netip.AddrFrom4(b), metric, true
	}
	return gateway, ok
}

// parseRoutes6 reads /proc/net/ipv6_route, where everything is hexadecimal:
//
//	destination length source length next-hop metric refcount use flags interface
func parseRoutes6(table string) (gateway netip.Addr, ok bool) {
	best := uint64(0)
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 10 || strings.Trim(f[0], "0") != "" || f[1] != "00" || strings.Trim(f[4], "0") == "" {
			continue
		}
		b, err1 := hex.DecodeString(f[4])
		metric, err2 := strconv.ParseUint(f[5], 16, 32)
		if err1 != nil || err2 != nil || len(b) != 16 || !usable(f[8]) || ok && metric >= best {
			continue
		}
		gateway, best, ok = netip.AddrFrom16([16]byte(b)), metric, true
		if gateway.IsLinkLocalUnicast() {
			gateway = gateway.WithZone(f[9])
		}
	}
	return gateway, ok
}

// usable reports whether a route's flags say that it is up and through a gateway.
func usable(flags string) bool {
	n, err := strconv.ParseUint(flags, 16, 32)
	return err == nil && n&(routeUp|routeGateway) == routeUp|routeGateway
}
