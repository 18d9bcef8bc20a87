package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"simplebit/nat"
	"simplebit/nat/stun"
	"simplebit/nat/udpmux"
)

// Config says whom to ask.
type Config struct {
	// Servers are the STUN endpoints of one surrogate and of one family, 1 to 8. The first one is asked most, and is best the
	// one that the main socket sends to anyway. Two addresses with the same two ports tell everything; what one address cannot
	// tell is unknown. One that is missing is learned from OTHER-ADDRESS.
	Servers []netip.AddrPort

	// Own is the addresses of the device's interfaces.
	Own []netip.Addr

	// Works says that UDP with the first server's address is known to work, so that silence means that nobody there answers
	// STUN, and not that UDP is blocked.
	Works bool

	// Met is the servers' addresses that the main socket has sent to in the last minutes: an answer from there is no stranger's.
	Met []netip.Addr

	// Log receives each test's outcome, at debug level. Default: nothing is logged.
	Log *slog.Logger

	silences [3]time.Duration // default: those of package level
}

// Result is what was found out.
type Result struct {
	Behaviour nat.Behaviour
	Reflexive netip.AddrPort // where the first server sees the main socket; not valid: it did not answer

	// OpenerTTL is the TTL of IPv4 datagrams that are to pass the device's own NATs, a carrier's included, and to end there: which
	// router is the first with an address outside of private (RFC 1918) and shared (RFC 6598) networks. 0: none has told.
	OpenerTTL int

	Datagrams int // sent so far: at most MaxDatagrams
}

// Discoverer asks through a set of sockets. Discover is called by one goroutine at a time.
type Discoverer struct {
	set *udpmux.Set

	mu   sync.Mutex
	ears map[*ear]struct{}
}

// ear hears what arrives at one socket.
type ear struct {
	at   *udpmux.Socket
	hear func(now time.Time, from netip.AddrPort, b []byte)
}

// New makes a discoverer. Receive is to get the set's STUN datagrams.
func New(set *udpmux.Set) *Discoverer {
	return &Discoverer{set: set, ears: make(map[*ear]struct{})}
}

// Receive takes runs of STUN. It does not wait, and is a udpmux.Handler:
//
//	d := discovery.New(set)
//	set.Handle(udpmux.STUN, d.Receive)
func (d *Discoverer) Receive(now time.Time, runs []udpmux.Run) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.ears) == 0 {
		return
	}
	for _, r := range runs {
		for b := range r.Datagrams() {
			for e := range d.ears {
				if e.at == r.Via {
					e.hear(now, r.From, b)
				}
			}
		}
	}
}

// listen has hear called with what arrives at a socket until the function that it returns is called. hear must not wait.
func (d *Discoverer) listen(at *udpmux.Socket, hear func(now time.Time, from netip.AddrPort, b []byte)) (end func()) {
	e := &ear{at, hear}
	d.mu.Lock()
	d.ears[e] = struct{}{}
	d.mu.Unlock()
	return func() {
		d.mu.Lock()
		delete(d.ears, e)
		d.mu.Unlock()
	}
}

// ErrNoServer means that no STUN server answered although UDP works: the surrogate may be too old to have one, or something
// between drops STUN.
var ErrNoServer = errors.New("no STUN server answers")

