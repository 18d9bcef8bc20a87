package punch

import (
	"cmp"
	"container/heap"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"simplebit/integration/natlab"
	"simplebit/integration/natlab/virtual"
	"simplebit/nat"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// site is what a device of a test sits behind.
type site struct {
	kind    natlab.Kind
	carrier bool
	hairpin bool // of the carrier
}

func (s site) String() string {
	switch {
	case s.hairpin:
		return string(s.kind) + " behind a hairpinning carrier"
	case s.carrier:
		return string(s.kind) + " behind a carrier"
	}
	return string(s.kind)
}

// behaviour is what discovery finds out there.
func (s site) behaviour() nat.Behaviour {
	b := s.kind.Expect()
	if s.carrier {
		b.Double, b.Preserved, b.Filtering, b.Reachable = nat.Yes, nat.No, nat.AddressAndPortDependent, nat.No
		b.Hairpin = nat.No
		if s.hairpin {
			b.Hairpin = nat.Yes
		}
	}
	return b
}

// world is two devices, their NATs and the internet between them, in virtual time.
type world struct {
	t        testing.TB
	now      time.Time
	random   *rand.Rand
	internet virtual.Internet
	events   events
	order    int
	devices  [2]*device

	latency, jitter time.Duration // one way
	loss            float64
	mtu             int // of UDP payloads; 0: any

	busy float64       // flows that others begin in each home per second
	age  time.Duration // of what the surrogate knows of where devices are seen

	arrived map[netip.AddrPort]int // datagrams to hosts that are nobody's
	watch   func(d *device, g Datagram)
	keep    bool // keepers take over at once
}

// device is one agent.
type device struct {
	site    site
	home    *virtual.NAT
	carrier *virtual.NAT
	addr    netip.Addr
	addr6   netip.Addr
	port    uint16 // of its main socket; the others follow
	m       *Machine
	k       *Keeper
	heard   int // datagrams that reached it
	sent    int
	woken   time.Time
}

type event struct {
	at    time.Time
	order int
	do    func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return cmp.Or(e[i].at.Compare(e[j].at), cmp.Compare(e[i].order, e[j].order)) < 0
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

var surrogate = netip.MustParseAddr("198.18.0.9")

// newWorld puts two devices into it. With the same carrier they are two of its homes.
func newWorld(t testing.TB, seed uint64, a, b site) *world {
	w := &world{t: t, now: noon, random: rand.New(rand.NewPCG(seed, 1)), latency: 40 * time.Millisecond, arrived: make(map[netip.AddrPort]int)}
	for i, s := range [2]site{a, b} {
		d := &device{site: s, port: uint16(10000 + 20000*i)}
		n := byte(i + 1)
		c := virtual.Config{
			External: netip.AddrFrom4([4]byte{198, 18, 10 + n, 2}),
			LAN:      netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, n, 0}), 24),
			LAN6:     netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, n}), 64),
			Seed:     seed*4 + uint64(i),
		}
		if s.kind == natlab.None {
			c.LAN = netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, 20 + n, 0}), 24)
		}
		if s.carrier {
			c.External, _ = virtual.Homes(int(n))
			var err error
			external := netip.AddrFrom4([4]byte{198, 18, 30 + n, 2})
			if d.carrier, err = virtual.NewCarrier(virtual.CarrierConfig{External: external, Hairpin: s.hairpin, Seed: seed + 7}); err != nil {
				t.Fatal(err)
			}
			w.internet.Attach(d.carrier, nil)
		}
		w.add(d, c, i)
	}
	return w
}

func (w *world) add(d *device, c virtual.Config, i int) {
	var err error
	if d.home, err = virtual.New(d.site.kind, c); err != nil {
		w.t.Fatal(err)
	}
	w.internet.Attach(d.home, d.carrier)
	four, six := c.LAN.Addr().As4(), c.LAN6.Addr().As16()
	four[3], six[15] = 10, 10
	d.addr, d.addr6 = netip.AddrFrom4(four), netip.AddrFrom16(six)
	w.devices[i] = d
}

// share puts both homes behind the first one's carrier.
func (w *world) share() {
	w.devices[1].carrier = w.devices[0].carrier
	w.internet = virtual.Internet{}
	w.internet.Attach(w.devices[0].carrier, nil)
	for _, d := range w.devices {
		w.internet.Attach(d.home, d.carrier)
	}
}

func (d *device) local(socket int, to netip.Addr) netip.AddrPort {
	if to.Is6() {
		return netip.AddrPortFrom(d.addr6, d.port+uint16(socket))
	}
	return netip.AddrPortFrom(d.addr, d.port+uint16(socket))
}

func (w *world) at(at time.Time, do func()) {
	w.order++
	heap.Push(&w.events, event{at, w.order, do})
}

// ask is where the surrogate sees a socket; not valid if nothing gets there.
func (w *world) ask(d *device, socket int, port uint16) netip.AddrPort {
	p := virtual.Packet{From: d.local(socket, surrogate), To: netip.AddrPortFrom(surrogate, port)}
	_, seen, ok := w.internet.Send(w.now, d.home, p)
	if !ok {
		return netip.AddrPort{}
	}
	return seen.From
}

