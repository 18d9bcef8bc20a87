package broker

import (
	"cmp"
	"container/heap"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"simplebit/integration/natlab"
	"simplebit/integration/natlab/virtual"
	"simplebit/nat"
	"simplebit/nat/punch"
)

// place is what a device of a test sits behind.
type place struct {
	kind    natlab.Kind
	carrier bool
}

func (s place) String() string {
	if s.carrier {
		return string(s.kind) + " behind a carrier"
	}
	return string(s.kind)
}

// behaviour is what the device finds out there.
func (s place) behaviour() nat.Behaviour {
	b := s.kind.Expect()
	if s.carrier {
		b.Double, b.Preserved, b.Filtering, b.Reachable, b.Hairpin = nat.Yes, nat.No, nat.AddressAndPortDependent, nat.No, nat.No
	}
	return b
}

func (s place) four() bool { return s.kind != natlab.IPv6Open && s.kind != natlab.IPv6Firewalled }
func (s place) six() bool  { return !s.four() || s.kind == natlab.DualStack }

// meets reports whether devices at the two can have a path.
func (s place) meets(o place) bool {
	switch a, b := s.behaviour(), o.behaviour(); {
	case a.Blocked || b.Blocked:
		return false
	case s.six() && o.six():
		return true
	default:
		return s.four() && o.four() && punch.Choose(a, b) != punch.Hopeless
	}
}

// places is every kind, and the usual ones behind a carrier.
func places() (all []place) {
	for _, k := range natlab.Kinds() {
		all = append(all, place{kind: k})
	}
	return append(all, place{natlab.PortRestricted, true}, place{natlab.Bare, true}, place{natlab.Symmetric, true})
}

// happening is what comes at a time.
type happening struct {
	at    time.Time
	order int
	do    func()
}

type happenings []happening

func (h happenings) Len() int { return len(h) }
func (h happenings) Less(i, j int) bool {
	return cmp.Or(h[i].at.Compare(h[j].at), cmp.Compare(h[i].order, h[j].order)) < 0
}
func (h happenings) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *happenings) Push(x any)   { *h = append(*h, x.(happening)) }
func (h *happenings) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// world is devices with their real machines for punching, virtual NATs before them, an internet that loses datagrams, and a
// surrogate with the broker's core, in virtual time.
type world struct {
	seed     uint64
	random   *rand.Rand
	now      time.Time
	events   happenings
	order    int
	internet virtual.Internet
	latency  time.Duration // one way between homes
	loss     float64       // of datagrams
	rough    bool          // messages to and from the surrogate get lost, relays and paths break
	parties  []*party

	core   *core
	polled time.Time
	poll   time.Time // when it is polled next
	relays map[want]*joint
	views  map[key]*view
	trace  []string
	fault  string

	resigned bool // two whose NATs count stay relayed
	crowd    bool // what devices have grows: in the end all have all, whoever is relayed with whom
}

var surrogates = [2]netip.AddrPort{netip.MustParseAddrPort("198.18.0.9:4433"), netip.MustParseAddrPort("[2001:db8:99::9]:4433")}

func newWorld(seed uint64, at ...place) *world {
	w := &world{
		seed: seed, random: rand.New(rand.NewPCG(seed, 6)), now: noon, relays: map[want]*joint{}, views: map[key]*view{}, rough: true,
	}
	w.latency = w.between(2*time.Millisecond, 150*time.Millisecond)
	w.loss = w.random.Float64() * 0.3
	if w.random.IntN(3) == 0 {
		w.loss = 0
	}
	w.core = newCore(noon, func(b []byte) {
		for i := range b {
			b[i] = byte(w.random.Uint32())
		}
	}, w.look, func(who id) string { return string(who) }, before)
	w.core.relays.limit(usual)
	for i, s := range at {
		w.add(i+1, s)
	}
	return w
}

