package udpmux

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"time"
)

// NewSource is told of a source that no route knows: the run that came from it first, which is valid until it returns, and
// the kind of its first datagram, often Drop. It is called by the read loop before the run's handler and must not wait.
type NewSource func(now time.Time, k Kind, first Run)

// MaxNewSources is the most new sources a second that one socket tells of: a flood from made-up addresses costs no more.
const MaxNewSources = 128

// OnNewSource has f told of sources that datagrams come from for the first time, but not of the surrogate's endpoints: an
// address that a peer was not known by is a candidate (RFC 8445 section 7.3.1.3), once its datagram has proved whose it is. One
// source is told of again when others have taken its place: 1024 are remembered, 16 where the socket reads without
// batches. It is called before Run, once; again it panics.
func (s *Socket) OnNewSource(f NewSource) {
	if s.newSource != nil {
		panic("udpmux: a second one to be told of new sources")
	}
	s.newSource = f
}

// sightWays is how many sources have the same place in the table; the longest silent one gives way.
const sightWays = 4

// sight remembers sources by a hash. It belongs to the read loop.
type sight struct {
	tell   NewSource
	seed   maphash.Seed
	table  [][sightWays]uint64 // the latest one first
	second int64
	told   int
}

func newSight(f NewSource, batch int) *sight {
	sets := 256
	if batch == 1 {
		sets = 4
	}
	return &sight{tell: f, seed: maphash.MakeSeed(), table: make([][sightWays]uint64, sets)}
}

// look tells of the run if its source is new. A source that is over the rate stays new.
func (s *sight) look(now time.Time, k Kind, r Run) {
	h := s.hash(r.From)
	set := &s.table[h%uint64(len(s.table))]
	at := 0
	for at < sightWays && set[at] != h {
		at++
	}
	if at == sightWays {
		if !s.allow(now) {
			return
		}
		s.tell(now, k, r)
		at--
	}
	copy(set[1:at+1], set[:at])
	set[0] = h
}

// hash is never 0, which is an empty place.
func (s *sight) hash(a netip.AddrPort) uint64 {
	var b [18]byte
	ip := a.Addr().As16()
	copy(b[:], ip[:])
	binary.BigEndian.PutUint16(b[16:], a.Port())
	return maphash.Bytes(s.seed, b[:]) | 1<<63
}

func (s *sight) allow(now time.Time) bool {
	if t := now.Unix(); t != s.second {
		s.second, s.told = t, 0
	}
	s.told++
	return s.told <= MaxNewSources
}