// network is what the device tells the broker, and where the surrogate sees it.
func (w *world) network(d *device) (candidates []nat.Candidate, observed netip.AddrPort) {
	if observed = w.ask(d, 0, 4433); observed.IsValid() {
		candidates = append(candidates, nat.Candidate{Kind: nat.ReflexiveCandidate, Addr: observed})
		if b := d.site.behaviour(); b.Step != 0 {
			observed = w.ask(d, 0, uint16(5000+w.random.IntN(50000))) // the newest mapping
		}
	}
	switch d.site.kind {
	case natlab.DualStack, natlab.IPv6Open, natlab.IPv6Firewalled:
		candidates = append(candidates, nat.Candidate{Kind: nat.HostCandidate, Addr: d.local(0, d.addr6)})
	}
	return candidates, observed
}

// plans are the broker's for both, the first controlling.
func (w *world) plans(try int) (plans [2]Plan) {
	var attempt [8]byte
	var key [16]byte
	binary.BigEndian.PutUint64(attempt[:], w.random.Uint64())
	binary.BigEndian.PutUint64(key[:], w.random.Uint64())
	var candidates [2][]nat.Candidate
	var observed [2]netip.AddrPort
	for i, d := range w.devices {
		candidates[i], observed[i] = w.network(d)
	}
	if o := observed; o[0].IsValid() && o[0].Addr() == o[1].Addr() {
		for i, d := range w.devices {
			candidates[i] = append(candidates[i], nat.Candidate{Kind: nat.HostCandidate, Addr: d.local(0, d.addr)})
		}
	}
	for _, d := range w.devices {
		w.others(d, int(w.busy*w.age.Seconds()))
	}
	for i := range plans {
		plans[i] = Plan{
			Attempt: attempt, Key: key, Controlling: i == 0, Try: try, Remote: candidates[1-i], Observed: observed[1-i], Self: observed[i].Addr(),
			Local: w.devices[i].site.behaviour(), Peer: w.devices[1-i].site.behaviour(),
		}
	}
	return plans
}

func (w *world) begin(i int, p Plan) {
	var seed [32]byte
	binary.BigEndian.PutUint64(seed[:], w.random.Uint64())
	m, err := New(w.now, p, seed)
	if err != nil {
		w.t.Fatalf("%+v: %v", p, err)
	}
	w.devices[i].m = m
	w.poll(w.devices[i])
}

// poll sends what is due, and has the device woken.
func (w *world) poll(d *device) {
	var out []Datagram
	var wake time.Time
	if _, o := d.m.Done(); w.keep && d.k == nil && o == Connected {
		d.k = d.m.Keeper(w.now)
	}
	if d.k != nil {
		out, wake = d.k.Poll(w.now, nil), d.k.Wake()
		if d.k.Lost(w.now) {
			wake = time.Time{}
		}
	} else {
		for range 100 {
			before := len(out)
			out = d.m.Poll(w.now, out)
			if wake = d.m.Wake(); len(out) == before || wake.IsZero() || wake.After(w.now) {
				break
			}
		}
		if !wake.IsZero() && !wake.After(w.now) {
			w.t.Fatalf("it does not go to sleep: %+v", d.m.Trace(w.now))
		}
	}
	for _, g := range out {
		w.send(d, g)
	}
	d.woken = wake
	if !wake.IsZero() {
		w.at(wake, func() {
			if d.woken == wake {
				w.poll(d)
			}
		})
	}
}

// send has a datagram leave its device's NATs now and arrive later. Routers count TTLs down: the device's own ones, one that is
// the internet, the peer's.
func (w *world) send(d *device, g Datagram) {
	if d.sent++; g.Socket < 0 || g.Socket >= MaxSockets || len(g.Data) > maxMessage {
		w.t.Fatalf("%+v", g)
	}
	if w.watch != nil {
		w.watch(d, g)
	}
	p := virtual.Packet{From: d.local(g.Socket, g.To.Addr()), To: g.To}
	ttl := cmp.Or(g.TTL, 64)
	delay := w.latency
	if w.jitter > 0 {
		delay += time.Duration(w.random.Int64N(int64(w.jitter)))
	}
	if w.mtu != 0 && len(g.Data) > w.mtu {
		return
	}
	lost := w.random.Float64() < w.loss
	for _, other := range w.devices { // within a LAN, and back from a carrier: no internet
		if other != d && (other.home == d.home && p.To.Addr() == other.addr || d.carrier != nil && other.carrier == d.carrier) {
			if ttl <= 2 {
				w.route(d, p, ttl)
				return
			}
			if to, seen, ok := w.internet.Send(w.now, d.home, p); ok && !lost {
				w.at(w.now.Add(5*time.Millisecond), func() { w.deliver(to, seen, g.Data) })
			}
			return
		}
	}
	p, ok := w.route(d, p, ttl)
	if !ok || lost {
		return
	}
	w.at(w.now.Add(delay), func() {
		if to, seen, ok := w.internet.Send(w.now, nil, p); ok {
			w.deliver(to, seen, g.Data)
		}
	})
}

