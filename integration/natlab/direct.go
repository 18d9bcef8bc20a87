//go:build linux

package natlab

import (
	"fmt"
	"os"
	"time"
)

// DirectDevice is the interface that Direct gives each of its two hosts.
const DirectDevice = "direct"

// Direct joins two hosts by a cable of their own, one veth pair without router or limit, beside their ways through the core. From then on
// what they send to each other's IPv4 addresses goes over it; their IPv6 addresses are reached through the core as before. A host has
// one such cable at most.
func (l *Lab) Direct(a, b *Host) error {
	cable := fmt.Sprintf("link add %s type veth peer name %s netns %s", DirectDevice, DirectDevice, b.near.ns.path)
	if err := a.batch(a.near.ns, toolIP, cable); err != nil {
		return fmt.Errorf("natlab: join %s and %s: %w", a.name, b.name, err)
	}
	for _, way := range []struct{ from, to *Host }{{a, b}, {b, a}} {
		if err := way.from.batch(way.from.near.ns, toolIP,
			"link set "+DirectDevice+" addrgenmode none",
			"link set "+DirectDevice+" up",
			fmt.Sprintf("route add %s dev %s src %s", way.to.Addr(), DirectDevice, way.from.Addr()),
		); err != nil {
			return fmt.Errorf("natlab: join %s and %s: %w", a.name, b.name, err)
		}
	}
	return nil
}

// Narrow limits what the host receives to so many bytes per second, with a queue at the core in which a packet waits for at most so
// long before it is dropped (tc-tbf). Both are above 0. What the host sends is as it was. Shape replaces it.
func (h *Host) Narrow(down int64, queue time.Duration) error {
	if down <= 0 || queue < time.Millisecond {
		return fmt.Errorf("natlab: narrow %s: rate and queue must be above 0", h.name)
	}
	// Small bursts: what passes at once does not wait, and so is not seen by those who measure the queue.
	return h.batch(h.far.ns, toolTC, fmt.Sprintf("qdisc replace dev %s root tbf rate %dbps burst %db latency %dms",
		h.far.device, down, max(4<<10, down/1000), queue.Milliseconds()))
}

// OpenCounters returns a file of the counters of the host's interfaces, in the form of /proc/net/dev, for those who look often: to read it
// again is to read it from its beginning. The caller closes it.
func (h *Host) OpenCounters() (f *os.File, err error) {
	err = h.Do(func() error {
		f, err = os.Open("/proc/thread-self/net/dev")
		return err
	})
	return f, err
}
