package edgeagent

import (
	"reflect"
	"time"

	"simplebit/wire/control"
)

// reporter decides which reports to send on one connection: what has changed,
// and not too often. A new state is reported at once: the surrogate sends addresses
// as soon as it knows that they can be used, and seeders give their few slots to
// whoever comes first. So is the first piece, by which people see that it works. It
// has no I/O.
type reporter struct {
	every time.Duration // least time between two reports of a torrent in one state
	sent  map[infoHash]report
}

type report struct {
	at time.Time
	control.Progress
}

// due returns the reports to be sent now, and how long after that to look
// again: figures such as rates change without a signal.
func (r reporter) due(now time.Time, held []control.Progress) (due []control.Progress, again time.Duration) {
	again = r.every
	for _, p := range held {
		last, sent := r.sent[p.ID]
		if sent && reflect.DeepEqual(p, last.Progress) {
			continue
		}
		if wait := last.at.Add(r.every).Sub(now); sent && wait > 0 && p.State == last.State && !(last.Have == 0 && p.Have > 0) {
			again = min(again, wait)
			continue
		}
		r.sent[p.ID] = report{now, p}
		due = append(due, p)
	}
	return due, again
}

// forget drops what is known of a torrent that is gone.
func (r reporter) forget(id infoHash) { delete(r.sent, id) }
