package session

import (
	"errors"
	"sync"
	"time"

	"simplebit/wire/control"
	"simplebit/wire/link"
)

// refusedEvery is between two lines of the log about refusals for one reason: a stranger may connect as often as it likes.
const refusedEvery = 10 * time.Second

// refusals counts the connections that were refused, by a reason of few. Any goroutine.
type refusals struct {
	mu   sync.Mutex
	last map[string]*refused
}

type refused struct {
	at    time.Time // of the last line
	since int       // refusals after it
}

// note counts one more, and reports whether that is to be told, with how many that were not.
func (r *refusals) note(now time.Time, err error) (reason string, more int, tell bool) {
	reason = reasonOf(err)
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.last[reason]
	if l == nil {
		if r.last == nil {
			r.last = map[string]*refused{}
		}
		l = &refused{}
		r.last[reason] = l
	} else if now.Sub(l.at) < refusedEvery {
		l.since++
		return reason, 0, false
	}
	more = l.since
	l.at, l.since = now, 0
	return reason, more, true
}

// Why a connection was refused, where no [control.Refused] says it.
var (
	errNoHello   = errors.New("it sent no hello in time")
	errLookup    = errors.New("it could not be looked up")
	errNoWelcome = errors.New("it took no welcome")
	errNoProof   = errors.New("it sent nothing after the welcome, and the device has another session")
	errFull      = errors.New("too many strangers are connecting at once")
)

// reasonOf is one of a few sentences, whatever a stranger does.
func reasonOf(err error) string {
	var r control.Refused
	if errors.As(err, &r) {
		return r.Reason // the Admitter's
	}
	for _, known := range []error{errGaveWay, errNoHello, errLookup, errNoWelcome, errNoProof, errFull} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return "the connection failed"
}

// refused writes a line about a connection that was refused, if it is time for one.
func (h *Hub) refused(conn link.Conn, err error) {
	if reason, more, tell := h.refusals.note(time.Now(), err); tell {
		h.cfg.Log.Info("device refused", "reason", reason, "before", more, "addr", conn.Remote(), "over", conn.Transport(), "err", err)
	}
}
