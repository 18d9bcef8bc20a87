package front

import (
	"errors"
	"time"

	"simplebit/wire/peer"
)

const (
	// servedAhead is how many pieces of metadata a peer may have asked for and not got. Beyond, and beyond its allowance,
	// they are rejected (BEP 9).
	servedAhead = 64
	// servedEvery is the time in which a peer may ask for the whole dictionary; it may ask for two at once, since clients ask
	// again for what comes slowly.
	servedEvery = time.Minute
	servedBurst = 2
)

var errGreedy = errors.New("it asks for more metadata than one peer can need")

// serving is what one peer has asked for.
type serving struct {
	allowed allowance
	waiting int // pieces on their way to it
	refused int // requests
}

// verdict is what to do about a request.
type verdict int

const (
	serveIt verdict = iota
	rejectIt
	dropIt
)

// request decides about a request for a piece of a dictionary of size bytes; 0: there is none to be had.
func (s *serving) request(now time.Time, size int, index uint32) verdict {
	n := (size + peer.MetadataPieceSize - 1) / peer.MetadataPieceSize
	if n > 0 && s.allowed.burst == 0 {
		s.allowed = allowance{burst: servedBurst * n, every: servedEvery / time.Duration(n)}
	}
	if int64(index) >= int64(n) || s.waiting >= servedAhead || !s.allowed.take(now) {
		if s.refused++; s.refused > maxStray {
			return dropIt
		}
		return rejectIt
	}
	s.waiting++
	return serveIt
}

// served notes that a piece has left, or will not.
func (s *serving) served() { s.waiting-- }
