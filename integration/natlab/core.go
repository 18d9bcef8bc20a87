//go:build linux

package natlab

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
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

// coreLink is a link as the core sees it.
type coreLink struct {
	device       string
	socket       int    // sends on the core's end
	ethernet     []byte // the header of what goes to the machine, without the protocol
	addr, addr6  netip.Addr
	lossPerMille int // of what comes from the machine
}

// forwarder is a core in user space. Its goroutine sees all that reaches the core and sends it on when it is due.
type forwarder struct {
	ring *ring
	done chan struct{} // closed when the goroutine has ended, for the reason in err
	err  error

	mu      sync.Mutex
	config  CoreConfig
	latency map[[2]*coreLink]time.Duration
	links   map[*machine]*coreLink
	byIndex map[int32]*coreLink
	routes  map[netip.Prefix]*coreLink // all /24 or /64
	own     *addresses
	delays  delays
	stats   CoreStats
	scratch []byte
}

// newForwarder starts a core in the namespace, which has no links yet.
func newForwarder(core *namespace, c CoreConfig, own *addresses) (*forwarder, error) {
	f := &forwarder{
		done: make(chan struct{}), config: c, latency: map[[2]*coreLink]time.Duration{}, links: map[*machine]*coreLink{},
		byIndex: map[int32]*coreLink{}, routes: map[netip.Prefix]*coreLink{}, own: own,
	}
	err := core.do(func() (err error) {
		f.ring, err = newRing(coreFrames, true)
		return err
	})
	if err != nil {
		return nil, err
	}
	go func() {
		defer close(f.done)
		f.err = f.run()
	}()
	return f, nil
}

// close ends the core.
func (f *forwarder) close() error {
	f.ring.wake()
	<-f.done
	for _, link := range f.links {
		unix.Close(link.socket)
	}
	f.ring.close()
	return f.err
}

// attach connects a machine. Both ends of its link are up.
func (f *forwarder) attach(m *machine) error {
	link := &coreLink{device: m.far.device, addr: m.far.addr, addr6: m.far.addr6}
	var near, far *net.Interface
	err := m.near.ns.do(func() (err error) {
		near, err = net.InterfaceByName(m.near.device)
		return err
	})
	if err == nil {
		err = m.far.ns.do(func() (err error) {
			if far, err = net.InterfaceByName(m.far.device); err != nil {
				return err
			}
			link.socket, err = openLink(far.Index)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("natlab: connect %s to the core: %w", m.name, err)
	}
	link.ethernet = append(append([]byte{}, near.HardwareAddr...), far.HardwareAddr...)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.links[m], f.byIndex[int32(far.Index)] = link, link
	for _, a := range []netip.Addr{m.far.addr, m.far.addr6} {
		if a.IsValid() {
			f.routes[network(a)] = link
		}
	}
	for _, r := range m.far.routes {
		f.routes[r.to] = link
	}
	return nil
}

// openLink opens a socket that sends frames on an interface, in the namespace of the calling thread.
func openLink(index int) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, err
	}
	// What waits in the queue of a slow link counts as the socket's. Only the machine's root may have as much as it likes.
	const buffer = 8 << 20
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, buffer)
	if errors.Is(err, unix.EPERM) {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, buffer)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: index})
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// network is the /24 or /64 of an address.
func network(a netip.Addr) netip.Prefix {
	bits := 24
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}

// route leads a network to a machine that was attached.
func (f *forwarder) route(to netip.Prefix, m *machine) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.routes[to] = f.links[m]
}

// lose makes the core lose that share of what comes from a machine.
func (f *forwarder) lose(m *machine, perMille int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.links[m].lossPerMille = perMille
}

// coreFrames is how many frames may wait for the core: 8 MiB of memory.
const coreFrames = 4096

// frameBatch is how many frames are handled between two looks at the clock.
const frameBatch = 64

