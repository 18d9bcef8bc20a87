package dht

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/anacrolix/dht/v2"
	"github.com/anacrolix/dht/v2/krpc"
)

// Bounds of one search, for each family. It sends maxContacted questions, a few more while the limit is noticed, and eight
// announcements, of less than 200 bytes each.
const (
	maxPeers     = 500 // given to the torrent
	maxContacted = 100 // nodes asked
	searchTime   = time.Minute
	announceTime = 3 * questionTime // for the announcements after it
	checkEvery   = 200 * time.Millisecond
)

// search announces the torrent and looks for its peers, in all families at once.
func (s *Session) search(ctx context.Context) outcome {
	ctx, cancel := context.WithTimeout(ctx, searchTime+announceTime)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	f := findings{known: make(map[netip.AddrPort]bool), report: s.report}
	var wg sync.WaitGroup
	for _, family := range s.node.families {
		wg.Go(func() {
			f.add(family.guard.peers(s.target.InfoHash, time.Now()))
			f.answered(family.search(ctx, s.target.InfoHash, s.node.config.Port, f.add))
		})
	}
	wg.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	o := outcome{nodes: f.nodes}
	for a := range f.known {
		if !s.last[a] {
			o.fresh++
		}
	}
	s.last, s.err = f.known, nil
	if f.nodes == 0 {
		s.err = s.node.lonely()
	}
	return o
}

func (s *Session) report(found []netip.AddrPort) {
	if s.ctx.Err() == nil {
		s.target.Peers(found)
	}
}

// findings collects what a search finds.
type findings struct {
	report func([]netip.AddrPort)

	mu    sync.Mutex
	known map[netip.AddrPort]bool
	nodes int
}

// add reports those that are new.
func (f *findings) add(found []netip.AddrPort) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var fresh []netip.AddrPort
	for _, a := range found {
		if !f.known[a] && len(f.known) < maxPeers {
			f.known[a] = true
			fresh = append(fresh, a)
		}
	}
	if fresh != nil {
		f.report(fresh)
	}
}

func (f *findings) answered(nodes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nodes += nodes
}

// search asks the nodes closest to an info-hash for peers, announces ours to the eight closest (BEP 5) and returns how many
// have answered.
func (f *family) search(ctx context.Context, hash [20]byte, port uint16, found func([]netip.AddrPort)) (nodes int) {
	if f.standing.Load() != ready {
		return 0
	}
	a, err := f.server.AnnounceTraversal(hash, dht.AnnouncePeer(dht.AnnouncePeerOpts{Port: int(port)}))
	if err != nil {
		return 0 // the table is empty
	}
	defer context.AfterFunc(ctx, a.Close)()
	ended := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(ended)
	wg.Go(func() { stopInTime(a, ended) })
	// The channel must be read to its end, or the library's goroutines stay.
	for reply := range a.Peers {
		nodes++
		found(addrPorts(reply.Peers))
		if a.NumContacted() >= maxContacted {
			a.StopTraversing()
		}
	}
	return nodes
}

// stopInTime ends a traversal that takes too long, or that asks too many who do not answer.
func stopInTime(a *dht.Announce, ended <-chan struct{}) {
	check := time.NewTicker(checkEvery)
	defer check.Stop()
	timeout := time.After(searchTime)
	for {
		select {
		case <-ended:
			return
		case <-timeout:
			a.StopTraversing()
			return
		case <-check.C:
			if a.NumContacted() >= maxContacted {
				a.StopTraversing()
				return
			}
		}
	}
}

func addrPorts(list []krpc.NodeAddr) []netip.AddrPort {
	addrs := make([]netip.AddrPort, len(list))
	for i, p := range list {
		addrs[i] = p.ToNodeAddrPort().AddrPort
	}
	return addrs
}
