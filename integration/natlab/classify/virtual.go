package classify

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"simplebit/integration/natlab/virtual"
)

// Virtual is the World of a device in a virtual home. Its clock stands still but for what is waited for. It is not for
// concurrent use.
type Virtual struct {
	internet *virtual.Internet
	home     *virtual.NAT
	device   netip.Addr
	servers  [servers]netip.AddrPort
	now      time.Time
	sockets  map[netip.AddrPort]*virtualSocket
	ports    uint16
}

// NewVirtual makes the world of the device with that address in a home that is attached to the internet. Servers are on
// the addresses 203.0.113.1 and .2, or 2001:db8:ffff::1 and ::2.
func NewVirtual(i *virtual.Internet, home *virtual.NAT, device netip.Addr) *Virtual {
	w := &Virtual{
		internet: i, home: home, device: device, ports: 40000,
		now: time.Unix(1<<30, 0), sockets: make(map[netip.AddrPort]*virtualSocket),
	}
	first := netip.AddrFrom4([4]byte{203, 0, 113, 1})
	if device.Is6() {
		first = netip.MustParseAddr("2001:db8:ffff::1")
	}
	for n := range w.servers {
		addr := first
		if n >= 2 {
			addr = first.Next()
		}
		w.servers[n] = netip.AddrPortFrom(addr, uint16(7001+n%2))
	}
	return w
}

// Servers implements World.
func (w *Virtual) Servers() [servers]netip.AddrPort { return w.servers }

// Outside implements World.
func (w *Virtual) Outside() netip.Addr {
	if w.device.Is6() || !w.home.Translates() {
		return netip.Addr{}
	}
	return w.home.External()
}

// Open implements World.
func (w *Virtual) Open() (Socket, error) {
	if w.ports++; w.ports == 0 {
		return nil, errors.New("classify: the virtual device is out of ports")
	}
	s := &virtualSocket{w, netip.AddrPortFrom(w.device, w.ports), nil}
	w.sockets[s.local] = s
	return s, nil
}

// Sleep implements World.
func (w *Virtual) Sleep(ctx context.Context, d time.Duration) error {
	w.now = w.now.Add(max(d, 0))
	return context.Cause(ctx)
}

// send leads a datagram to whom it is for, and what a server answers.
func (w *Virtual) send(from *virtual.NAT, p virtual.Packet, b []byte) {
	to, seen, ok := w.internet.Send(w.now, from, p)
	if !ok {
		return
	}
	if to == w.home {
		if s := w.sockets[seen.To]; s != nil {
			s.queue = append(s.queue, datagram{seen.From, b})
		}
		return
	}
	for _, at := range w.servers {
		if at != seen.To || to != nil {
			continue
		}
		if answer, by, to, ok := respond(seen.From, b); ok {
			w.send(nil, virtual.Packet{From: w.servers[by], To: to}, answer)
		}
	}
}

type datagram struct {
	from netip.AddrPort
	b    []byte
}

type virtualSocket struct {
	world *Virtual
	local netip.AddrPort
	queue []datagram
}

func (s *virtualSocket) Local() netip.AddrPort { return s.local }

func (s *virtualSocket) Send(to netip.AddrPort, b []byte) error {
	s.world.send(s.world.home, virtual.Packet{From: s.local, To: to}, b)
	return nil
}

func (s *virtualSocket) Receive(ctx context.Context, wait time.Duration) (from netip.AddrPort, b []byte, ok bool, err error) {
	if len(s.queue) == 0 {
		return from, nil, false, s.world.Sleep(ctx, wait)
	}
	d := s.queue[0]
	s.queue = s.queue[1:]
	return d.from, d.b, true, nil
}

func (s *virtualSocket) Close() error {
	delete(s.world.sockets, s.local)
	return nil
}
