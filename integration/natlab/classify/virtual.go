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
	here     abode
	next     abode // another home behind the same carrier; zero: none
	gateway  netip.Addr
	servers  [servers]netip.AddrPort
	now      time.Time
	sockets  map[netip.AddrPort]*virtualSocket
	ports    uint16
}

// abode is a device and its home.
type abode struct {
	home   *virtual.NAT
	device netip.Addr
}

// NewVirtual makes the world of the device with that address in a home that is attached to the internet. Servers are on
// the addresses 203.0.113.1 and .2, or 2001:db8:ffff::1 and ::2.
func NewVirtual(i *virtual.Internet, home *virtual.NAT, device netip.Addr) *Virtual {
	w := &Virtual{
		internet: i, here: abode{home, device}, ports: 40000,
		now: time.Unix(1<<30, 0), sockets: make(map[netip.AddrPort]*virtualSocket),
	}
	if device.Is4() {
		w.gateway = withLast(device, 1)
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
	if w.here.device.Is6() || !w.here.home.Translates() {
		return netip.Addr{}
	}
	return w.here.home.External()
}

// Gateway implements World.
func (w *Virtual) Gateway() netip.Addr { return w.gateway }

// Open implements World.
func (w *Virtual) Open() (Socket, error) { return w.open(w.here) }

// OpenNext implements World.
func (w *Virtual) OpenNext() (Socket, error) {
	if w.next.home == nil {
		return nil, nil
	}
	return w.open(w.next)
}

func (w *Virtual) open(at abode) (Socket, error) {
	if w.ports++; w.ports == 0 {
		return nil, errors.New("classify: the virtual device is out of ports")
	}
	s := &virtualSocket{w, at.home, netip.AddrPortFrom(at.device, w.ports), nil}
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
	if to != nil {
		if s := w.sockets[seen.To]; s != nil && s.home == to {
			s.queue = append(s.queue, datagram{seen.From, b})
		}
		if to == w.here.home && seen.To == netip.AddrPortFrom(w.gateway, portPMP) {
			w.openPort(seen, b)
		}
		return
	}
	for _, at := range w.servers {
		if at != seen.To {
			continue
		}
		if answer, by, to, ok := respond(seen.From, b); ok {
			w.send(nil, virtual.Packet{From: w.servers[by], To: to}, answer)
		}
	}
}

// openPort is the router as who opens ports on request, where it is of a kind that does.
func (w *Virtual) openPort(p virtual.Packet, b []byte) {
	answer, ok := respondPMP(b, func(port uint16) error {
		return w.here.home.Forward(port, netip.AddrPortFrom(p.From.Addr(), port))
	})
	if s := w.sockets[p.From]; ok && s != nil {
		s.queue = append(s.queue, datagram{p.To, answer})
	}
}

type datagram struct {
	from netip.AddrPort
	b    []byte
}

type virtualSocket struct {
	world *Virtual
	home  *virtual.NAT
	local netip.AddrPort
	queue []datagram
}

func (s *virtualSocket) Local() netip.AddrPort { return s.local }

func (s *virtualSocket) Send(to netip.AddrPort, b []byte) error {
	s.world.send(s.home, virtual.Packet{From: s.local, To: to}, b)
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
