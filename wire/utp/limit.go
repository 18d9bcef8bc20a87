package utp

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"time"
)

// What strangers make us send goes to whom they claim to be. One source, an IPv4 address or a /64 of IPv6, gets no more than
// these answers, none longer than what it answers.
const (
	greetingsPerSecond, greetingsAtOnce = 32, 128 // answers to SYNs, less those of which it proved that they came
	resetsPerSecond, resetsAtOnce       = 16, 64
)

// replies bounds the answers to strangers. Beyond it there is silence: a SYN comes again, and so does what is not acknowledged.
type replies struct {
	began             time.Time
	greetings, resets limit
	told              told
}

func newReplies(now time.Time) replies {
	return replies{
		began:     now,
		greetings: newLimit(greetingsPerSecond, greetingsAtOnce),
		resets:    newLimit(resetsPerSecond, resetsAtOnce),
		told:      told{seed: maphash.MakeSeed()},
	}
}

// greet says whether a SYN from there is answered.
func (r *replies) greet(now time.Time, from netip.Addr) bool {
	return r.greetings.allow(now.Sub(r.began), from)
}

// proved gives an answer back that came where it was to: who asks honestly may ask as often as he likes.
func (r *replies) proved(from netip.Addr) { r.greetings.giveBack(from) }

// reset says whether a packet of no connection is answered with a RESET: once a second for those that would be of one connection,
// of which more may have been on their way.
func (r *replies) reset(now time.Time, k key) bool {
	at, conn := now.Sub(r.began), r.told.hash(k)
	if r.told.lately(at, conn) || !r.resets.allow(at, k.remote.Addr()) {
		return false
	}
	r.told.note(at, conn)
	return true
}

// ended notes that a connection's peer is being told of its end. That is no answer, and takes nothing from those that are.
func (r *replies) ended(now time.Time, k key) { r.told.note(now.Sub(r.began), r.told.hash(k)) }

const (
	limitSets = 1024
	limitWays = 4
)

// limit is a token bucket for each source, in a table of a fixed size whose places a random hash assigns. A full bucket may be
// forgotten, which takes nothing from anybody. With none to forget, a source that is not in the table gets nothing:
// a flood from made-up sources takes no place from those who are in it. So all of them together get no more in the long run than a
// table of sources would.
type limit struct {
	seed  maphash.Seed
	every time.Duration // an answer, in the long run
	burst time.Duration // every, times the answers that a full bucket holds
	table [limitSets][limitWays]bucket
}

type bucket struct {
	source uint64        // a hash
	full   time.Duration // when it will be if nothing more is taken (the generic cell rate algorithm)
}

func newLimit(perSecond, atOnce int) limit {
	every := time.Second / time.Duration(perSecond)
	return limit{seed: maphash.MakeSeed(), every: every, burst: every * time.Duration(atOnce)}
}

// allow takes one from the source's bucket. Times are counted from when the limit was made.
func (l *limit) allow(at time.Duration, from netip.Addr) bool {
	b := l.place(from, at)
	if b == nil {
		return false
	}
	full := max(b.full, at) + l.every
	if full > at+l.burst {
		return false
	}
	b.full = full
	return true
}

// giveBack puts one back.
func (l *limit) giveBack(from netip.Addr) {
	source := l.hash(from)
	for i := range l.table[source%limitSets] {
		if b := &l.table[source%limitSets][i]; b.source == source {
			b.full -= l.every
		}
	}
}

// place returns the source's bucket. One that it does not have yet takes the place of another that is full; nil: there is none.
func (l *limit) place(from netip.Addr, at time.Duration) *bucket {
	source := l.hash(from)
	set := &l.table[source%limitSets]
	var free *bucket
	for i := range set {
		b := &set[i]
		if b.source == source {
			return b
		}
		if b.full <= at && (free == nil || b.full < free.full) {
			free = b
		}
	}
	if free != nil {
		*free = bucket{source: source}
	}
	return free
}

func (l *limit) hash(from netip.Addr) uint64 {
	ip, n := from.As16(), 8
	if from.Is4() {
		n = 16
	}
	return maphash.Bytes(l.seed, ip[:n])
}

// told is who was told of a connection's end in the last second, as far as there was room to remember.
type told struct {
	seed  maphash.Seed
	table [limitSets][limitWays]notice
}

type notice struct {
	conn uint64 // a hash
	till time.Duration
}

// hash is without the socket: nearly always there is one that reaches the remote address.
func (t *told) hash(k key) uint64 {
	ip := k.remote.Addr().As16()
	b := append(make([]byte, 0, len(ip)+4), ip[:]...)
	b = binary.BigEndian.AppendUint16(b, k.remote.Port())
	return maphash.Bytes(t.seed, binary.BigEndian.AppendUint16(b, k.id))
}

func (t *told) lately(at time.Duration, conn uint64) bool {
	for _, n := range t.table[conn%limitSets] {
		if n.conn == conn {
			return at < n.till
		}
	}
	return false
}

// note takes the place of the oldest.
func (t *told) note(at time.Duration, conn uint64) {
	set := &t.table[conn%limitSets]
	oldest := &set[0]
	for i := range set {
		if set[i].conn == conn {
			oldest = &set[i]
			break
		}
		if set[i].till < oldest.till {
			oldest = &set[i]
		}
	}
	*oldest = notice{conn: conn, till: at + time.Second}
}
