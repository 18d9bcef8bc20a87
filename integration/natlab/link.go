//go:build linux

package natlab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// device is the name of every host's interface.
const device = "eth0"

// shapeQueue is how long a packet may wait for its turn on a shaped link before it is dropped.
const shapeQueue = 50 * time.Millisecond

// linkWait bounds how long a link may take to come up.
const linkWait = 5 * time.Second

// connect makes the link between the host and the core.
func (h *Host) connect(gateway, gateway6 netip.Addr) error {
	err := h.batch(h.core, toolIP,
		fmt.Sprintf("link add %s type veth peer name %s netns %s", h.uplink, device, h.ns.path),
		fmt.Sprintf("addr add %s/24 dev %s", gateway, h.uplink),
		fmt.Sprintf("addr add %s/64 dev %s nodad", gateway6, h.uplink),
		fmt.Sprintf("link set %s up", h.uplink),
	)
	if err != nil {
		return err
	}
	// Cut sets the core's end down, which must not cost it its IPv6 address.
	err = h.core.do(func() error { return setSysctls("ipv6/conf/" + h.uplink + "/keep_addr_on_down=1") })
	if err != nil {
		return err
	}
	err = h.batch(h.ns, toolIP,
		fmt.Sprintf("addr add %s/24 dev %s", h.addr, device),
		fmt.Sprintf("addr add %s/64 dev %s nodad", h.addr6, device),
		fmt.Sprintf("link set %s up", device),
		fmt.Sprintf("route add default via %s", gateway),
		fmt.Sprintf("route add ::/0 via %s", gateway6),
	)
	if err != nil {
		return err
	}
	// The core's end was brought up without a carrier. The kernel gives it a queue in the background, and drops what is
	// sent before, such as an ARP request that is repeated only after a second.
	return await(h.core, h.uplink, func() (bool, error) {
		queue, err := queueOf(h.uplink)
		return queue != "noop", err
	})
}

// Shape limits the host's link to down and up, in bytes per second including IP and Ethernet headers, with a queue of
// 50 ms (tc-tbf). 0 is no limit; negative rates are an error. It replaces an earlier limit and takes effect at once.
func (h *Host) Shape(down, up int64) error {
	if down < 0 || up < 0 {
		return fmt.Errorf("natlab: shape %s: negative rate", h.name)
	}
	return errors.Join(
		h.batch(h.core, toolTC, shape(h.uplink, down)),
		h.batch(h.ns, toolTC, shape(device, up)),
	)
}

// shape is the tc command that limits what an interface sends.
func shape(device string, rate int64) string {
	if rate == 0 {
		return "qdisc replace dev " + device + " root noqueue"
	}
	// One burst must hold a full-size packet, and what passes between two timer ticks at high rates.
	burst := max(4<<10, rate/100)
	return fmt.Sprintf("qdisc replace dev %s root tbf rate %dbps burst %db latency %dms", device, rate, burst, shapeQueue.Milliseconds())
}

// Cut takes the host's link down at the core's end, as if the cable had been pulled there: what is sent either way is
// lost without an error, and the host keeps its addresses, routes and sockets. To cut a link twice is no error.
func (h *Host) Cut() error {
	return h.batch(h.core, toolIP, "link set "+h.uplink+" down")
}

// Restore brings a link back that was cut. Packets flow again when it returns; TCP waits for its next retransmission.
func (h *Host) Restore() error {
	if err := h.batch(h.core, toolIP, "link set "+h.uplink+" up"); err != nil {
		return err
	}
	// The host's end may have lost its queue, which then comes back together with the operational state.
	return await(h.ns, device, func() (bool, error) {
		i, err := net.InterfaceByName(device)
		return err == nil && i.Flags&net.FlagRunning != 0, err
	})
}

// await polls an interface in its namespace until it is ready.
func await(where *namespace, name string, ready func() (bool, error)) error {
	return where.do(func() error {
		for deadline := time.Now().Add(linkWait); ; time.Sleep(time.Millisecond) {
			ok, err := ready()
			switch {
			case err != nil:
				return fmt.Errorf("natlab: link %s: %w", name, err)
			case ok:
				return nil
			case time.Now().After(deadline):
				return fmt.Errorf("natlab: link %s does not come up", name)
			}
		}
	})
}

// queueOf returns the kind of an interface's queue in the calling thread's namespace. "noop" drops everything.
func queueOf(name string) (kind string, err error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return "", err
	}
	rib, err := syscall.NetlinkRIB(unix.RTM_GETLINK, unix.AF_UNSPEC)
	if err != nil {
		return "", err
	}
	messages, err := syscall.ParseNetlinkMessage(rib)
	if err != nil {
		return "", err
	}
	for _, m := range messages {
		// struct ifinfomsg holds the index in its second word.
		if m.Header.Type != unix.RTM_NEWLINK || len(m.Data) < unix.SizeofIfInfomsg || binary.NativeEndian.Uint32(m.Data[4:]) != uint32(i.Index) {
			continue
		}
		attrs, err := syscall.ParseNetlinkRouteAttr(&m)
		if err != nil {
			return "", err
		}
		for _, a := range attrs {
			if a.Attr.Type == unix.IFLA_QDISC {
				return unix.ByteSliceToString(a.Value), nil
			}
		}
	}
	return "", errors.New("the kernel does not tell")
}

// Counters are the totals of a host's link since the host was made, as the host sees them. Bytes include Ethernet
// headers. Within a lab TCP, and UDP sent with UDP_SEGMENT, passes in packets of up to 64 KiB, each counted as one.
type Counters struct {
	RxPackets, RxBytes int64 // received by the host
	TxPackets, TxBytes int64 // sent by the host
}

// Counters reads the link's counters. Neighbour discovery and multicast reports of the kernel are among what they count.
func (h *Host) Counters() (c Counters, err error) {
	var table []byte
	err = h.Do(func() error {
		table, err = os.ReadFile("/proc/thread-self/net/dev")
		return err
	})
	if err != nil {
		return c, err
	}
	for line := range strings.Lines(string(table)) {
		name, numbers, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok || name != device {
			continue
		}
		// Eight columns received, then eight sent; each begins with bytes and packets.
		var skip int64
		_, err := fmt.Sscan(numbers, &c.RxBytes, &c.RxPackets, &skip, &skip, &skip, &skip, &skip, &skip, &c.TxBytes, &c.TxPackets)
		return c, err
	}
	return c, fmt.Errorf("natlab: host %s has no %s", h.name, device)
}

// batch runs commands of ip or tc in one of the host's two namespaces.
func (h *Host) batch(where *namespace, tool string, commands ...string) error {
	h.log.Debug(tool, "namespace", where.path, "commands", commands)
	return where.do(func() error { return batch(tool, commands...) })
}
