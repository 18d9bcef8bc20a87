//go:build linux

package natlab

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"time"
)

// linkWait bounds how long a link may take to come up.
const linkWait = 30 * time.Second

// end is one end of a link: an interface in a namespace.
type end struct {
	ns     *namespace
	device string
	bridge string     // that the interface is a port of; it has no addresses then
	addr   netip.Addr // of a /24, if there is one
	addr6  netip.Addr // of a /64, if there is one
	local6 netip.Addr // link-local. Given, for the kernel's own choice comes later and would be one more thing to wait for.
	routes []route    // to what is reached through the other end; the kernel forgets them when the link is cut
}

// route is a way to a network.
type route struct {
	to  netip.Prefix
	via netip.Addr
}

// String is the ip command that makes it.
func (r route) String() string { return fmt.Sprintf("route replace %s via %s", r.to, r.via) }

// The networks that ends have their IPv6 addresses in: 2001:db8:x::/48, with a /64 for each number.
const (
	coreNet = iota
	homeNet
	carrierNet
)

// newEnd returns the end with the given last number of the n-th link to the core.
func newEnd(device string, n int, last byte) end {
	high, low := byte(n>>8), byte(n)
	return end{
		device: device,
		addr:   netip.AddrFrom4([4]byte{198, 18 + high, low, last}),
		addr6:  addr6(coreNet, n, last),
		local6: netip.AddrFrom16([16]byte{0xfe, 0x80, 12: high, 13: low, 15: last}),
	}
}

// addr6 is an IPv6 address in one of the lab's networks.
func addr6(net byte, n int, last byte) netip.Addr {
	return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 5: net, 6: byte(n >> 8), 7: byte(n), 15: last})
}

// configure lists the ip commands that give the interface its addresses and set it up. They can be repeated, and have to
// be after the interface was down, which costs it the addresses of IPv6.
func (e end) configure() []string {
	if e.bridge != "" {
		return []string{
			fmt.Sprintf("link set %s addrgenmode none", e.device),
			fmt.Sprintf("link set %s master %s up", e.device, e.bridge),
		}
	}
	commands := []string{fmt.Sprintf("link set %s addrgenmode none", e.device)}
	if e.addr.IsValid() {
		commands = append(commands, fmt.Sprintf("addr replace %s/24 dev %s", e.addr, e.device))
	}
	commands = append(commands, fmt.Sprintf("link set %s up", e.device))
	for _, addr := range e.all6() {
		commands = append(commands, fmt.Sprintf("addr replace %s/64 dev %s nodad", addr, e.device))
	}
	for _, r := range e.routes {
		commands = append(commands, r.String())
	}
	return commands
}

// all6 lists the end's IPv6 addresses.
func (e end) all6() (addrs []netip.Addr) {
	for _, addr := range []netip.Addr{e.addr6, e.local6} {
		if addr.IsValid() {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

// neighbours is the interface that knows the link's other end by its hardware address.
func (e end) neighbours() string {
	if e.bridge != "" {
		return e.bridge
	}
	return e.device
}

// awaitUp waits until the interface sends and receives.
func (e end) awaitUp() error {
	ip, err := lookTool(toolIP)
	if err != nil {
		return err
	}
	return e.ns.do(func() error {
		for deadline := time.Now().Add(linkWait); ; time.Sleep(time.Millisecond) {
			sends, state, err := e.sends(ip)
			if err != nil {
				return fmt.Errorf("natlab: link %s: %w: %s", e.device, err, state)
			}
			receives, err := e.receives()
			if err != nil {
				return fmt.Errorf("natlab: link %s: %w", e.device, err)
			}
			if sends && receives {
				return nil
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("natlab: link %s does not come up: sends %v, receives %v: %s", e.device, sends, receives, state)
			}
		}
	})
}

// sends reports whether the interface has its queue. The kernel hears of a carrier in the background, and drops what is sent
// before, such as an ARP request that is repeated only after a second. The operational state changes together with the
// queue; to ask for it makes newer kernels (6.8) do both at once.
func (e end) sends(ip string) (ok bool, state []byte, err error) {
	out, err := exec.Command(ip, "-oneline", "link", "show", "dev", e.device).CombinedOutput()
	return bytes.Contains(out, []byte(" state UP ")), bytes.TrimSpace(out), err
}

// receives reports whether the namespace takes packets to the interface's IPv6 addresses for its own: these routes, too,
// come in the background, and answers to neighbour solicitations depend on them.
func (e end) receives() (bool, error) {
	routes, err := os.ReadFile("/proc/thread-self/net/ipv6_route")
	if err != nil {
		return false, err
	}
	for _, addr := range e.all6() {
		if !bytes.Contains(routes, []byte(hex.EncodeToString(addr.AsSlice())+" 80 ")) {
			return false, nil
		}
	}
	return true, nil
}