// add puts a device into the world, in a home of its own.
func (w *world) add(n int, s place) {
	p := &party{id: id(fmt.Sprintf("device%d", n)), world: w, place: s, port: uint16(7000 + 1000*n), fresh: 20000}
	c := virtual.Config{
		External: netip.AddrFrom4([4]byte{198, 18, byte(10 + n), 2}),
		LAN:      netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, byte(n), 0}), 24),
		LAN6:     netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, byte(n)}), 64),
		Timeout:  time.Minute, // most NATs forget as fast what was not answered, which is all that matters here
		Seed:     w.seed*16 + uint64(n),
	}
	if s.kind == natlab.None {
		c.LAN = netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, byte(20 + n), 0}), 24)
	}
	if s.carrier {
		c.External, _ = virtual.Homes(n)
		carrier, err := virtual.NewCarrier(virtual.CarrierConfig{External: netip.AddrFrom4([4]byte{198, 18, byte(30 + n), 2}), Timeout: time.Minute, Seed: w.seed*16 + uint64(n) + 8})
		if err != nil {
			panic(err)
		}
		p.carrier = carrier
		w.internet.Attach(carrier, nil)
	}
	home, err := virtual.New(s.kind, c)
	if err != nil {
		panic(err)
	}
	p.home = home
	w.internet.Attach(home, p.carrier)
	four, six := c.LAN.Addr().As4(), c.LAN6.Addr().As16()
	four[3], six[15] = 10, 10
	p.addr, p.addr6 = netip.AddrFrom4(four), netip.AddrFrom16(six)
	w.parties = append(w.parties, p)
}

// share puts another device into the first one's home.
func (w *world) share(n int) {
	first := w.parties[0]
	w.parties = append(w.parties, &party{
		id: id(fmt.Sprintf("device%d", n)), world: w, place: first.place, home: first.home, carrier: first.carrier,
		addr: first.addr.Next(), addr6: first.addr6.Next(), port: uint16(7000 + 1000*n), fresh: 40000,
	})
}

// hope reports whether the two can have a path, as they are connected.
func (p *party) hope(o *party) bool {
	return p.home == o.home || p.place.meets(o.place) && p.line.UDP && o.line.UDP
}

func (w *world) between(least, most time.Duration) time.Duration {
	return least + time.Duration(w.random.Int64N(int64(most-least)))
}

// chance reports whether something goes wrong that does once in n times.
func (w *world) chance(n int) bool { return w.rough && w.random.IntN(n) == 0 }

func (w *world) log(format string, args ...any) {
	w.trace = append(w.trace, w.now.Sub(noon).Round(time.Millisecond).String()+" "+fmt.Sprintf(format, args...))
}

func (w *world) fail(format string, args ...any) {
	if w.fault == "" {
		w.fault = fmt.Sprintf(format, args...)
		w.log("FAULT %s", w.fault)
	}
}

func (w *world) at(at time.Time, do func()) {
	w.order++
	heap.Push(&w.events, happening{at, w.order, do})
}

func (w *world) after(d time.Duration, do func()) { w.at(w.now.Add(d), do) }

// run lets time pass.
func (w *world) run(d time.Duration) {
	until := w.now.Add(d)
	for w.fault == "" && len(w.events) > 0 && !w.events[0].at.After(until) {
		e := heap.Pop(&w.events).(happening)
		if e.at.After(w.now) {
			w.now = e.at
		}
		e.do()
	}
	w.now = until
}

func (w *world) party(who id) *party {
	for _, p := range w.parties {
		if p.id == who {
			return p
		}
	}
	return nil
}

// look is where the surrogate sees a device.
func (w *world) look(who id) (Line, bool) {
	p := w.party(who)
	return p.line, p.session != 0
}

// send has a datagram leave its device's NATs now and arrive later.
func (w *world) send(p *party, x *effort, g punch.Datagram) {
	packet := virtual.Packet{From: p.local(x, g.Socket, g.To.Addr()), To: g.To}
	for _, o := range w.parties {
		if o.home == p.home && o.addr == g.To.Addr() {
			w.after(time.Millisecond, func() { o.receive(packet, g.Data) })
			return
		}
	}
	ttl := cmp.Or(g.TTL, 64)
	for _, n := range []*virtual.NAT{p.home, p.carrier} {
		if n == nil {
			continue
		}
		if ttl--; ttl == 0 {
			return
		}
		var side virtual.Side
		if packet, side = n.Route(w.now, virtual.Inside, packet); side != virtual.Outside {
			return
		}
	}
	// The internet is one router, with others for those who know more of them.
	if ttl <= 1 || w.random.Float64() < w.loss {
		return
	}
	w.after(w.latency+w.between(0, 4*time.Millisecond), func() {
		if to, seen, ok := w.internet.Send(w.now, nil, packet); ok && to != nil {
			w.deliver(to, seen, g.Data)
		}
	})
}

func (w *world) deliver(to *virtual.NAT, packet virtual.Packet, b []byte) {
	for _, p := range w.parties {
		if p.home == to && (packet.To.Addr() == p.addr || packet.To.Addr() == p.addr6) {
			p.receive(packet, b)
		}
	}
}
