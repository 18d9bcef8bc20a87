package tracker

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// stopTimeout bounds the farewell to all trackers together.
const stopTimeout = 3 * time.Second

// Announcer makes single announces and scrapes; *Client is one. It must return soon after its context ended.
type Announcer interface {
	Announce(ctx context.Context, tracker string, r Request) (Response, error)
	Scrape(ctx context.Context, tracker string, infoHash [20]byte) (Scrape, error)
}

// Stats are the sums that trackers want to know, in payload bytes.
type Stats struct {
	Uploaded   int64 // since the session started
	Downloaded int64 // since the session started
	Left       int64 // missing; negative while the size is not known
}

// SessionConfig configures a Session.
type SessionConfig struct {
	// Client makes the announces and scrapes. Required.
	Client Announcer
	// InfoHash names the torrent, PeerID ourselves, Port the port where we accept peers. Required.
	InfoHash [20]byte
	PeerID   [20]byte
	Port     uint16
	// Tiers are the trackers' addresses, by tier (BEP 12), of which the first 100 are used. With none, the session only
	// waits for AddTiers and its end.
	Tiers [][]string
	// Downloads has trackers scraped every half hour whose answers to announces leave TrackerStatus.Downloads open, which
	// those of most do. Default: only trackers that do not tell Seeders and Leechers either are scraped.
	Downloads bool
	// Stats is called before every announce, from the session's goroutine. Default: zeros, and size not known.
	Stats func() Stats
	// Peers is called with the peers of an answer that has some, from the session's goroutine: it must not block, and may
	// keep the slice. Our own address may be among them. Default: they are dropped.
	Peers func([]netip.AddrPort)
	// Seed makes the order within tiers, the key and the spread of retries repeatable. Default: random.
	Seed uint64
	// Log gets a line for each announce and scrape: Info for a failure of a new kind, else Debug. Default: none.
	Log *slog.Logger
}

// TrackerStatus is what a session knows of one tracker.
type TrackerStatus struct {
	URL       string    // whole, with the keys of private trackers
	Error     string    // why the last announce failed, one line; empty if it worked or none was made
	Warning   string    // of the last answer, one line
	Next      time.Time // of the next announce; zero while others come before it
	Seeders   int       // as of the last answer or scrape
	Leechers  int       // as of the last answer or scrape
	Peers     int       // number of peers in the last answer
	Downloads int       // how many peers ever became complete, as of the last answer or scrape; 0: not known
}

// Session announces one torrent to its trackers. One goroutine, in Run, owns its state; the other methods may be called
// from any.
type Session struct {
	config SessionConfig
	random *rand.Rand
	key    uint32
	state  schedule

	poke      chan struct{}
	completed chan struct{}
	added     chan struct{}
	scraped   chan scraped
	status    atomic.Pointer[[]TrackerStatus]

	mu   sync.Mutex
	more [][][]string // given to AddTiers and not yet in state
}

// scraped is how a scrape ended.
type scraped struct {
	url    string
	scrape Scrape
	err    error
}