// Discover finds out what there is to find. first is called with all but the lifetime, after some 2 s where servers answer
// within 50 ms, 3 s where UDP is blocked, and at most 10 s where every other datagram is lost. The lifetime takes up to two
// minutes longer, and is in what Discover returns.
//
// It replaces the set's STUN routes by the servers, and uses five further sockets of the set until it returns. It fails with
// ErrNoServer, with what the system says where nothing can be sent, and with the cause of ctx's end; what it knew by then is
// returned too.
func (d *Discoverer) Discover(ctx context.Context, c Config, first func(Result)) (Result, error) {
	if len(c.Servers) == 0 || len(c.Servers) > maxServers || slices.ContainsFunc(c.Servers, unusable) {
		return Result{}, fmt.Errorf("discovery: STUN servers %v: want 1 to %d with a port", c.Servers, maxServers)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	ctx, stop := context.WithCancel(ctx)
	r := &run{d: d, c: c, machine: newMachine(c), ended: make(chan ending)}
	defer r.close()
	defer stop()
	if err := r.route(); err != nil {
		return Result{}, err
	}
	return r.loop(ctx, first)
}

// glance asks twice: whoever wants to know asks again after some time anyway.
var glance = stun.Profile{First: 500 * time.Millisecond, Longest: 500 * time.Millisecond, Last: 1500 * time.Millisecond, Tries: 2}

// Reflexive asks one server, which Discover has asked before, where it sees the main socket now: with one datagram, or two
// where the first one is not answered within half a second; it gives up after 2 s. It may run beside Discover.
func (d *Discoverer) Reflexive(ctx context.Context, server netip.AddrPort) (netip.AddrPort, error) {
	main := d.set.Main()
	client := stun.NewClient(main, glance)
	deafen := d.listen(main, func(now time.Time, from netip.AddrPort, b []byte) { client.Receive(now, from, b) })
	defer deafen()
	r, err := client.Binding(ctx, server, stun.Options{})
	return r.Mapped, err
}

const maxServers = 8

func unusable(a netip.AddrPort) bool { return !a.IsValid() || a.Port() == 0 }

// run is one discovery. Its loop owns everything but the sockets.
type run struct {
	d        *Discoverer
	c        Config
	machine  *machine
	underway int
	ended    chan ending
	err      error // the last one of the system's

	mu      sync.Mutex
	sockets [sockets]*udpmux.Socket
}

type ending struct {
	test    test
	outcome outcome
	err     error
}

func (r *run) loop(ctx context.Context, first func(Result)) (Result, error) {
	wake := time.NewTimer(0)
	defer wake.Stop()
	done, told := ctx.Done(), false
	for {
		if ctx.Err() == nil {
			for _, a := range r.machine.poll(time.Now()) {
				r.start(ctx, a)
			}
		}
		if r.machine.settled() && !told && ctx.Err() == nil && r.failure() == nil {
			told = true
			first(r.machine.result())
		}
		if r.underway == 0 && (r.machine.finished() || ctx.Err() != nil) {
			if ctx.Err() != nil {
				return r.machine.result(), context.Cause(ctx)
			}
			return r.machine.result(), r.failure()
		}
		wake.Stop()
		if at := r.machine.wake(); !at.IsZero() {
			wake.Reset(max(time.Until(at), 0))
		}
		select {
		case e := <-r.ended:
			r.underway--
			r.note(e)
		case <-wake.C:
		case <-done:
			done = nil // what is under way ends at once
		}
	}
}

// failure is why nothing was found out.
func (r *run) failure() error {
	switch {
	case r.machine.heard():
		return nil
	case r.err != nil:
		return fmt.Errorf("STUN servers %v cannot be asked: %w", r.c.Servers, r.err)
	case r.c.Works:
		return fmt.Errorf("STUN servers %v: %w", r.c.Servers, ErrNoServer)
	}
	return nil
}

// start has an action carried out.
func (r *run) start(ctx context.Context, a action) {
	r.underway++
	go func() {
		o, err := r.carry(ctx, a)
		r.ended <- ending{a.test, o, err}
	}()
}

// note tells the machine how an action ended.
func (r *run) note(e ending) {
	if e.err != nil {
		r.err = e.err
	}
	r.machine.done(time.Now(), e.test, e.outcome)
	r.c.Log.Debug("network discovery", "test", e.test, "answered", e.outcome.reply == answered, "mapped", e.outcome.mapped,
		"hop", e.outcome.hop.who, "ttl", e.outcome.hop.public, "sent", e.outcome.sent, "error", e.err)
	if e.test == map1 {
		// The server may have named others.
		if err := r.route(); err != nil {
			r.err = err
		}
	}
}

// route makes what the servers send STUN's.
func (r *run) route() error {
	return r.d.set.Main().Routes().SetSTUN(slices.Concat(r.c.Servers, r.machine.servers.all())...)
}

// socket is one of the sockets, opened when it is first needed.
func (r *run) socket(ctx context.Context, id socketID) (*udpmux.Socket, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sockets[id] == nil {
		if id == mainSocket {
			r.sockets[id] = r.d.set.Main()
			return r.sockets[id], nil
		}
		s, err := r.d.set.Open(ctx)
		if err != nil {
			return nil, err
		}
		r.sockets[id] = s
	}
	return r.sockets[id], nil
}

// close closes the further sockets.
func (r *run) close() {
	for id, s := range r.sockets {
		if s != nil && socketID(id) != mainSocket {
			s.Close()
		}
	}
}
