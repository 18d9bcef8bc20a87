package tracker

import (
	"errors"
	"slices"
	"time"
)

// Waits after failures. A tracker that answers with a refusal is left alone for longer than one that does not answer.
const (
	firstRetry   = 10 * time.Second
	firstRefusal = time.Minute
	mostRetry    = 30 * time.Minute
)

// schedule is what a session knows; next and record decide by it. It has no clock, no I/O and no randomness of its own.
type schedule struct {
	trackers []trackerState // in the order in which they are tried: by tier, within a tier the last that worked first
	due      time.Time      // of the next ordinary announce; zero before the first
	current  string         // URL of the tracker that the last ordinary announce went to
	more     bool           // peers are wanted before due
	poked    time.Time      // when that was last said

	newcomers newcomers

	downloads bool // whether a scrape is made for Downloads alone
	scraping  bool // one is under way
}

type trackerState struct {
	url      string
	tier     int
	disabled bool      // cannot be announced to at all, or does not want to be
	started  bool      // has had EventStarted, so it gets EventStopped
	owed     bool      // has not had EventCompleted yet
	failures int       // since the last success
	peers    int       // in the last answer
	last     Response  // without its peers
	err      error     // of the last announce
	retryAt  time.Time // after a failure
	asked    time.Time // of the last success
	stale    bool      // the last answer named no new peers
	vain     int       // answers without new peers, since the last with some, when more peers were wanted
	scrape   scrapeState
}

// plan is the next announce.
type plan struct {
	tracker int // index in schedule.trackers
	at      time.Time
	event   Event
	more    bool // made before it is due, because more peers are wanted
}

// maxTrackers is how many trackers of a torrent are used. Those that a torrent or magnet names after them are left out.
const maxTrackers = 100

// add merges more tiers (BEP 12) into those that there are: a new tracker comes last in the tier with its number. perm
// returns a random order of n, since within a tier the order is random at first.
func (s *schedule) add(tiers [][]string, perm func(n int) []int) {
	for tier, urls := range tiers {
		for _, i := range perm(len(urls)) {
			known := slices.ContainsFunc(s.trackers, func(t trackerState) bool { return t.url == urls[i] })
			if known || urls[i] == "" || len(s.trackers) == maxTrackers {
				continue
			}
			at := slices.IndexFunc(s.trackers, func(t trackerState) bool { return t.tier > tier })
			if at < 0 {
				at = len(s.trackers)
			}
			s.trackers = slices.Insert(s.trackers, at, trackerState{url: urls[i], tier: tier})
		}
	}
}

// next decides which tracker is asked when, and with which event; false if none ever is. BEP 12: every announce starts
// with the first tier and goes to one tracker, the next is asked only if the one before failed. When more peers are
// wanted, one tracker is asked in the same order, and a later one only if those before it failed or named no new peers.
func (s *schedule) next(now time.Time) (plan, bool) {
	best, found := plan{}, false
	more := s.more
	for i := range s.trackers {
		t := &s.trackers[i]
		if t.disabled {
			continue
		}
		at, early := later(s.due, t.least()), false
		if again := t.again(); more && again.Before(at) {
			at, early = again, true
		}
		more = more && (t.failures > 0 || t.stale)
		if t.owed {
			// BEP 3: completed is sent when the download completes, whatever the interval.
			at = now
		}
		at = later(later(at, t.retryAt), now)
		if !found || at.Before(best.at) {
			best, found = plan{tracker: i, at: at, event: t.event(), more: early}, true
		}
	}
	return best, found
}

// event returns what the tracker has to be told next.
func (t *trackerState) event() Event {
	switch {
	case !t.started:
		return EventStarted
	case t.owed:
		return EventCompleted
	}
	return EventNone
}

// complete notes that the download has finished. Only the trackers that know us are told: one that first hears of us
// later gets started with nothing left, and BEP 3 wants no completed for a download that was complete at the start.
func (s *schedule) complete() {
	for i := range s.trackers {
		s.trackers[i].owed = s.trackers[i].started
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// record notes how an announce that followed a plan ended. random is in [0, 1) and spreads the retries of many
// sessions.
func (s *schedule) record(now time.Time, p plan, r Response, err error, random float64) {
	t := &s.trackers[p.tracker]
	t.err = err
	switch {
	case isFinal(err):
		t.disabled = true
	case err != nil:
		t.failures++
		t.retryAt = now.Add(max(backoff(t.failures, err, random), retryIn(err, random)))
	default:
		if p.event == EventCompleted {
			t.owed = false
		}
		t.heard(p, s.newcomers.any(r.Peers))
		s.succeed(now, p, r)
		if t.url == s.current {
			s.promote(p.tracker)
		}
	}
}

func (s *schedule) succeed(now time.Time, p plan, r Response) {
	t := &s.trackers[p.tracker]
	if r.TrackerID == "" {
		r.TrackerID = t.last.TrackerID
	}
	t.peers, r.Peers = len(r.Peers), nil
	t.last, t.started, t.failures, t.retryAt = r, true, 0, time.Time{}
	t.asked = now
	if !p.more && !s.due.After(now) {
		s.current = t.url
	}
	if t.url == s.current {
		s.due = now.Add(max(r.Interval, leastInterval))
	}
	s.more = false
}

// promote moves a tracker that works to the front of its tier (BEP 12).
func (s *schedule) promote(i int) {
	t := s.trackers[i]
	front := slices.IndexFunc(s.trackers, func(o trackerState) bool { return o.tier == t.tier })
	s.trackers = slices.Insert(slices.Delete(s.trackers, i, i+1), front, t)
}

// backoff is the wait after a number of failures in a row: doubled each time up to 30 minutes, a quarter more or less.
func backoff(failures int, err error, random float64) time.Duration {
	wait := firstRetry
	var refused *FailureError
	if errors.As(err, &refused) {
		wait = firstRefusal
	}
	for ; failures > 1 && wait < mostRetry; failures-- {
		wait *= 2
	}
	return time.Duration(float64(min(wait, mostRetry)) * (0.75 + random/2))
}

// isFinal tells whether there is no point in asking again: the address is of no use, or the tracker says so (BEP 31).
func isFinal(err error) bool {
	var refused *FailureError
	return errors.Is(err, ErrUnsupported) || errors.As(err, &refused) && refused.Never
}

// retryIn is how long a tracker that refused wants to be left alone (BEP 31), and up to a tenth longer; 0 if it does not say.
func retryIn(err error, random float64) time.Duration {
	var refused *FailureError
	if !errors.As(err, &refused) {
		return 0
	}
	return time.Duration(float64(refused.RetryIn) * (1 + random/10))
}
