package edgeagent

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"simplebit/nat"
	"simplebit/nat/discovery"
	"simplebit/nat/portmap"
)

// network is what the agent knows of the network that it sits in: how that treats its UDP, the ports that a router forwards
// to it, and the addresses at which it may be reached. Its run owns it; nothing that goes wrong here ends anything else.
type network struct {
	socket  *ports
	tcp     bool // peers are accepted by TCP
	mapping bool // a router is asked to forward the peer port
	log     *slog.Logger
	changed signal // what is known became other: the session tells the surrogate
	hears   signal // UDP from the surrogate's host arrives, though control runs over TCP

	look    func() surroundings
	notices func() (*os.File, error) // netlink's

	wake signal
	mu   sync.Mutex
	told told  // by others, since run last looked
	now  known // for others
	left int   // for others: how many networks
}

// told is what others have told.
type told struct {
	greeting greeting
	stirred  bool // links, addresses or routes may have changed
	mappings []portmap.Mapping
}

// greeting is what the surrogate said about the network when it welcomed the device.
type greeting struct {
	surrogate netip.AddrPort   // where it is by UDP, as it was dialled; not valid: there is no connection
	byTCP     bool             // control runs over TCP: UDP does not work as far as is known
	stun      []netip.AddrPort // where it answers STUN
	observed  netip.AddrPort   // where it sees the device; over TCP without a port, which is none of UDP's
	moved     bool             // which it told later: the connection has survived
}

// known is what is known.
type known struct {
	nat.Network
	Reflexive netip.AddrPort
	OpenerTTL int       // see discovery.Result
	Checked   time.Time // when the behaviour was found out last; zero: never
	Error     string    // why it was not, or not again
}

func newNetwork(cfg Config, p *ports) *network {
	return &network{
		socket: p, tcp: p.tcp != nil, mapping: !cfg.NoPortMapping, log: cfg.Log,
		changed: make(signal, 1), hears: make(signal, 1),
		look: func() surroundings { return look().of(p.socket) }, notices: openNotices, wake: make(signal, 1),
	}
}

// greet notes a connection with the surrogate.
func (n *network) greet(g greeting) {
	for i, a := range g.stun {
		if a.Addr().IsUnspecified() {
			a = netip.AddrPortFrom(g.surrogate.Addr(), a.Port())
		}
		g.stun[i] = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	}
	g.observed = g.seenAt(g.observed)
	n.tell(func(t *told) { t.greeting = g })
}

// seenAt is where a connection shows that the socket is.
func (g greeting) seenAt(a netip.AddrPort) netip.AddrPort {
	port := a.Port()
	if g.byTCP {
		port = 0
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), port)
}

// observed notes that the surrogate sees the device elsewhere while it is connected.
func (n *network) observed(a netip.AddrPort) {
	n.tell(func(t *told) { t.greeting.observed, t.greeting.moved = t.greeting.seenAt(a), true })
}

// part notes that the connection has ended.
func (n *network) part() { n.tell(func(t *told) { t.greeting = greeting{} }) }

func (n *network) tell(f func(*told)) {
	n.mu.Lock()
	f(&n.told)
	n.mu.Unlock()
	n.wake.set()
}

// current is what is known.
func (n *network) current() known {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.now
}

// moves is how many networks the device has left, as far as can be told from inside, and from outside by one transport: another
// transport may be seen at another address of the same network.
func (n *network) moves() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.left
}

// depart counts a network that was left.
func (n *network) depart() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.left++
}

// settleTime is how long the network is left alone when something changes: an address and its route come one after another.
const settleTime = time.Second

// round is what run owns.
type round struct {
	*network
	tasks    sync.WaitGroup
	lookout  lookout
	around   surroundings
	lookAt   time.Time // when changes have settled; zero: there are none
	greeting greeting
	servers  []netip.AddrPort // of STUN, to ask; none: it cannot be found out
	met      []netip.Addr     // the surrogate's addresses that the socket has sent to from here
	place    int              // counts the networks that the device was in: what was asked in one tells nothing of the next
	mappings []portmap.Mapping
	mapper   *portmap.Mapper // nil: none is wanted so far
	found    chan finding
	stop     context.CancelFunc // of the discovery that runs; nil: none
	stopping bool
	result   discovery.Result
	checked  time.Time
	err      string
	glanced  time.Time // when the last glance began
	glanceAt time.Time // zero: nothing was found out that could have changed
}

// run watches the network until ctx ends. It returns up to 2 seconds later, when mapped ports are given back.
func (n *network) run(ctx context.Context) error {
	r := &round{network: n, lookout: lookout{jitter: rand.Float64}, found: make(chan finding), around: n.look()}
	defer r.tasks.Wait()
	r.tasks.Go(func() { watchNotices(ctx, n.notices, n.log, func() { n.tell(func(t *told) { t.stirred = true }) }) })
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := time.Now()
		r.hear(now)
		r.lookAround(now)
		r.mapPorts(ctx)
		r.discover(ctx, now)
		r.glance(ctx, now)
		r.publish()
		timer.Stop()
		if at := r.next(); !at.IsZero() {
			timer.Reset(max(time.Until(at), 0))
		}
		select {
		case <-n.wake:
		case <-timer.C:
		case f := <-r.found:
			r.note(time.Now(), f)
		case <-ctx.Done():
			return nil
		}
	}
}

