package dht

import (
	"net/netip"
	"sync"
	"time"

	"github.com/anacrolix/dht/v2"
)

// Search says what a session looks for.
type Search struct {
	InfoHash [20]byte
	// Peers is given addresses as they are found. It is called from other goroutines and must not wait.
	Peers func([]netip.AddrPort)
}

// Status is how a session stands.
type Status struct {
	Nodes int       // good nodes in the table
	Peers int       // found in the last search
	Next  time.Time // of the next search; zero while one is under way
	Error string    // why the last search failed, and what to do; empty if it did not
}

// Session announces one torrent and looks for its peers. Its methods may be called from any goroutine.
type Session struct {
	node   *Node
	search Search
	poke   chan struct{}
	ended  chan struct{}
	stop   func()
}

// Search starts a session. It ends with Stop.
func (n *Node) Search(t Search) *Session {
	s := &Session{node: n, search: t, poke: make(chan struct{}, 1), ended: make(chan struct{})}
	s.stop = sync.OnceFunc(func() { close(s.ended) })
	go s.run()
	return s
}

func (s *Session) run() {
	for {
		for _, server := range s.node.servers {
			s.announce(server)
		}
		select {
		case <-s.ended:
			return
		case <-s.poke:
		case <-time.After(10 * time.Second):
		}
	}
}

func (s *Session) announce(server *dht.Server) {
	a, err := server.AnnounceTraversal(s.search.InfoHash, dht.AnnouncePeer(dht.AnnouncePeerOpts{Port: int(s.node.config.Port)}))
	if err != nil {
		return
	}
	for reply := range a.Peers {
		var found []netip.AddrPort
		for _, p := range reply.Peers {
			found = append(found, p.ToNodeAddrPort().AddrPort)
		}
		s.search.Peers(found)
	}
}

// Poke says that more peers are wanted now.
func (s *Session) Poke() {
	select {
	case s.poke <- struct{}{}:
	default:
	}
}

// Status tells how the session stands.
func (s *Session) Status() Status {
	var status Status
	for _, server := range s.node.servers {
		status.Nodes += server.Stats().GoodNodes
	}
	return status
}

// Stop ends the session. Stopping it again does nothing.
func (s *Session) Stop() { s.stop() }