// run forwards until the ring is woken.
func (f *forwarder) run() error {
	for {
		next, more := f.work()
		if more {
			continue
		}
		wait := time.Duration(-1)
		if !next.IsZero() {
			wait = max(0, time.Until(next))
		}
		if woken, err := f.ring.wait(wait); woken || err != nil {
			return err
		}
	}
}

// work handles what came and sends what is due. It returns when the next frame is, and whether more may have come.
func (f *forwarder) work() (next time.Time, more bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	n := 0
	for ; n < frameBatch; n++ {
		s, ok := f.ring.next()
		if !ok {
			break
		}
		f.arrive(now, s)
		f.ring.release()
	}
	for {
		p, ok := f.delays.take(now)
		if !ok {
			break
		}
		f.send(p.to, p.frame)
		f.delays.recycle(p)
	}
	return f.delays.next(), n == frameBatch
}

// arrive forwards a frame, answers it or drops it.
func (f *forwarder) arrive(now time.Time, s seen) {
	from := f.byIndex[s.index]
	if from == nil || s.direction != unix.PACKET_HOST || len(s.data) < headerEthernet || len(s.data) < s.length {
		return
	}
	p, ok := parsePacket(s.data[headerEthernet:])
	if !ok || !p.crosses(f.own) {
		return
	}
	if hit(from.lossPerMille) || f.config.Loss > 0 && rand.Float64()*100 < f.config.Loss {
		f.stats.Lost++
		return
	}
	to := f.routes[network(p.dst)]
	switch {
	case to == nil:
		f.complain(p, noRoute, 0, from)
		return
	case p.hops <= 1:
		f.complain(p, timeExceeded, 0, from)
		return
	}
	p.age()
	frame := s.data[:headerEthernet+len(p.bytes)]
	copy(frame, to.ethernet)
	latency, special := f.latency[[2]*coreLink{from, to}]
	if !special {
		latency = f.config.Latency
	}
	if latency == 0 && !f.delays.between(from, to) {
		f.send(to, frame)
		return
	}
	// The way begins when the packet came, however late it is seen here. The clock on the wall may have been moved.
	arrived := now.Add(-min(max(now.Sub(s.at), 0), time.Second))
	if !f.delays.put(arrived, latency, from, to, frame) {
		f.stats.Dropped++
	}
}

// hit is true in so many of a thousand cases.
func hit(perMille int) bool { return perMille > 0 && rand.IntN(1000) < perMille }

// complain tells the sender of a packet that came from a link.
func (f *forwarder) complain(p packet, what complaint, mtu int, from *coreLink) {
	to, by := f.routes[network(p.src)], from.addr
	if p.dst.Is6() {
		by = from.addr6
	}
	if to == nil || !by.IsValid() || !p.answerable() {
		return
	}
	protocol := []byte{unix.ETH_P_IP >> 8, unix.ETH_P_IP & 0xff}
	if p.dst.Is6() {
		protocol = []byte{unix.ETH_P_IPV6 >> 8, unix.ETH_P_IPV6 & 0xff}
	}
	f.scratch = append(append(f.scratch[:0], to.ethernet...), protocol...)
	f.scratch = p.appendComplaint(f.scratch, what, mtu, by)
	unix.Write(to.socket, f.scratch)
}

// send puts a frame on a link.
func (f *forwarder) send(to *coreLink, frame []byte) {
	_, err := unix.Write(to.socket, frame)
	switch {
	case err == nil:
		f.stats.Forwarded++
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOBUFS):
		f.stats.Dropped++
	case errors.Is(err, unix.EMSGSIZE):
		if p, ok := parsePacket(frame[headerEthernet:]); ok {
			f.complain(p, tooBig, mtuOf(to), to)
		}
	}
	// Else the link is cut, or gone.
}

// mtuOf returns the longest packet that passes a link.
func mtuOf(to *coreLink) int {
	request, err := unix.NewIfreq(to.device)
	if err == nil {
		err = unix.IoctlIfreq(to.socket, unix.SIOCGIFMTU, request)
	}
	if err != nil {
		return 0
	}
	return int(request.Uint32())
}
