//go:build linux

package natlab

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// firstIndex is where the indices of the core's interfaces begin. The hosts', counted by host, are small.
const firstIndex = 1000

// shapeQueue is how long a packet may wait for its turn on a shaped link before it is dropped.
const shapeQueue = 50 * time.Millisecond

// connect makes the link between the host and the core, as the core's n-th.
func (h *Host) connect(n int) error {
	// The kernel may delay news of a carrier by a second, but not between interfaces of different indices.
	index := firstIndex + n
	veth := fmt.Sprintf("link add %s index %d type veth peer name %s netns %s", h.far.device, index, h.near.device, h.near.ns.path)
	if err := h.batch(h.far.ns, toolIP, append([]string{veth}, h.far.configure()...)...); err != nil {
		return err
	}
	routes := []string{
		fmt.Sprintf("route add default via %s", h.far.addr),
		fmt.Sprintf("route add ::/0 via %s", h.far.addr6),
	}
	if err := h.batch(h.near.ns, toolIP, append(h.near.configure(), routes...)...); err != nil {
		return err
	}
	return errors.Join(h.far.awaitUp(), h.near.awaitUp())
}

// Shape limits the host's link to down and up, in bytes per second including IP and Ethernet headers, with a queue of
// 50 ms (tc-tbf). 0 is no limit; negative rates are an error. It replaces an earlier limit and takes effect at once.
func (h *Host) Shape(down, up int64) error {
	if down < 0 || up < 0 {
		return fmt.Errorf("natlab: shape %s: negative rate", h.name)
	}
	return errors.Join(
		h.batch(h.far.ns, toolTC, shape(h.far.device, down)),
		h.batch(h.near.ns, toolTC, shape(h.near.device, up)),
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
	return h.batch(h.far.ns, toolIP, "link set "+h.far.device+" down")
}

// Restore brings a link back that was cut. Packets flow again when it returns; TCP waits for its next retransmission.
func (h *Host) Restore() error {
	if err := h.batch(h.far.ns, toolIP, h.far.configure()...); err != nil {
		return err
	}
	if err := errors.Join(h.far.awaitUp(), h.near.awaitUp()); err != nil {
		return err
	}
	// Who asked for a neighbour meanwhile would ask again only after a second.
	return errors.Join(
		h.batch(h.far.ns, toolIP, "neigh flush dev "+h.far.device),
		h.batch(h.near.ns, toolIP, "neigh flush dev "+h.near.device),
	)
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
		if !ok || name != h.near.device {
			continue
		}
		// Eight columns received, then eight sent; each begins with bytes and packets.
		var skip int64
		_, err := fmt.Sscan(numbers, &c.RxBytes, &c.RxPackets, &skip, &skip, &skip, &skip, &skip, &skip, &c.TxBytes, &c.TxPackets)
		return c, err
	}
	return c, fmt.Errorf("natlab: host %s has no %s", h.name, h.near.device)
}

// batch runs commands of ip or tc in one of the host's two namespaces.
func (h *Host) batch(where *namespace, tool string, commands ...string) error {
	h.log.Debug(tool, "namespace", where.path, "commands", commands)
	return where.do(func() error { return batch(tool, commands...) })
}
