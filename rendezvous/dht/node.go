package dht

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Bounds of saving.
const (
	firstSave = time.Minute // after the start; a table that has just been found is worth keeping
	saveEvery = 5 * time.Minute
	saveTime  = 5 * time.Second
)

// Node is this program's part of the table, for all torrents. Its methods may be called from any goroutine.
type Node struct {
	config   Config
	families []*family
	wake     chan struct{} // the agenda has changed

	mu     sync.Mutex
	agenda agenda[*Session]
}

// Open makes a node that answers others from now on. It asks nothing by itself before Run, which must follow, since it
// closes the sockets; when Open fails it has closed them. ctx bounds Config.Load only.
func Open(ctx context.Context, c Config) (*Node, error) {
	c, err := c.prepared()
	if err != nil {
		return nil, errors.Join(err, closeAll(c.V4, c.V6))
	}
	b, err := c.Load(ctx)
	var saved savedTable
	if err == nil {
		saved, err = parseSaved(b)
	}
	if err != nil {
		c.Log.Warn("the saved DHT nodes are lost: those of --dht-bootstrap are asked for others", "error", err)
	}
	n := &Node{config: c, wake: make(chan struct{}, 1)}
	var v4, v6 *family
	if c.V4 != nil {
		v4 = n.open(c.V4, false, saved.v4)
	}
	if c.V6 != nil {
		v6 = n.open(c.V6, true, saved.v6)
	}
	if v4 != nil && v6 != nil {
		v4.guard.other, v6.guard.other = v6.guard.closest, v4.guard.closest
	}
	for _, f := range n.families {
		if err := f.serve(); err != nil {
			return nil, errors.Join(fmt.Errorf("dht: %w", err), closeAll(c.V4, c.V6))
		}
	}
	return n, nil
}

func closeAll(conns ...net.PacketConn) error {
	var errs []error
	for _, c := range conns {
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}

// open adds a family.
func (n *Node) open(conn net.PacketConn, is6 bool, saved savedFamily) *family {
	for _, a := range n.config.Public {
		if a = a.Unmap(); a.Is6() == is6 {
			saved.seen = a
		}
	}
	f := newFamily(conn, is6, saved, n.config)
	f.guard.maybeNode, f.reachable, f.lost = n.AddNode, n.reachable, n.lost
	n.families = append(n.families, f)
	return f
}

// Run keeps the node table in order and searches for the peers of the sessions until ctx ends. Then it saves the table and
// closes the sockets; it returns when all goroutines have ended, which takes up to two seconds.
func (n *Node) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, f := range n.families {
		wg.Go(func() { f.run(ctx) })
	}
	wg.Go(func() { n.search(ctx) })
	for wait := firstSave; ; wait = saveEvery {
		select {
		case <-ctx.Done():
			err := n.save(context.WithoutCancel(ctx))
			wg.Wait()
			return err
		case <-time.After(wait):
		}
		if err := n.save(ctx); err != nil {
			n.config.Log.Warn("the DHT nodes could not be saved, which makes the next start slower", "error", err)
		}
	}
}

// save stores the table.
func (n *Node) save(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, saveTime)
	defer cancel()
	var t savedTable
	for _, f := range n.families {
		if f.guard.is6 {
			t.v6 = f.state()
		} else {
			t.v4 = f.state()
		}
	}
	if err := n.config.Save(ctx, t.appendMarshal(nil)); err != nil {
		return fmt.Errorf("dht: save the node table: %w", err)
	}
	return nil
}

// search begins searches as the agenda says.
func (n *Node) search(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		n.mu.Lock()
		begin, wake := n.agenda.next(time.Now())
		n.mu.Unlock()
		for _, s := range begin {
			wg.Go(func() {
				o := s.search(ctx)
				n.change(func(a *agenda[*Session]) { a.end(s, time.Now(), o, rand.Float64()) })
			})
		}
		var timer <-chan time.Time
		if !wake.IsZero() {
			timer = time.After(time.Until(wake))
		}
		select {
		case <-ctx.Done():
			return
		case <-n.wake:
		case <-timer:
		}
	}
}

// change changes the agenda, and has it looked at.
func (n *Node) change(f func(*agenda[*Session])) {
	n.mu.Lock()
	f(&n.agenda)
	n.mu.Unlock()
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// reachable is told when a family has found nodes.
func (n *Node) reachable() { n.change((*agenda[*Session]).reachable) }

// AddNode tells of an address at which there may be a node, such as a peer's PORT message (BEP 5). It is asked before it is
// believed, at most two addresses a second, and not at all if there are nodes enough. It does not wait.
func (n *Node) AddNode(a netip.AddrPort) {
	a = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	for _, f := range n.families {
		if f.guard.contactable(a) {
			f.hint(a)
		}
	}
}

// good counts the nodes that have answered in the last 15 minutes.
func (n *Node) good() (good int) {
	for _, f := range n.families {
		good += f.guard.good()
	}
	return good
}

// lost is told why a family has no nodes. Nobody need care as long as the other one has.
func (n *Node) lost(family string, err error) {
	level := slog.LevelWarn
	for _, f := range n.families {
		if f.standing.Load() != alone {
			level = slog.LevelInfo
		}
	}
	n.config.Log.Log(context.Background(), level, "the DHT is out of reach", "network", family, "error", err)
}

// lonely says why nobody answers.
func (n *Node) lonely() error {
	for _, f := range n.families {
		if f.standing.Load() == looking {
			return errLooking
		}
	}
	return errNoNodes
}
