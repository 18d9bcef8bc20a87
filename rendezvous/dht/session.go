package dht

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

// Search says what a session looks for.
type Search struct {
	InfoHash [20]byte
	// Peers is given addresses while they are found: at most 500 for each search, at most 100 of them from one node, only
	// those that Config.Dialable permits. It is called from other goroutines, one call of a session at a time, and must not
	// wait. A call that is under way when the session is stopped may end after it.
	Peers func([]netip.AddrPort)
}

// Status is how a session stands.
type Status struct {
	Nodes int       // nodes that have answered in the last 15 minutes, whatever torrent they were asked for
	Peers int       // found in the last search
	Next  time.Time // of the next search, past if it waits for a place; zero while one is under way
	Error string    // why the last search failed, and what to do; empty if it did not
}

// Session announces one torrent and looks for its peers: when it starts, about every 15 minutes, and when it is poked. Its
// methods may be called from any goroutine.
type Session struct {
	node   *Node
	target Search
	ctx    context.Context // ends with Stop
	stop   func()

	mu   sync.Mutex
	last map[netip.AddrPort]bool // the peers that the last search found
	err  error                   // of the last search
}

// Search starts a session. It ends with Stop. Nothing is searched for before Run and after its end.
func (n *Node) Search(t Search) *Session {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Session{node: n, target: t, ctx: ctx}
	s.stop = sync.OnceFunc(func() {
		cancel()
		n.change(func(a *agenda[*Session]) { a.remove(s) })
	})
	n.change(func(a *agenda[*Session]) { a.add(s) })
	return s
}

// Poke says that more peers are wanted before the next search is due. They are searched for no sooner than a minute after
// the last search began, and less and less often while that finds nothing new.
func (s *Session) Poke() { s.node.change(func(a *agenda[*Session]) { a.poke(s) }) }

// Stop ends the session. Stopping it again does nothing.
func (s *Session) Stop() { s.stop() }

// Status tells how the session stands.
func (s *Session) Status() Status {
	status := Status{Nodes: s.node.good()}
	s.mu.Lock()
	status.Peers = len(s.last)
	if s.err != nil {
		status.Error = s.err.Error()
	}
	s.mu.Unlock()
	s.node.mu.Lock()
	defer s.node.mu.Unlock()
	if p := s.node.agenda.torrents[s]; p != nil && !p.running {
		status.Next = p.due()
	}
	return status
}
