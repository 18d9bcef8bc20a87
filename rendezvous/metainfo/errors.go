package metainfo

import (
	"errors"
	"fmt"
)

// ErrV2Only says that a torrent or magnet link exists in version 2 of BitTorrent (BEP 52) only.
var ErrV2Only = errors.New("this is a BitTorrent v2-only torrent, which is not supported: look for a v1 or hybrid one")

// ErrWrongHash says that an info dictionary is not the one that its info-hash names.
var ErrWrongHash = errors.New("the info dictionary does not match the info-hash: fetch it again from other peers")

// InvalidError says why a .torrent file or an info dictionary was refused. It is one line and quotes no more
// than a short part of the input.
type InvalidError struct {
	Reason string // what is wrong, and with which file
	err    error
}

// Error names the reason and what the user can do.
func (e *InvalidError) Error() string {
	return "bad torrent: " + e.Reason + "; download it again, or ask its publisher for a correct one"
}

// Unwrap returns what a lower layer said, if one did.
func (e *InvalidError) Unwrap() error { return e.err }

func invalid(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &InvalidError{Reason: err.Error(), err: errors.Unwrap(err)}
}

// MagnetError says why a magnet link was refused.
type MagnetError struct {
	Reason string // what is wrong, and with which parameter
}

// Error names the reason and what the user can do.
func (e *MagnetError) Error() string {
	return "bad magnet link: " + e.Reason + "; copy the whole link again"
}

func badMagnet(format string, args ...any) error {
	return &MagnetError{Reason: fmt.Sprintf(format, args...)}
}
