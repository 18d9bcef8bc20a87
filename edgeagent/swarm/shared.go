package swarm

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	// defaultMaxPeers is how many connections a device has unless configured.
	defaultMaxPeers = 40
	// wishAge is how long a torrent that got no place is taken to want one.
	wishAge = 10 * time.Second
	// Addresses that nobody has had a handshake from are dialled so many at a time, and begun with at this interval.
	maxGuesses    = 2
	guessInterval = time.Second
)

// SharedConfig says what the torrents of a device may use together. The zero value works.
type SharedConfig struct {
	// MaxPeers bounds the connections of all torrents, either way, those being dialled included. Default 40.
	MaxPeers int
	// Down and Up bound the payload in bytes/s. 0: no limit.
	Down, Up int64
}

// Shared is what all torrents of a device have in common: places for connections, and rates. A torrent may use all places
// as long as no other wants one. When one does that has less than its fair share, the others give theirs up down to their
// own share. Its methods may be called from any goroutine.
type Shared struct {
	maxPeers int
	down, up limit

	mu      sync.Mutex
	members []*member
	used    int                  // places
	guests  map[netip.Prefix]int // connections that were made to us, by host
	guesses int                  // dials of unverified addresses in progress
	guessed time.Time
}

// A member is a running torrent.
type member struct {
	used   int
	wished time.Time // when it last wanted a place and got none
}

// NewShared returns what the torrents that are given it have in common.
func NewShared(c SharedConfig) *Shared {
	if c.MaxPeers <= 0 {
		c.MaxPeers = defaultMaxPeers
	}
	s := &Shared{maxPeers: c.MaxPeers, guests: map[netip.Prefix]int{}}
	s.down.set(c.Down)
	s.up.set(c.Up)
	return s
}

// enter makes a torrent a member, until leave.
func (s *Shared) enter() *member {
	m := &member{}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.members = append(s.members, m)
	return m
}

// leave ends the membership of a torrent that has given back all its places.
func (s *Shared) leave(m *member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.members = slices.DeleteFunc(s.members, func(o *member) bool { return o == m })
}

// share is how many places each torrent is due.
func (s *Shared) share() int { return max(1, s.maxPeers/max(1, len(s.members))) }

// shareOf returns how many places a torrent is due.
func (s *Shared) shareOf() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.share()
}

// take gives the torrent a place, if there is one for it. What is left goes first to those below their share.
func (s *Shared) take(now time.Time, m *member) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	free := s.maxPeers - s.used
	if free <= 0 || m.used >= s.share() && free <= s.starving(now, m) {
		m.wished = now
		return false
	}
	m.wished = time.Time{}
	m.used++
	s.used++
	return true
}

// give takes a place back.
func (s *Shared) give(m *member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m.used--
	s.used--
}

// starving counts the torrents but the given one that want a place and have less than their share.
func (s *Shared) starving(now time.Time, but *member) int {
	n := 0
	for _, m := range s.members {
		if m != but && m.used < s.share() && now.Sub(m.wished) < wishAge {
			n++
		}
	}
	return n
}

// owes reports whether the torrent must give up a place for another to have its share: the one with most places does. When
// there are more torrents than places, an idle one gives up its only place for one that has none.
func (s *Shared) owes(now time.Time, m *member, idle bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.starving(now, m) <= s.maxPeers-s.used {
		return false
	}
	if m.used <= s.share() {
		return idle && m.used > 0 && len(s.members) > s.maxPeers
	}
	return !slices.ContainsFunc(s.members, func(o *member) bool { return o.used > m.used })
}

// guess reports whether an unverified address may be dialled now. If so, guessDone must be called when the dial has ended.
func (s *Shared) guess(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.guesses >= maxGuesses || now.Sub(s.guessed) < guessInterval {
		return false
	}
	s.guesses++
	s.guessed = now
	return true
}

func (s *Shared) guessDone() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.guesses--
}
