package tracker

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// ErrUnsupported says that a tracker cannot be asked at this address at all: only http, https and udp ones can, udp only
// with a port, and scrapes only where the address follows the convention of BEP 48.
var ErrUnsupported = errors.New("its address is not supported")

// ErrMalformed says that the answer is not what a tracker sends: look at the address in a browser.
var ErrMalformed = errors.New("the answer is not a tracker's")

// ErrTooLarge says that the answer has more than 1 MiB, unpacked, or more than 16 KiB in a datagram.
var ErrTooLarge = errors.New("the answer is too large")

// FailureError is a refusal by the tracker itself (BEP 3, failure reason; BEP 15, error response; HTTP status 429 or 503
// with Retry-After).
type FailureError struct {
	Reason  string        // the tracker's words: one printable line of at most 300 bytes
	RetryIn time.Duration // not before it should be asked again (BEP 31), up to 24 hours; 0: it does not say
	Never   bool          // it should not be asked again (BEP 31)
}

// Error repeats the tracker's words.
func (e *FailureError) Error() string {
	switch {
	case e.Never:
		return "refused: " + e.Reason + " (and does not want to be asked again)"
	case e.RetryIn > 0:
		return fmt.Sprintf("refused: %s (and wants to be asked again in %v)", e.Reason, e.RetryIn)
	}
	return "refused: " + e.Reason
}

// Error is any failure to get an answer of one tracker. Unwrap leads to ErrUnsupported, ErrMalformed, ErrTooLarge, a
// *FailureError, or an error of the network, of the Control hook or of the context.
type Error struct {
	Tracker string // the host, without path and query
	Err     error
}

// Error is one line that names the tracker's host but not the rest of its address.
func (e *Error) Error() string { return "tracker " + e.Tracker + ": " + oneLine(e.Err.Error()) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// maxText is the length in bytes to which texts from outside are cut.
const maxText = 300

// oneLine makes a text from outside fit for a log or page.
func oneLine(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
		for !utf8.ValidString(s) && len(s) > maxText-utf8.UTFMax {
			s = s[:len(s)-1]
		}
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r == ' ' || unicode.IsGraphic(r) && !unicode.In(r, unicode.Zs) {
			return r
		}
		return '_'
	}, strings.ToValidUTF8(s, "_")))
}