// NewSession makes a session; nothing is sent before Run.
func NewSession(c SessionConfig) *Session {
	if c.Stats == nil {
		c.Stats = func() Stats { return Stats{Left: -1} }
	}
	if c.Peers == nil {
		c.Peers = func([]netip.AddrPort) {}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Seed == 0 {
		c.Seed = rand.Uint64()
	}
	s := &Session{
		config:    c,
		random:    rand.New(rand.NewPCG(c.Seed, 0)),
		poke:      make(chan struct{}, 1),
		completed: make(chan struct{}, 1),
		added:     make(chan struct{}, 1),
		scraped:   make(chan scraped, 1),
	}
	s.key = s.random.Uint32() | 1 // 0 would not be sent
	s.state.downloads = c.Downloads
	s.state.newcomers.port = c.Port
	s.state.add(c.Tiers, s.random.Perm)
	s.publish(time.Time{}, plan{}, false)
	return s
}

// Run announces until ctx ends, then tells the trackers that we stopped, for which it takes at most 3 seconds. It is
// called once, and returns nil.
func (s *Session) Run(ctx context.Context) error {
	var scrapes sync.WaitGroup
	for ctx.Err() == nil {
		now := time.Now()
		p, ok := s.state.next(now)
		s.publish(now, p, ok)
		if ok && !p.at.After(now) {
			s.announce(ctx, p)
			continue
		}
		url, at := s.state.nextScrape(now)
		if url != "" && !at.After(now) {
			s.state.scraping = true
			scrapes.Go(func() { s.scrape(ctx, url) })
			continue
		}
		if url != "" && (!ok || at.Before(p.at)) {
			p.at, ok = at, true
		}
		s.wait(ctx, p.at, ok)
	}
	scrapes.Wait()
	s.stop(context.WithoutCancel(ctx))
	return nil
}

// Poke says that more peers are wanted now, and is to be repeated while they are. Each time one tracker is asked at most:
// a later one only if those before it failed or named no new peers, the same one not before its least interval is over.
// That wait doubles up to its interval while nobody new is named, until 10 minutes have passed without a Poke.
func (s *Session) Poke() { signal(s.poke) }

// Completed says that the download has just finished. It must not be called for one that was complete when the session
// started (BEP 3).
func (s *Session) Completed() { signal(s.completed) }

// AddTiers merges more trackers into the tiers: those that are new come last in the tier with their number.
func (s *Session) AddTiers(tiers [][]string) {
	s.mu.Lock()
	s.more = append(s.more, tiers)
	s.mu.Unlock()
	signal(s.added)
}

// merge takes over what AddTiers was given.
func (s *Session) merge() {
	s.mu.Lock()
	more := s.more
	s.more = nil
	s.mu.Unlock()
	for _, tiers := range more {
		s.state.add(tiers, s.random.Perm)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Status returns the trackers in the order in which they are tried. The result is the caller's.
func (s *Session) Status() []TrackerStatus {
	return append([]TrackerStatus(nil), *s.status.Load()...)
}

// wait returns at a time, if there is one, or when what is to be done might have changed.
func (s *Session) wait(ctx context.Context, at time.Time, planned bool) {
	var due <-chan time.Time
	if planned {
		timer := time.NewTimer(time.Until(at))
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-ctx.Done():
	case <-due:
	case <-s.poke:
		s.state.poke(time.Now())
	case <-s.completed:
		s.state.complete()
	case <-s.added:
		s.merge()
	case r := <-s.scraped:
		s.state.recordScrape(time.Now(), r.url, r.scrape, r.err, s.random.Float64())
	}
}

// scrape asks a tracker for its numbers, beside the announces: nothing waits for it.
func (s *Session) scrape(ctx context.Context, url string) {
	r, err := s.config.Client.Scrape(ctx, url, s.config.InfoHash)
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		s.config.Log.Info("scrape failed", "error", err)
	default:
		s.config.Log.Debug("scraped", "seeders", r.Seeders, "leechers", r.Leechers, "downloads", r.Downloads)
	}
	s.scraped <- scraped{url, r, err} // has room: one at a time is under way
}

func (s *Session) announce(ctx context.Context, p plan) {
	t := s.state.trackers[p.tracker]
	r, err := s.config.Client.Announce(ctx, t.url, s.request(t, p.event))
	if ctx.Err() != nil {
		// It may have arrived all the same, so this tracker is told that we stopped.
		s.state.trackers[p.tracker].started = true
		return
	}
	s.state.record(time.Now(), p, r, err, s.random.Float64())
	if err != nil {
		level := slog.LevelInfo
		if t.err != nil && t.err.Error() == err.Error() {
			level = slog.LevelDebug // people have been told
		}
		s.config.Log.Log(ctx, level, "announce failed", "error", err, "event", p.event.String())
		return
	}
	s.config.Log.Debug("announced", "event", p.event.String(), "peers", len(r.Peers), "interval", r.Interval)
	if len(r.Peers) > 0 {
		s.config.Peers(r.Peers)
	}
}

func (s *Session) request(t trackerState, e Event) Request {
	stats := s.config.Stats()
	return Request{
		InfoHash: s.config.InfoHash, PeerID: s.config.PeerID, Port: s.config.Port,
		Uploaded: stats.Uploaded, Downloaded: stats.Downloaded, Left: stats.Left,
		Event: e, Key: s.key, TrackerID: t.last.TrackerID,
	}
}

// stop tells every tracker that knows us that we are gone, all at the same time. Failures change nothing.
func (s *Session) stop(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	var all sync.WaitGroup
	for _, t := range s.state.trackers {
		if !t.started || t.disabled {
			continue
		}
		r := s.request(t, EventStopped)
		all.Go(func() {
			if _, err := s.config.Client.Announce(ctx, t.url, r); err != nil {
				s.config.Log.Debug("announce failed", "error", err, "event", EventStopped.String())
			}
		})
	}
	all.Wait()
}

// publish makes the state visible to Status.
func (s *Session) publish(now time.Time, p plan, planned bool) {
	list := make([]TrackerStatus, len(s.state.trackers))
	for i, t := range s.state.trackers {
		list[i] = TrackerStatus{URL: t.url, Warning: t.last.Warning, Peers: t.peers}
		list[i].Seeders, list[i].Leechers, list[i].Downloads = t.numbers()
		if t.err != nil {
			list[i].Error = t.err.Error()
		}
		switch {
		case planned && i == p.tracker:
			list[i].Next = p.at
		case t.retryAt.After(now):
			list[i].Next = t.retryAt
		}
	}
	s.status.Store(&list)
}
