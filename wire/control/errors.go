package control

import (
	"errors"
	"fmt"
)

// Errors of reading and writing frames; test with errors.Is. After any of them but ErrUnknownType the stream is lost and
// the connection should be closed.
var (
	// ErrFrameTooLarge is a frame longer than MaxFrame, or a length that is not in its shortest form.
	ErrFrameTooLarge = errors.New("control: the other side sent a frame beyond the limit: update the older program")
	// ErrMalformed is a frame that is not a message: bad CBOR, a missing field, a field beyond its limit.
	ErrMalformed = errors.New("control: the other side sent a malformed message: update the older program")
	// ErrUnknownType is a message of a later version. Reader skips it.
	ErrUnknownType = errors.New("control: unknown message type")
	// ErrLayout is a layout whose parts do not fit together, or that is beyond a limit.
	ErrLayout = errors.New("control: bad layout")
	// ErrUnsendable is a message of ours that breaks a limit; nothing was written.
	ErrUnsendable = errors.New("control: message breaks a limit")
)

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w (%s)", ErrMalformed, fmt.Sprintf(format, args...))
}

func unsendable(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUnsendable, fmt.Sprintf(format, args...))
}

func badLayout(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrLayout, fmt.Sprintf(format, args...))
}