// next is when there is something to do without being told.
func (r *round) next() time.Time {
	at := r.lookAt
	if !r.glanceAt.IsZero() && r.canAsk() && (at.IsZero() || r.glanceAt.Before(at)) {
		at = r.glanceAt
	}
	if due := r.lookout.due; !due.IsZero() && (at.IsZero() || due.Before(at)) && r.canAsk() && (r.stop == nil || !r.stopping) {
		at = due
	}
	return at
}

// hear takes what others have told.
func (r *round) hear(now time.Time) {
	r.mu.Lock()
	t := r.told
	r.told.stirred = false
	r.mu.Unlock()
	if t.stirred && r.lookAt.IsZero() {
		r.lookAt = now.Add(settleTime)
	}
	if g := t.greeting; g.surrogate.IsValid() {
		was := r.greeting
		r.greeting = g
		switch a := g.observed.Addr(); {
		case a != was.observed.Addr() && a != r.result.Reflexive.Addr(): // a glance may have shown it before
			if seen := was.observed.Addr(); seen.IsValid() && g.byTCP == was.byTCP && a.Is4() == seen.Is4() {
				r.depart()
			}
			if g.moved { // most often the same router's: how it behaves is told as it was until it is found out anew
				r.result.Reflexive = netip.AddrPort{}
				r.move(now)
			} else {
				r.leave(now)
			}
		case g.byTCP != was.byTCP:
			if !g.byTCP && r.result.Behaviour.Blocked {
				r.forget()
			}
			r.lookout.stir(now)
		case !slices.Equal(g.stun, was.stun):
			r.lookout.stir(now)
		case g.moved && g.observed != was.observed && g.observed != r.result.Reflexive:
			r.glanceSoon() // another port
		}
		r.meet()
		r.servers = chooseServers(g.stun, g.surrogate, routed)
	} else {
		r.greeting.surrogate = netip.AddrPort{} // the rest is what the next one is compared with
	}
	if externalUDP(t.mappings) != externalUDP(r.mappings) {
		r.lookout.stir(now) // who gets through may be others now
	}
	r.mappings = t.mappings
}

// lookAround compares the network with what it was, when changes have settled. Most notices of the kernel are of nothing that
// matters, such as an address that was confirmed.
func (r *round) lookAround(now time.Time) {
	if r.lookAt.IsZero() || now.Before(r.lookAt) {
		return
	}
	r.lookAt = time.Time{}
	was := r.around
	r.around = r.look()
	r.servers = chooseServers(r.greeting.stun, r.greeting.surrogate, routed)
	six := len(r.servers) > 0 && r.servers[0].Addr().Is6()
	if r.around.moved(was, six) {
		r.depart()
		r.leave(now)
	} else {
		r.glanceSoon() // a network may look like another from inside
	}
}

// move notes that the device is elsewhere, or behind a router that is.
func (r *round) move(now time.Time) {
	r.place++
	r.met = nil
	r.meet()
	r.lookout.stir(now)
	if r.mapper != nil {
		r.mapper.Check()
	}
}

// leave notes that the device is elsewhere, where nothing is as it was found out.
func (r *round) leave(now time.Time) {
	r.forget()
	r.move(now)
}

// forget drops what was found out.
func (r *round) forget() {
	r.result, r.checked, r.err, r.glanceAt = discovery.Result{}, time.Time{}, "", time.Time{}
}

// maxMet is how many addresses of surrogates are remembered: one has few, and the socket's mappings to others end.
const maxMet = 8

// meet notes that the socket sends to the surrogate.
func (r *round) meet() {
	a := r.greeting.surrogate.Addr()
	if !a.IsValid() || slices.Contains(r.met, a) {
		return
	}
	if len(r.met) == maxMet {
		r.met = r.met[1:]
	}
	r.met = append(r.met, a)
}

// mapPorts begins to ask the router for the peer port where there seems to be one: nobody is bothered where the device has a
// public address.
func (r *round) mapPorts(ctx context.Context) {
	if !r.mapping || r.mapper != nil || !r.around.behindRouter() {
		return
	}
	r.mapper = portmap.New(portmap.Config{Log: r.log})
	want := []portmap.Port{{Protocol: portmap.UDP, Internal: r.socket.number}}
	if r.tcp {
		want = append(want, portmap.Port{Protocol: portmap.TCP, Internal: r.socket.number})
	}
	mapper := r.mapper
	r.tasks.Go(func() {
		if err := mapper.Run(ctx, want, func(m []portmap.Mapping) { r.tell(func(t *told) { t.mappings = m }) }); err != nil {
			r.log.Warn("no port mapping", "err", err)
		}
	})
}
