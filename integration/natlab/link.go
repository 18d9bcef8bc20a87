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

// connect makes the link to the far end, the n-th there, and the default routes.
func (m *machine) connect(n int, gateway end) error {
	// The kernel may delay news of a carrier by a second, but not between interfaces of different indices.
	index := firstIndex + n
	veth := fmt.Sprintf("link add %s index %d type veth peer name %s netns %s", m.far.device, index, m.near.device, m.near.ns.path)
	if err := m.batch(m.far.ns, toolIP, append([]string{veth}, m.far.configure()...)...); err != nil {
		return err
	}
	commands := m.near.configure()
	if m.near.addr.IsValid() {
		commands = append(commands, fmt.Sprintf("route add default via %s", gateway.addr))
	}
	if m.near.addr6.IsValid() {
		commands = append(commands, fmt.Sprintf("route add ::/0 via %s", gateway.addr6))
	}
	if err := m.batch(m.near.ns, toolIP, commands...); err != nil {
		return err
	}
	return errors.Join(m.far.awaitUp(), m.near.awaitUp())
}

// Shape limits the machine's link to down and up, in bytes per second including IP and Ethernet headers, with a queue of
// 50 ms (tc-tbf). 0 is no limit; negative rates are an error. It replaces an earlier limit and takes effect at once.
func (m *machine) Shape(down, up int64) error {
	if down < 0 || up < 0 {
		return fmt.Errorf("natlab: shape %s: negative rate", m.name)
	}
	return errors.Join(
		m.batch(m.far.ns, toolTC, shape(m.far.device, down)),
		m.batch(m.near.ns, toolTC, shape(m.near.device, up)),
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

// Cut takes the machine's link down at its other end, as if the cable had been pulled there: what is sent either way is
// lost without an error, and the machine keeps its addresses, routes and sockets. To cut a link twice is no error.
func (m *machine) Cut() error {
	return m.batch(m.far.ns, toolIP, "link set "+m.far.device+" down")
}

// Restore brings a link back that was cut. Packets flow again when it returns; TCP waits for its next retransmission.
func (m *machine) Restore() error {
	// What waits for a neighbour since the cut is lost with it: it must not cross the link when the kernel asks once more.
	if err := m.forgetNeighbours(); err != nil {
		return err
	}
	if err := m.batch(m.far.ns, toolIP, m.far.configure()...); err != nil {
		return err
	}
	if err := errors.Join(m.far.awaitUp(), m.near.awaitUp()); err != nil {
		return err
	}
	// Who asked for a neighbour meanwhile would ask again only after a second.
	return m.forgetNeighbours()
}

// forgetNeighbours has both ends of the link ask for each other anew.
func (m *machine) forgetNeighbours() error {
	return errors.Join(
		m.batch(m.far.ns, toolIP, "neigh flush dev "+m.far.neighbours()),
		m.batch(m.near.ns, toolIP, "neigh flush dev "+m.near.device),
	)
}

// Counters are the totals of a machine's link since it was made, as the machine sees them (a router's is the one to the
// internet). Bytes include Ethernet headers. Within a lab TCP, and UDP sent with UDP_SEGMENT, passes in packets of up to 64 KiB,
// each counted as one.
type Counters struct {
	RxPackets, RxBytes int64 // received by the machine
	TxPackets, TxBytes int64 // sent by the machine
}

// Counters reads the link's counters. Neighbour discovery and multicast reports of the kernel are among what they count.
func (m *machine) Counters() (c Counters, err error) {
	var table []byte
	err = m.Do(func() error {
		table, err = os.ReadFile("/proc/thread-self/net/dev")
		return err
	})
	if err != nil {
		return c, err
	}
	for line := range strings.Lines(string(table)) {
		name, numbers, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok || name != m.near.device {
			continue
		}
		// Eight columns received, then eight sent; each begins with bytes and packets.
		var skip int64
		_, err := fmt.Sscan(numbers, &c.RxBytes, &c.RxPackets, &skip, &skip, &skip, &skip, &skip, &skip, &c.TxBytes, &c.TxPackets)
		return c, err
	}
	return c, fmt.Errorf("natlab: host %s has no %s", m.name, m.near.device)
}

// batch runs commands of ip or tc in one of the namespaces at the link's two ends.
func (m *machine) batch(where *namespace, tool string, commands ...string) error {
	m.log.Debug(tool, "namespace", where.path, "commands", commands)
	return where.do(func() error { return batch(tool, commands...) })
}
