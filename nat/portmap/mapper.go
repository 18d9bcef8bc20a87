package portmap

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"time"
)

const (
	defaultLease = 2 * time.Hour // RFC 6886 section 3.3 recommends it
	mostLease    = 24 * time.Hour
	mostPorts    = 16
	// exitTime bounds how long Run takes to remove mappings.
	exitTime = 2 * time.Second
)

// Config says how to map ports. The zero value works.
type Config struct {
	// Gateway is who is asked. With an IPv6 address (and its zone, if it is link-local), which only PCP can be asked at, it
	// opens the ports of a firewall. Default: the IPv4 default gateway, looked up for every search.
	Gateway netip.Addr
	// Local is the address of this device that ports are mapped for, which is the one that requests are sent from. Default:
	// the kernel's choice; a link-local IPv6 gateway needs a global one.
	Local netip.Addr
	// Lease is the time that is asked for, from 2 minutes to 24 hours. Default 2 hours.
	Lease time.Duration
	// Dial connects by "udp" and "tcp" to addresses and ports that are numbers. Default: a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Listen opens a socket for searches ("udp4", ":0") and for announcements ("udp4", ":5350"). Default: net.ListenConfig, on
	// Local for searches.
	Listen func(network, address string) (net.PacketConn, error)
	// Log receives what was granted and refused. Default: nothing is logged.
	Log *slog.Logger
}

// Mapper keeps ports of this device mapped. Its methods may be called from any goroutine.
type Mapper struct {
	c     Config
	check chan struct{}
}

