//go:build linux

package natlab

import (
	"errors"
	"fmt"
	"time"
)

// MaxLatency is the longest that a packet may take through the core.
const MaxLatency = 10 * time.Second

// CoreConfig makes the core of a lab a router of this process instead of the kernel's, which can do neither: it delays
// packets and loses some. It takes one from TTL or hop limit, answers those that have none left with time exceeded, those for
// addresses that no machine has with unreachable, and what is too long for a link with the size that is not, which it does
// instead of fragmenting. Its answers are not delayed. The zero value only forwards.
//
// Links of such a lab have no offloads: packets cross it one by one and as they would cross a wire, 1,500 bytes at most with
// their checksums in them. That, and the process, cost: some 100 MB/s where the kernel would forward gigabytes.
type CoreConfig struct {
	// Latency is how long a packet takes from any machine around the core to any other, one way, up to MaxLatency. See
	// Lab.SetLatency for pairs of their own.
	Latency time.Duration
	// Loss is the share of packets that do not arrive, in percent, at random.
	Loss float64
}

func (c CoreConfig) check() error {
	if c.Latency < 0 || c.Latency > MaxLatency {
		return fmt.Errorf("natlab: latency of %v: want 0 to %v", c.Latency, MaxLatency)
	}
	if !(c.Loss >= 0 && c.Loss <= 100) {
		return fmt.Errorf("natlab: loss of %v percent", c.Loss)
	}
	return nil
}

// CoreStats are the totals of a lab's core since it was made.
type CoreStats struct {
	Forwarded int64 // packets sent on
	Lost      int64 // packets lost on purpose
	Dropped   int64 // packets for which there was no room, here or in a link's queue
}

// errKernelCore is about a lab whose core is the kernel's.
var errKernelCore = errors.New("natlab: the kernel is this lab's core: it was made without Config.Core")

// Machine is a Host, Router or Carrier of a lab.
type Machine interface {
	// Name returns the machine's name in its lab.
	Name() string
	// outermost returns the machine that has the link to the core: this one, its router or its carrier.
	outermost() *machine
}

// outermost implements Machine.
func (m *machine) outermost() *machine {
	for m.behind != nil {
		m = m.behind
	}
	return m
}

// SetCore changes what the core does to packets that reach it from now on. Latencies set for pairs stay. It is an error in a
// lab that was made without Config.Core.
func (l *Lab) SetCore(c CoreConfig) error {
	if l.forwarder == nil {
		return errKernelCore
	}
	if err := c.check(); err != nil {
		return err
	}
	l.forwarder.mu.Lock()
	defer l.forwarder.mu.Unlock()
	l.forwarder.config = c
	return nil
}

// SetLatency sets how long packets take from a to b and from b to a, one way each, instead of CoreConfig.Latency. It holds for
// all that share their links to the core: devices of a home, homes of a carrier. Packets never overtake each other between two
// machines, also when the way becomes shorter. It is an error in a lab that was made without Config.Core, and for two that
// reach each other without crossing the core.
func (l *Lab) SetLatency(a, b Machine, oneWay time.Duration) error {
	f := l.forwarder
	if f == nil {
		return errKernelCore
	}
	if err := (CoreConfig{Latency: oneWay}).check(); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	from, to := f.links[a.outermost()], f.links[b.outermost()]
	if from == nil || to == nil || from == to {
		return fmt.Errorf("natlab: latency between %s and %s: the core is not between them", a.Name(), b.Name())
	}
	f.latency[[2]*coreLink{from, to}] = oneWay
	f.latency[[2]*coreLink{to, from}] = oneWay
	return nil
}

// CoreStats returns the core's counters. They are zero in a lab that was made without Config.Core.
func (l *Lab) CoreStats() CoreStats {
	f := l.forwarder
	if f == nil {
		return CoreStats{}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stats.Dropped += f.ring.lost()
	return f.stats
}
