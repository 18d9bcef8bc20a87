//go:build linux

package natlab

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// Direct takes two hosts away from the core and joins them by one veth pair instead: they keep their addresses and reach each other,
// without router and limit, and nobody else. Links cannot be shaped or cut any more.
func (l *Lab) Direct(a, b *Host) error {
	for _, h := range []*Host{a, b} {
		if h.far.ns != l.core {
			return fmt.Errorf("natlab: %s is in a home: it has no link to the core", h.name)
		}
	}
	remove := "link del " + a.near.device
	if err := errors.Join(a.batch(a.near.ns, toolIP, remove), b.batch(b.near.ns, toolIP, remove)); err != nil {
		return fmt.Errorf("natlab: take %s and %s from the core: %w", a.name, b.name, err)
	}
	cable := fmt.Sprintf("link add %s type veth peer name %s netns %s", a.near.device, b.near.device, b.near.ns.path)
	if err := a.batch(a.near.ns, toolIP, cable); err != nil {
		return fmt.Errorf("natlab: join %s and %s: %w", a.name, b.name, err)
	}
	for _, way := range []struct{ from, to *Host }{{a, b}, {b, a}} {
		e, peer := way.from.near, way.to.near
		if err := way.from.batch(e.ns, toolIP,
			fmt.Sprintf("link set %s addrgenmode none", e.device),
			fmt.Sprintf("link set %s up", e.device),
			fmt.Sprintf("addr add %s peer %s dev %s", e.addr, peer.addr, e.device),
			fmt.Sprintf("addr add %s peer %s dev %s nodad", e.addr6, peer.addr6, e.device),
			fmt.Sprintf("addr add %s/64 dev %s nodad", e.local6, e.device),
		); err != nil {
			return fmt.Errorf("natlab: join %s and %s: %w", a.name, b.name, err)
		}
	}
	return errors.Join(a.near.awaitUp(), b.near.awaitUp())
}

// Narrow limits what the machine receives to so many bytes per second, with a queue at the other end in which a packet waits for at most so
// long before it is dropped (tc-tbf). Both are above 0. What it sends is as it was. Shape replaces it.
func (m *machine) Narrow(down int64, queue time.Duration) error {
	if down <= 0 || queue < time.Millisecond {
		return fmt.Errorf("natlab: narrow %s: rate and queue must be above 0", m.name)
	}
	// Small bursts: what passes at once does not wait, and so is not seen by those who measure the queue.
	return m.batch(m.far.ns, toolTC, fmt.Sprintf("qdisc replace dev %s root tbf rate %dbps burst %db latency %dms",
		m.far.device, down, max(4<<10, down/1000), queue.Milliseconds()))
}

// OpenCounters returns a file of the counters of the machine's interfaces, in the form of /proc/net/dev, for those who look often: to read it
// again is to read it from its beginning. The caller closes it.
func (m *machine) OpenCounters() (f *os.File, err error) {
	err = m.Do(func() error {
		f, err = os.Open("/proc/thread-self/net/dev")
		return err
	})
	return f, err
}
