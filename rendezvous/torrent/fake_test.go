package torrent

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"

	"simplebit/rendezvous/dht"
	"simplebit/rendezvous/front"
	"simplebit/rendezvous/job"
	"simplebit/rendezvous/tracker"
	"simplebit/wire/control"
)

// world is a Manager whose trackers, DHT and front are fakes that record what they are told.
type world struct {
	*testing.T
	*Manager
	mu        sync.Mutex
	presences []*fakePresence
	sessions  []*fakeSession
	searches  []*fakeSearch
}

type fakePresence struct {
	front.Torrent
	mu       sync.Mutex
	added    map[netip.AddrPort]front.Source
	hungry   bool
	private  bool
	size     int
	unusable map[netip.AddrPort]bool // true: lied
	reach    []front.Peer
	gone     bool
}

type fakeSession struct {
	Announce
	mu        sync.Mutex
	tiers     [][]string
	pokes     int
	completed int
	ctx       context.Context
}

type fakeSearch struct {
	dht.Search
	mu      sync.Mutex
	pokes   int
	stopped bool
}

// inWorld runs f under virtual time.
func inWorld(t *testing.T, f func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t}
		w.Manager = New(Config{
			Enter: func(ft front.Torrent) (Presence, error) {
				w.mu.Lock()
				defer w.mu.Unlock()
				for _, p := range w.presences {
					if p.InfoHash == ft.InfoHash && !p.left() {
						t.Error("front entered one swarm twice")
					}
				}
				p := &fakePresence{Torrent: ft, private: ft.Private, size: ft.InfoSize, added: map[netip.AddrPort]front.Source{}, unusable: map[netip.AddrPort]bool{}}
				w.presences = append(w.presences, p)
				return p, nil
			},
			Announce: func(ctx context.Context, a Announce) Announcer {
				w.mu.Lock()
				defer w.mu.Unlock()
				s := &fakeSession{Announce: a, ctx: ctx, tiers: a.Tiers}
				w.sessions = append(w.sessions, s)
				return s
			},
			Search: func(s dht.Search) Searcher {
				w.mu.Lock()
				defer w.mu.Unlock()
				f := &fakeSearch{Search: s}
				w.searches = append(w.searches, f)
				return f
			},
			Resolve: func(_ context.Context, hostPort string) ([]netip.AddrPort, error) {
				return []netip.AddrPort{netip.MustParseAddrPort(hostPort)}, nil
			},
		})
		f(w)
		w.Close()
	})
}

// fakeJob is a member with what it was told.
type fakeJob struct {
	job.Member
	mu         sync.Mutex
	stats      job.Stats
	candidates []control.Candidate
	learned    []byte
}

func (w *world) join(p job.Participation) *fakeJob {
	j := &fakeJob{}
	p.Stats = func() job.Stats {
		j.mu.Lock()
		defer j.mu.Unlock()
		return j.stats
	}
	p.Candidates = func(list []control.Candidate) {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.candidates = append(j.candidates, list...)
	}
	p.Learned = func(info []byte) {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.learned = info
	}
	p.Info = func(context.Context) ([]byte, error) { return []byte("info"), nil }
	j.Member = w.Join(p)
	synctest.Wait()
	return j
}

// got returns the candidates since the last call.
func (j *fakeJob) got() []control.Candidate {
	synctest.Wait()
	j.mu.Lock()
	defer j.mu.Unlock()
	list := j.candidates
	j.candidates = nil
	return list
}

func (p *fakePresence) left() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gone
}

func (p *fakePresence) Add(list []netip.AddrPort, from front.Source) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range list {
		p.added[a] = from
	}
}

func (p *fakePresence) Hungry(h bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hungry = h
}

func (p *fakePresence) Known(size int, private bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.size, p.private = size, private
}

func (p *fakePresence) Unusable(a netip.AddrPort, lied bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unusable[a] = lied
}

func (p *fakePresence) Withdraw(a netip.AddrPort) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.added, a)
}

func (p *fakePresence) Reachable() []front.Peer {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.reach
}

func (p *fakePresence) Status() front.Status { return front.Status{Known: 7, Reachable: 3} }

func (p *fakePresence) Leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = true
}

func (s *fakeSession) AddTiers(tiers [][]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tiers = append(s.tiers, tiers...)
}

func (s *fakeSession) Poke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pokes++
}

func (s *fakeSession) Completed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.completed++
}

func (s *fakeSession) Status() []tracker.TrackerStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []tracker.TrackerStatus
	for _, tier := range s.tiers {
		all = append(all, tracker.TrackerStatus{URL: tier[0]})
	}
	return all
}

func (s *fakeSearch) Poke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pokes++
}

func (s *fakeSearch) Status() dht.Status { return dht.Status{Nodes: 12} }

func (s *fakeSearch) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
}
