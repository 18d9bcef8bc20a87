package edgeagent

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/quic-go/quic-go"
)

// Where UDP works for moments, as behind a limit of packets, QUIC is welcomed and then dies, again and again.
const (
	briefly   = time.Minute     // a session by QUIC that worked for less is a bad one
	proven    = 5 * time.Minute // one that worked for that long makes the bad ones forgotten
	shunsMost = time.Hour       // QUIC is left alone after a bad one; that begins with Config.retryQUIC, and doubles with each in a row
)

// trust is whether QUIC is worth a try where there is TCP. It has no clock and does no I/O.
type trust struct {
	bad   int       // sessions in a row
	until time.Time // QUIC is left alone until then
	moves int       // of the device, when that was decided: another network is another matter
}

// left reports whether QUIC is to be left alone.
func (t *trust) left(now time.Time, moves int) bool {
	if moves != t.moves {
		*t = trust{moves: moves}
	}
	return now.Before(t.until)
}

// ended notes a session by QUIC that has ended after it worked for so long, by falling silent or otherwise: what the surrogate
// ends, or the device, says nothing against UDP.
func (t *trust) ended(now time.Time, moves int, worked time.Duration, silent bool, first time.Duration) {
	t.left(now, moves)
	switch {
	case worked >= proven:
		t.bad = 0
	case silent && worked < briefly:
		t.until = now.Add(min(first<<min(t.bad, 10), max(first, shunsMost)))
		t.bad++
	}
}

// fellSilent reports whether a session has ended because nothing came, and for how long nothing had come then, at least.
func fellSilent(err error) (time.Duration, bool) {
	switch {
	case errors.As(err, new(*quic.IdleTimeoutError)):
		return idleTime, true
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return frameTime, true
	}
	return 0, false
}
