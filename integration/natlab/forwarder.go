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
