package edgeagent

import "time"

// When it is found out what the network does. A change of it is a reason at once; a network that changes all the time, or a
// surrogate that says so, is no reason to send more than discovery.MaxDatagrams a minute in the long run.
const (
	stirTime   = 500 * time.Millisecond // from a change: a router that forwards ports says so meanwhile
	burst      = 3                      // discoveries within
	burstTime  = 3 * time.Minute
	checkEvery = 4 * time.Hour   // a tenth more or less
	againAfter = 5 * time.Minute // a failure; twice that after the next
)

// lookout decides when. It has no clock and does no I/O.
type lookout struct {
	jitter   func() float64 // in [0, 1)
	due      time.Time      // zero: when something changes
	stale    bool           // something has changed since the last one began
	begun    []time.Time    // the last ones, at most burst
	failures int
}

// stir notes a change.
func (l *lookout) stir(now time.Time) {
	l.stale, l.failures, l.due = true, 0, now.Add(stirTime)
	if len(l.begun) == burst {
		if rested := l.begun[0].Add(burstTime); rested.After(l.due) {
			l.due = rested
		}
	}
}

func (l *lookout) isDue(now time.Time) bool { return !l.due.IsZero() && !now.Before(l.due) }

// begin notes that it is being found out.
func (l *lookout) begin(now time.Time) {
	l.stale, l.due = false, time.Time{}
	if len(l.begun) == burst {
		l.begun = l.begun[1:]
	}
	l.begun = append(l.begun, now)
}

// ended notes that it has been, or why not.
func (l *lookout) ended(now time.Time, err error) {
	switch {
	case l.stale: // it is due already
	case err == nil:
		l.failures = 0
		l.due = now.Add(checkEvery*9/10 + time.Duration(l.jitter()*float64(checkEvery/5)))
	default:
		l.due = now.Add(min(againAfter<<min(l.failures, 6), checkEvery))
		l.failures++
	}
}
