package dht

import (
	"cmp"
	"slices"
	"time"
)

// When a torrent is searched for, which announces it too.
const (
	interval    = 15 * time.Minute // between searches, a tenth more or less
	leastWait   = time.Minute      // between searches when more peers are wanted; doubled up to interval while nothing new is found
	firstRetry  = 5 * time.Second  // after a search that reached no node; doubled up to mostRetry, a quarter more or less
	mostRetry   = time.Minute
	maxSearches = 8 // at once, over all torrents
)

// schedule is when one torrent is searched for. It has no clock, no I/O and no randomness of its own.
type schedule struct {
	number   int       // order of arrival
	running  bool      // a search is under way
	begun    time.Time // the last search; zero before the first
	ordinary time.Time // when the next is due in any case
	wanted   bool      // more peers are wanted before
	wait     time.Duration
	failures int // searches in a row that reached no node
}

// outcome is what a search came to.
type outcome struct {
	nodes int // that answered
	fresh int // peers that the search before did not find
}

// due is when the next search begins if nothing else happens; the zero time stands for at once.
func (s *schedule) due() time.Time {
	if early := s.begun.Add(s.wait); s.wanted && s.failures == 0 && early.Before(s.ordinary) {
		return early
	}
	return s.ordinary
}

// end notes how a search ended. random is in [0, 1).
func (s *schedule) end(now time.Time, o outcome, random float64) {
	s.running, s.wanted = false, false
	switch {
	case o.nodes == 0:
		s.ordinary = now.Add(retryAfter(s.failures, random))
		s.failures++
		return
	case o.fresh > 0 || s.wait == 0:
		s.wait = leastWait
	default:
		s.wait = min(2*s.wait, interval)
	}
	s.failures = 0
	s.ordinary = s.begun.Add(time.Duration(float64(interval) * (0.9 + random/5)))
}

// retryAfter is the wait after a number of failures before this one.
func retryAfter(failures int, random float64) time.Duration {
	wait := firstRetry
	for ; failures > 0 && wait < mostRetry; failures-- {
		wait *= 2
	}
	return time.Duration(float64(min(wait, mostRetry)) * (0.75 + random/2))
}

// agenda decides which torrents are searched for next. K names a torrent.
type agenda[K comparable] struct {
	torrents map[K]*schedule
	arrived  int
	running  int // searches under way, also of torrents that are gone
}

// add puts a torrent on the agenda, to be searched for as soon as there is a place.
func (a *agenda[K]) add(k K) {
	if a.torrents == nil {
		a.torrents = make(map[K]*schedule)
	}
	a.arrived++
	a.torrents[k] = &schedule{number: a.arrived}
}

// poke notes that more peers of a torrent are wanted.
func (a *agenda[K]) poke(k K) {
	if s := a.torrents[k]; s != nil {
		s.wanted = true
	}
}

// reachable notes that there are nodes again: who could reach none need not wait.
func (a *agenda[K]) reachable() {
	for _, s := range a.torrents {
		if s.failures > 0 {
			s.ordinary = time.Time{}
		}
	}
}

// next begins the searches that are due and have a place, those due longest first, and returns the time of the next; zero if
// there is none to wait for.
func (a *agenda[K]) next(now time.Time) (begin []K, wake time.Time) {
	var due []K
	for k, s := range a.torrents {
		switch at := s.due(); {
		case s.running:
		case !at.After(now):
			due = append(due, k)
		case wake.IsZero() || at.Before(wake):
			wake = at
		}
	}
	slices.SortFunc(due, func(x, y K) int {
		s, t := a.torrents[x], a.torrents[y]
		return cmp.Or(s.due().Compare(t.due()), cmp.Compare(s.number, t.number))
	})
	begin = due[:min(len(due), maxSearches-a.running)]
	for _, k := range begin {
		s := a.torrents[k]
		s.running, s.begun = true, now
		a.running++
	}
	return begin, wake
}

// end notes how a search ended, also that of a torrent which is gone.
func (a *agenda[K]) end(k K, now time.Time, o outcome, random float64) {
	a.running--
	if s := a.torrents[k]; s != nil {
		s.end(now, o, random)
	}
}

// remove takes a torrent off the agenda.
func (a *agenda[K]) remove(k K) { delete(a.torrents, k) }
