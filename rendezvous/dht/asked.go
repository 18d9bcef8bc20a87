package dht

import (
	"net/netip"
	"time"
)

// Bounds of the questions that are open.
const (
	maxAsked  = 2048
	answerFor = 10 * time.Second // an answer that comes later is refused
)

// question identifies an answer: only the one who was asked can give it, and only with the transaction id of the question.
type question struct {
	to netip.AddrPort
	t  string
}

// asked are the questions that were sent and have no answer yet.
type asked struct {
	open  map[question]openQuestion
	swept time.Time
}

type openQuestion struct {
	t  string // the library's own transaction id
	at time.Time
}

// add notes a question, and reports whether there was room.
func (a *asked) add(q question, t string, now time.Time) bool {
	if a.open == nil {
		a.open = make(map[question]openQuestion)
	}
	if now.Sub(a.swept) >= time.Second {
		a.swept = now
		for q, o := range a.open {
			if now.Sub(o.at) >= answerFor {
				delete(a.open, q)
			}
		}
	}
	if len(a.open) >= maxAsked {
		return false
	}
	a.open[q] = openQuestion{t, now}
	return true
}

// take returns the library's transaction id of a question that is open, and closes it.
func (a *asked) take(q question, now time.Time) (t string, ok bool) {
	o, ok := a.open[q]
	delete(a.open, q)
	return o.t, ok && now.Sub(o.at) < answerFor
}
