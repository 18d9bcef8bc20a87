// Package torrent holds what all jobs of one torrent share: its tracker sessions, its DHT session and front's presence in
// the swarm, and passes the addresses that they find to the jobs' devices.
//
//	trackers ─┐
//	DHT ──────┼─▶ torrent ─▶ front: handshakes, PEX ─▶ torrent ─▶ jobs that want addresses
//	magnets ──┤
//	devices ──┘
//
// Devices are peers like others: front verifies where they accept connections, so they find each other.
//
// A public torrent has one session with its trackers, in which uploaded and downloaded are summed over the jobs and left is
// the largest. A private one (BEP 27) has one for each job, no DHT and no PEX. Whether a magnet's torrent is private is known
// only once its info dictionary is there; until then it is treated as public, as all clients do.
package torrent

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"

	"simplebit/rendezvous/dht"
	"simplebit/rendezvous/front"
	"simplebit/rendezvous/job"
	"simplebit/rendezvous/tracker"
)

// Config is what a Manager works with. Enter and Announce are needed.
type Config struct {
	// Enter makes the surrogate present in a swarm.
	Enter func(front.Torrent) (Presence, error)
	// Announce starts a session with the trackers of a torrent. It ends with ctx, after it has told them.
	Announce func(ctx context.Context, a Announce) Announcer
	// Search starts a DHT session. Nil: there is no DHT.
	Search func(dht.Search) Searcher
	// Resolve finds the addresses of a host:port that a magnet names. Default: the system's resolver.
	Resolve func(ctx context.Context, hostPort string) ([]netip.AddrPort, error)
	Log     *slog.Logger
}

// Announce is what a tracker session is for.
type Announce struct {
	InfoHash [20]byte
	Private  bool // other sessions may announce the same torrent
	Tiers    [][]string
	Stats    func() tracker.Stats   // asked before every announce, from any goroutine
	Peers    func([]netip.AddrPort) // told what a tracker returned
}

// Announcer is a running tracker session; *tracker.Session is one.
type Announcer interface {
	AddTiers([][]string)
	Poke()
	Completed()
	Status() []tracker.TrackerStatus
}

// Searcher is a running DHT session; *dht.Session is one.
type Searcher interface {
	Poke()
	Status() dht.Status
	Stop()
}

// Presence is the surrogate in one swarm; *front.Presence is one.
type Presence interface {
	Add([]netip.AddrPort, front.Source)
	Hungry(bool)
	Known(infoSize int, private bool)
	Unusable(addr netip.AddrPort, lied bool)
	Withdraw(netip.AddrPort)
	Reachable() []front.Peer
	Status() front.Status
	Leave()
}

// Manager holds the torrents that jobs take part in; it is a job.Swarms. Any goroutine may call its methods.
type Manager struct {
	cfg  Config
	runs sync.WaitGroup

	mu   sync.Mutex
	byID map[[20]byte]*torrent
}

// New returns a Manager without torrents.
func New(cfg Config) *Manager {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Resolve == nil {
		cfg.Resolve = resolve
	}
	return &Manager{cfg: cfg, byID: map[[20]byte]*torrent{}}
}

// Join has a job take part in the swarm of its torrent (job.Swarms).
func (m *Manager) Join(p job.Participation) job.Member {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.byID[p.InfoHash]
	if t == nil || t.members == 0 {
		var before *torrent
		t, before = newTorrent(m, p), t
		m.byID[p.InfoHash] = t
		m.runs.Go(func() {
			if before != nil {
				<-before.ended // front knows one presence for each torrent
			}
			t.run()
			m.forget(t)
		})
	}
	t.members++
	member := &member{torrent: t, p: p, bad: map[netip.AddrPort]refusal{}}
	t.post(func() { t.join(member) })
	return member
}

// leave takes that a member has left. The torrent of the last one ends.
func (m *Manager) leave(t *torrent, who *member) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t.members--
	last := t.members == 0
	t.post(func() {
		t.left(who)
		t.over = last
	})
}

func (m *Manager) forget(t *torrent) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byID[t.infoHash] == t {
		delete(m.byID, t.infoHash)
	}
}

// Close waits until all torrents have ended, which each does when its last member has left.
func (m *Manager) Close() { m.runs.Wait() }
