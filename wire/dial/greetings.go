package dial

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
)

// ErrCrowd is why a greeting was ended before its time: others came, from its host or to all places.
var ErrCrowd = errors.New("too many peers are greeting at once")

// Greetings bounds the incoming connections whose handshake is not done yet, together and for each host (see [Host]). A
// newcomer is never refused: where there is no room, the oldest greeting gives way, of the newcomer's host if that has its
// share, else of the host that has most. Those who are slow lose their place to those who are not, and whoever opens many
// connections from few addresses takes places from itself. Any number of goroutines may use it.
type Greetings struct {
	mu    sync.Mutex
	table greetingTable
	ends  map[*greeter]func() // what ends each
}

// NewGreetings makes room for so many at a time, and so many of one host; both at least 1.
func NewGreetings(all, perHost int) *Greetings {
	return &Greetings{table: greetingTable{all: max(1, all), perHost: max(1, perHost)}, ends: map[*greeter]func(){}}
}

// Begin takes a place for a connection from ip, whose context ends, with the cause [ErrCrowd], when the place is taken
// away. The caller must call done when the greeting is over, however it ends, and before it goes on with the connection.
// Begin waits until whoever had the place before is over, so that it also bounds what a flood leaves to be cleared away, or
// until ctx ends.
func (g *Greetings) Begin(ctx context.Context, ip netip.Addr) (greeting context.Context, done func()) {
	greeting, end := context.WithCancelCause(ctx)
	over := make(chan struct{})
	newcomer := &greeter{host: Host(ip), over: over}
	g.mu.Lock()
	loser := g.table.enter(newcomer)
	if loser != nil {
		g.ends[loser]()
		delete(g.ends, loser)
	}
	g.ends[newcomer] = func() { end(ErrCrowd) }
	g.mu.Unlock()
	if loser != nil {
		select {
		case <-loser.over:
		case <-ctx.Done():
		}
	}
	return greeting, sync.OnceFunc(func() {
		end(nil)
		g.mu.Lock()
		g.table.leave(newcomer)
		delete(g.ends, newcomer)
		g.mu.Unlock()
		close(over)
	})
}

// Len returns how many are greeting.
func (g *Greetings) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.table.present)
}

// greeter is a connection whose handshake is not done.
type greeter struct {
	host netip.Prefix
	over <-chan struct{} // closed when the greeting has ended
}

// greetingTable decides who gives way.
type greetingTable struct {
	all, perHost int
	present      []*greeter // oldest first
}

// enter adds a newcomer, and returns who has to leave for it, who is not in the table any more, or nil.
func (t *greetingTable) enter(newcomer *greeter) (loser *greeter) {
	count := map[netip.Prefix]int{}
	for _, p := range t.present {
		count[p.host]++
	}
	switch {
	case count[newcomer.host] >= t.perHost:
		loser = t.oldest(func(p *greeter) bool { return p.host == newcomer.host })
	case len(t.present) >= t.all:
		most := 0
		for _, n := range count {
			most = max(most, n)
		}
		loser = t.oldest(func(p *greeter) bool { return count[p.host] == most })
	}
	if loser != nil {
		t.leave(loser)
	}
	t.present = append(t.present, newcomer)
	return loser
}

func (t *greetingTable) oldest(of func(*greeter) bool) *greeter {
	return t.present[slices.IndexFunc(t.present, of)]
}

// leave removes who is there; who is not has left before.
func (t *greetingTable) leave(g *greeter) {
	if i := slices.Index(t.present, g); i >= 0 {
		t.present = slices.Delete(t.present, i, i+1)
	}
}
