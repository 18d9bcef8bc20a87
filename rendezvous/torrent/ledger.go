package torrent

import (
	"slices"
	"sync"

	"simplebit/rendezvous/job"
	"simplebit/rendezvous/tracker"
)

// A ledger adds up what the members of a torrent tell the trackers in one session. Any goroutine may use it.
type ledger struct {
	mu       sync.Mutex
	list     []*member
	departed job.Stats // what members that have left had moved, and what the last of them lacked
}

func (l *ledger) enter(m *member) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, m)
}

func (l *ledger) leave(m *member) {
	last := m.p.Stats()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = slices.DeleteFunc(l.list, func(o *member) bool { return o == m })
	l.departed.Uploaded += last.Uploaded
	l.departed.Downloaded += last.Downloaded
	l.departed.Left = last.Left
}

func (l *ledger) members() []*member {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.list)
}

// total is what a session for all members tells the trackers.
func (l *ledger) total() tracker.Stats {
	l.mu.Lock()
	members, departed := slices.Clone(l.list), l.departed
	l.mu.Unlock()
	all := make([]job.Stats, len(members))
	for i, m := range members {
		all[i] = m.p.Stats()
	}
	return sum(all, departed)
}

// sum adds uploaded and downloaded and takes the largest left: the session is complete when every device is. Left is
// negative while somebody does not know the size. With nobody there any longer, it is what the last one lacked.
func sum(all []job.Stats, departed job.Stats) tracker.Stats {
	s := tracker.Stats(departed)
	for i, one := range all {
		s.Uploaded += one.Uploaded
		s.Downloaded += one.Downloaded
		switch {
		case i == 0 || one.Left < 0:
			s.Left = one.Left
		case s.Left >= 0:
			s.Left = max(s.Left, one.Left)
		}
	}
	return s
}
