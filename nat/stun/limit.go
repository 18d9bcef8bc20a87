package stun

import (
	"hash/maphash"
	"net/netip"
	"time"
)

// bucket is a token bucket as one instant, counted from some epoch: when it will be full again if nothing more is taken
// (the generic cell rate algorithm).
type bucket time.Duration

// take takes what needs cost to come back, from a bucket that is full at, and holds what comes back in burst.
func (b *bucket) take(at, cost, burst time.Duration) bool {
	full := max(time.Duration(*b), at) + cost
	if full > at+burst {
		return false
	}
	*b = bucket(full)
	return true
}

const (
	sets = 2048
	ways = 4
)

// sources limits how often each source is answered, with a bucket for each, in a table of a fixed size whose places a
// random hash assigns. A full bucket may be forgotten, which takes nothing from anybody. With none to forget, a source
// that is not in the table gets no answer: a flood from made-up sources takes no place from those who are in it.
type sources struct {
	seed  maphash.Seed
	every time.Duration // an answer, in the long run
	burst time.Duration // every, times the answers that a full bucket holds
	table [sets][ways]place
}

type place struct {
	source uint64 // a hash
	bucket bucket
}

func newSources(rate, burst int) *sources {
	every := time.Second / time.Duration(rate)
	return &sources{seed: maphash.MakeSeed(), every: every, burst: every * time.Duration(burst)}
}

// allow says whether the source is answered once more. One source is an IPv4 address, or a /64 of IPv6.
func (s *sources) allow(at time.Duration, from netip.Addr) bool {
	ip := from.As16()
	n := 8
	if from.Is4() {
		n = 16
	}
	source := maphash.Bytes(s.seed, ip[:n])
	var found *place
	for i := range s.table[source%sets] {
		p := &s.table[source%sets][i]
		if p.source == source {
			found = p
			break
		}
		if time.Duration(p.bucket) <= at && (found == nil || p.bucket < found.bucket) {
			found = p
		}
	}
	if found == nil {
		return false
	}
	if found.source != source {
		*found = place{source: source}
	}
	return found.bucket.take(at, s.every, s.burst)
}

// excess is the bytes by which answers may be longer than their questions, for all sources together.
type excess struct {
	each, burst time.Duration // until a byte comes back; until all do
	bucket      bucket
}

func newExcess(rate int) excess {
	if rate == 0 {
		return excess{}
	}
	return excess{each: time.Second / time.Duration(rate), burst: excessBurst * time.Second}
}

func (e *excess) allow(at time.Duration, bytes int) bool {
	return e.each > 0 && e.bucket.take(at, time.Duration(bytes)*e.each, e.burst)
}