// New returns a mapper that does nothing yet.
func New(c Config) *Mapper {
	switch {
	case c.Lease == 0:
		c.Lease = defaultLease
	default:
		c.Lease = min(max(c.Lease, 2*leastLease), mostLease)
	}
	c.Gateway = c.Gateway.Unmap()
	if c.Dial == nil {
		c.Dial = dialFrom(c.Local)
	}
	if c.Listen == nil {
		c.Listen = listenOn(c.Local)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Mapper{c, make(chan struct{}, 1)}
}

// Check has all mappings asked for again soon, and the missing ones looked for. It is to be called when the network may have
// changed: another address, another gateway, a surrogate that sees another address. It does not wait. What follows
// within 15 seconds of the last time is done after them.
func (m *Mapper) Check() {
	select {
	case m.check <- struct{}{}:
	default:
	}
}

// Run maps the wanted ports, at most 16, and keeps them mapped until ctx ends; then it removes the mappings, which takes at
// most 2 seconds, and returns nil. A gateway that maps nothing is no error: it is asked again after 2 minutes, and less and
// less often, down to once an hour.
//
// Whenever the mappings change, changed gets all that there are, from Run's goroutine; it must not wait. At the end there are
// none. Run is called once.
func (m *Mapper) Run(ctx context.Context, want []Port, changed func([]Mapping)) error {
	if err := m.checkPorts(want); err != nil {
		return err
	}
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	r := &run{
		Mapper: m, search: ctx, work: work, nonces: map[Port]nonce{}, changed: changed,
		schedule: newSchedule(time.Now(), m.c.Gateway.Is6(), m.c.Lease, want),
		results:  make(chan result), announced: make(chan netip.Addr),
	}
	for _, p := range want {
		var n nonce
		rand.Read(n[:])
		r.nonces[p] = n
	}
	deafen := r.hearAnnouncements()
	defer deafen()
	r.loop(ctx.Done(), stop)
	return nil
}

func (m *Mapper) checkPorts(want []Port) error {
	if len(want) == 0 || len(want) > mostPorts {
		return fmt.Errorf("portmap: %d ports: want 1 to %d", len(want), mostPorts)
	}
	for i, p := range want {
		if p.Protocol != UDP && p.Protocol != TCP || p.Internal == 0 || slices.Contains(want[:i], p) {
			return fmt.Errorf("portmap: port %v: want distinct ports of tcp and udp above 0", p)
		}
	}
	return nil
}

var errMoved = errors.New("the gateway is another one by now")

// run is what Run's goroutine owns.
type run struct {
	*Mapper
	search, work context.Context // of searches, which end at once, and of the rest, which end in time
	schedule     *schedule
	nonces       map[Port]nonce
	gate         *gate      // of the last search
	service      wanService // that it found
	underway     int        // actions
	results      chan result
	announced    chan netip.Addr // by this host
	changed      func([]Mapping)
	told         []Mapping
}

type result struct {
	action  action
	outcome outcome
	gate    *gate
	service wanService
}

// loop carries out what the schedule says, until everything is removed after done, or could not be in time.
func (r *run) loop(done <-chan struct{}, stop func()) {
	wake := time.NewTimer(0)
	defer wake.Stop()
	for {
		r.start(r.schedule.poll(time.Now()))
		r.tell()
		if r.schedule.finished() && r.underway == 0 {
			return
		}
		wake.Stop()
		if at := r.schedule.wake(); !at.IsZero() {
			wake.Reset(max(time.Until(at), 0))
		}
		select {
		case <-done:
			done = nil
			r.schedule.close()
			defer time.AfterFunc(exitTime, stop).Stop()
		case got := <-r.results:
			r.underway--
			r.note(got)
		case from := <-r.announced:
			if from == r.gate.addr {
				r.schedule.check(time.Now())
			}
		case <-r.check:
			r.follow()
			r.schedule.check(time.Now())
		case <-wake.C:
			r.follow()
		}
	}
}

// start has actions carried out, each by a goroutine of its own: there are three for a search and one for each port.
func (r *run) start(do []action) {
	for i, a := range do {
		if a.kind == search && (i == 0 || do[i-1].kind != search) {
			r.gate = r.newGate()
		}
		ctx := r.work
		if a.kind == search {
			ctx = r.search
		}
		r.underway++
		go func(g *gate, at wanService) {
			res := result{action: a, gate: g}
			switch {
			case !g.addr.IsValid():
				res.outcome.err = ErrNoGateway
			default:
				res.outcome, res.service = g.carry(ctx, a, at)
			}
			r.results <- res
		}(r.gate, r.service)
	}
}

// follow starts anew if the gateway is another one than that of the last search.
func (r *run) follow() {
	if r.gate == nil || r.c.Gateway.IsValid() {
		return
	}
	if now := r.newGate(); now.addr.IsValid() && now.addr != r.gate.addr {
		r.gate = now
		r.schedule.moved(time.Now())
	}
}

// newGate is the gateway as it is now.
func (r *run) newGate() *gate {
	g := &gate{addr: r.c.Gateway, nonces: r.nonces, dialer: r.c.Dial, listen: r.c.Listen}
	if !g.addr.IsValid() {
		g.addr, _ = DefaultGateway()
	}
	if g.addr.IsUnspecified() || g.addr.IsMulticast() {
		g.addr = netip.Addr{}
	}
	return g
}

// note tells the schedule how an action ended.
func (r *run) note(got result) {
	a, o := got.action, got.outcome
	if got.gate.addr != r.gate.addr {
		o = outcome{err: errMoved}
	}
	if a.kind == search && a.by == upnp && o.err == nil {
		r.service = got.service
	}
	r.schedule.done(time.Now(), a, o)
	port := ""
	if a.kind != search {
		port = a.port.String()
	}
	r.c.Log.Debug("port mapping", "step", a.kind, "by", a.by, "port", port, "gateway", got.gate.addr,
		"external", o.external, "lifetime", o.lifetime, "error", o.err)
}

// tell calls changed if there is something new.
func (r *run) tell() {
	now := r.schedule.mappings()
	if slices.Equal(now, r.told) {
		return
	}
	r.told = now
	r.changed(slices.Clone(now))
}
