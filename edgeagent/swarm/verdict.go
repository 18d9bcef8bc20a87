package swarm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"simplebit/wire/peer"
)

const (
	// maxVerdicts is how many verdicts are told at a time.
	maxVerdicts = 100
	// tellInterval is the least time between two lines in the log, at info level, about peers that broke the protocol.
	tellInterval = time.Second
)

// A Verdict says that an address is of no use.
type Verdict struct {
	Addr   netip.AddrPort
	Reason VerdictReason
}

// VerdictReason is why an address is of no use. The numbers are those of control.UnusableReason.
type VerdictReason uint8

// The reasons of a Verdict.
const (
	Unreachable VerdictReason = 1 // no handshake came about
	Useless     VerdictReason = 2 // it broke the protocol, has another torrent, or is this client itself
	Lied        VerdictReason = 3 // it sent corrupt data
)

// A violation is what no peer that keeps to the protocol does. It ends the connection.
type violation struct{ error }

// violates makes a violation.
func violates(format string, args ...any) error { return violation{fmt.Errorf(format, args...)} }

// isViolation reports whether a connection was ended for what the peer sent, rather than for what happened to it.
func isViolation(why error) bool {
	for _, broken := range []error{peer.ErrLength, peer.ErrTooLarge, peer.ErrBencode} {
		if errors.Is(why, broken) {
			return true
		}
	}
	return errors.As(why, new(violation))
}

// judge remembers a verdict, to be told soon.
func (t *Torrent) judge(at netip.AddrPort, reason VerdictReason) {
	if t.c.Unusable == nil {
		return
	}
	if t.verdicts = append(t.verdicts, Verdict{at, reason}); len(t.verdicts) >= maxVerdicts {
		t.pronounce()
	}
}

// pronounce tells the verdicts.
func (t *Torrent) pronounce() {
	if len(t.verdicts) > 0 {
		t.c.Unusable(t.verdicts)
		t.verdicts = nil
	}
}

// tell writes to the log: about peers that broke the protocol for people to see, but not so often that they could fill it.
func (t *Torrent) tell(now time.Time, broke bool, msg string, args ...any) {
	level := slog.LevelDebug
	if broke && now.Sub(t.told) >= tellInterval {
		t.told, level = now, slog.LevelInfo
	}
	t.log.Log(context.Background(), level, msg, args...)
}