// route leads a packet out through the device's own NATs, and reports whether it gets beyond the router after them.
func (w *world) route(d *device, p virtual.Packet, ttl int) (virtual.Packet, bool) {
	for _, n := range []*virtual.NAT{d.home, d.carrier} {
		if n == nil {
			continue
		}
		if ttl--; ttl == 0 {
			return p, false
		}
		var side virtual.Side
		if p, side = n.Route(w.now, virtual.Inside, p); side != virtual.Outside {
			return p, false
		}
	}
	return p, ttl > 1
}

func (w *world) deliver(to *virtual.NAT, p virtual.Packet, b []byte) {
	for _, d := range w.devices {
		if to == nil || d.home != to || p.To.Addr() != d.addr && p.To.Addr() != d.addr6 || p.To.Port() < d.port || p.To.Port() >= d.port+MaxSockets {
			continue
		}
		d.heard++
		if d.m == nil {
			return // nobody knows the attempt yet
		}
		if socket := int(p.To.Port() - d.port); d.k != nil {
			d.k.Receive(w.now, socket, p.From, b)
		} else {
			d.m.Receive(w.now, socket, p.From, b)
		}
		w.poll(d)
		return
	}
	if to == nil {
		w.arrived[p.To]++
	}
}

// run lets time pass until it is over, or nothing more happens.
func (w *world) run(until time.Time, over func() bool) {
	for len(w.events) > 0 && !over() {
		e := heap.Pop(&w.events).(event)
		if e.at.After(until) {
			heap.Push(&w.events, e)
			break
		}
		if e.at.After(w.now) {
			w.now = e.at
		}
		e.do()
	}
}

func (w *world) outcome(i int) Outcome {
	if w.devices[i].m == nil {
		return Pending
	}
	_, o := w.devices[i].m.Done()
	return o
}

// punch makes attempts until one succeeds, each after the other with fresh sockets, where the second device begins so much
// later than the first, and returns how long it took from the first one's beginning.
func (w *world) punch(attempts int, late time.Duration) (took time.Duration, ok bool) {
	began := w.now
	for try := range attempts {
		if try > 0 {
			for _, d := range w.devices {
				d.port += MaxSockets
			}
		}
		if _, ok = w.attempt(w.plans(try), late); ok {
			break
		}
	}
	return w.now.Sub(began), ok
}

// attempt makes one.
func (w *world) attempt(plans [2]Plan, late time.Duration) (took time.Duration, ok bool) {
	for _, d := range w.devices {
		d.m, d.k = nil, nil
	}
	start := w.now
	over := false
	defer func() { over = true }()
	for _, d := range w.devices {
		w.bustle(d, &over)
	}
	w.at(start.Add(max(0, -late)), func() { w.begin(0, plans[0]) })
	w.at(start.Add(max(0, late)), func() { w.begin(1, plans[1]) })
	w.run(start.Add(time.Minute), func() bool { return w.outcome(0) != Pending && w.outcome(1) != Pending })
	ok = w.outcome(0) == Connected && w.outcome(1) == Connected
	if ok {
		w.agree()
	}
	return w.now.Sub(start), ok
}

// others begins flows of other devices behind the same NAT.
func (w *world) others(d *device, n int) {
	for range n {
		four := d.addr.As4()
		four[3] = 99
		p := virtual.Packet{
			From: netip.AddrPortFrom(netip.AddrFrom4(four), uint16(1024+w.random.IntN(60000))),
			To:   netip.AddrPortFrom(surrogate, uint16(1024+w.random.IntN(60000))),
		}
		w.internet.Send(w.now, d.home, p)
	}
}

// bustle has others in the home begin flows at random until it is over.
func (w *world) bustle(d *device, over *bool) {
	if w.busy == 0 || *over {
		return
	}
	w.at(w.now.Add(time.Duration(w.random.ExpFloat64()/w.busy*float64(time.Second))), func() {
		if !*over {
			w.others(d, 1)
			w.bustle(d, over)
		}
	})
}

// agree fails the test unless what one sends over its path arrives over the other's.
func (w *world) agree() {
	w.t.Helper()
	for i, d := range w.devices {
		path, _ := d.m.Done()
		other, _ := w.devices[1-i].m.Done()
		to, seen, ok := w.internet.Send(w.now, d.home, virtual.Packet{From: d.local(path.Socket, path.Remote.Addr()), To: path.Remote})
		o := w.devices[1-i]
		if !ok || to != o.home || seen.To != o.local(other.Socket, other.Remote.Addr()) || seen.From != other.Remote {
			w.t.Errorf("%s with %s: %+v here is not %+v there: %v %v", d.site, o.site, path, other, seen, ok)
		}
		if path.Size < smallSize4 || w.loss == 0 && path.Size != other.Size {
			w.t.Errorf("%d bytes here, %d there", path.Size, other.Size)
		}
	}
}
