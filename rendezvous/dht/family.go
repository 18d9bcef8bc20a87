package dht

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anacrolix/dht/v2"
	"github.com/anacrolix/dht/v2/krpc"
	"golang.org/x/time/rate"
)

// Bounds of what we ask by ourselves, for each family.
const (
	sendRate  = 100 // datagrams a second with questions, of all kinds together; answers are bounded by quota
	sendBurst = 100
	greetRate = 2   // strangers asked in a second whether they are nodes
	greetMost = 200 // good nodes that are enough to ask no strangers
	maxHints  = 64  // strangers that wait to be asked
	// questionTime is how long an answer is waited for.
	questionTime = 2 * time.Second
)

// family is our node in the table of one address family. BEP 32: IPv4 and IPv6 have a table each.
type family struct {
	guard     *guard
	server    *dht.Server // set by serve
	saved     []node      // by the run before
	bootstrap []string
	hints     chan netip.AddrPort
	found     chan struct{}                  // the first good node
	reachable func()                         // told when there are nodes to ask; must not wait
	lost      func(family string, err error) // told when nobody answers; must not wait
	standing  atomic.Int32                   // looking, ready or alone
	log       *slog.Logger
}

// How a family stands. Nothing is searched for before its neighbourhood is known: many nodes name no others when they know
// peers, so that a search from the first node alone would end, and announce us, there.
const (
	looking int32 = iota // for the first nodes
	ready
	alone // nobody answers
)

// newFamily prepares a family with what was saved of it; serve starts it.
func newFamily(conn net.PacketConn, is6 bool, saved savedFamily, c Config) *family {
	closing := make(chan struct{})
	id := identity(saved.id, saved.seen)
	g := &guard{
		conn:      conn,
		is6:       is6,
		self:      id,
		dialable:  c.Dialable,
		buf:       make([]byte, maxDatagram+1),
		tokens:    newTokens(),
		closing:   closing,
		close:     sync.OnceValue(func() error { close(closing); return conn.Close() }),
		contacts:  newContacts(id),
		announced: newAnnounced(id),
		refused:   refused{log: c.Log},
	}
	f := &family{
		guard: g, saved: saved.nodes, bootstrap: c.Bootstrap, log: c.Log,
		hints: make(chan netip.AddrPort, maxHints), found: make(chan struct{}, 1),
	}
	g.firstNode = func() {
		select {
		case f.found <- struct{}{}:
		default:
		}
	}
	return f
}

// identity returns the id to use: the saved one, or a new one, and one that fits our address if that is known (BEP 42).
func identity(saved [20]byte, seen netip.Addr) [20]byte {
	id := krpc.ID(saved)
	if id.IsZero() {
		rand.Read(id[:])
	}
	if seen.IsValid() && !dht.NodeIdSecure(id, seen.AsSlice()) {
		dht.SecureNodeId(&id, seen.AsSlice())
	}
	return id
}

// serve starts the library on the guarded socket.
func (f *family) serve() (err error) {
	want := []krpc.Want{krpc.WantNodes}
	switch {
	case f.guard.other != nil:
		want = append(want, krpc.WantNodes6)
	case f.guard.is6:
		want[0] = krpc.WantNodes6
	}
	f.server, err = dht.NewServer(&dht.ServerConfig{
		NodeId:           f.guard.self,
		Conn:             f.guard,
		NoSecurity:       true, // BEP 42 is kept by us, but too few others keep it to insist
		QueryResendDelay: func() time.Duration { return questionTime },
		Logger:           libraryLogger(f.log),
		DefaultWant:      want,
		SendLimiter:      rate.NewLimiter(sendRate, sendBurst),
	})
	return err
}

// run keeps the table in order until ctx ends, and closes the socket.
func (f *family) run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { f.greet(ctx) })
	wg.Go(func() { f.maintain(ctx) })
	wg.Wait()
	f.guard.awaitReader()
}

// end closes the socket, upon which the library's goroutines end within questionTime.
func (f *family) end() {
	f.server.Close()
	f.guard.Close()
}

// hint tells of an address at which there may be a node. It is dropped if too many others wait.
func (f *family) hint(a netip.AddrPort) {
	select {
	case f.hints <- a:
	default:
	}
}

// greet asks strangers whether they are nodes, as long as there are too few.
func (f *family) greet(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	limit := rate.NewLimiter(greetRate, 8)
	for {
		select {
		case <-ctx.Done():
			return
		case a := <-f.hints:
			if f.guard.good() >= greetMost || f.guard.knows(a.Addr()) {
				continue
			}
			if limit.Wait(ctx) == nil {
				wg.Go(func() { f.ping(ctx, a) })
			}
		}
	}
}

// ping asks for a sign of life. Who answers enters the table.
func (f *family) ping(ctx context.Context, a netip.AddrPort) {
	f.server.Query(ctx, dht.NewAddr(net.UDPAddrFromAddrPort(a)), methodPing, dht.QueryInput{})
}

// state is what is saved.
func (f *family) state() savedFamily {
	f.guard.mu.Lock()
	defer f.guard.mu.Unlock()
	s := savedFamily{f.guard.self, f.guard.votes.elected(), f.guard.contacts.latest(maxSaved)}
	if len(s.nodes) == 0 {
		s.nodes = f.saved
	}
	return s
}
