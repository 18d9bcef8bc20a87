package punch

import (
	"net/netip"
	"time"

	"simplebit/nat"
)

// Openers' TTLs where it is not known how far away the last of the own NATs is.
const (
	lowestTTL  = 2
	highestTTL = 5
)

// openerTTL is the TTL of openers to an address: that of the last own NAT and one more, so that they die on the next router.
// Behind the own public address there is a NAT in common, where the way of openers ends. Else what was measured is used, or
// what is known of the number of NATs; where that is not much, a failed attempt makes it one more. With too small a TTL only
// time is lost, with too large a one openers are what they are there to prevent.
func openerTTL(p *Plan, to netip.Addr) int {
	switch {
	case to == p.Self:
		return lowestTTL
	case p.OpenerTTL != 0:
		return p.OpenerTTL
	}
	ttl := lowestTTL
	switch p.Local.Double {
	case nat.Unsure:
		ttl += p.Try
	case nat.Yes:
		ttl += 1 + p.Try/2
	}
	return min(ttl, highestTTL)
}

// patience is how much longer than the controlling side the other one opens only.
const patience = 600 * time.Millisecond

// patienceOf is a side's. One that cannot be asked where it opens, because its ports change and are not predicted, must ask itself.
func patienceOf(p *Plan) time.Duration {
	if p.Controlling || allocationOf(p.Local) != steady && Choose(p.Peer, p.Local) != Predict {
		return 0
	}
	return patience
}

// pace is when a pair is asked.
type pace uint8

const (
	prompt  pace = iota // at once, then again and again
	careful             // the same, after openers for as long as is held
	bulk                // opened once, and asked twice when the other side has made its guesses
	few                 // as careful, but asked a few times only
)

const (
	openerGap  = 100 * time.Millisecond
	bulkFirst  = 2600 * time.Millisecond
	bulkSecond = 3400 * time.Millisecond
)

// due is when, since the start, a pair gets its next datagram, whether that is an opener, and whether there is one. The pair
// began its turn at offset.
func (p pace) due(offset, hold time.Duration, openers, probes int) (at time.Duration, opener, ok bool) {
	switch p {
	case careful, few:
		if at = offset + time.Duration(openers)*openerGap; at < hold && (p == careful || openers < aheadOpened) {
			return at, true, true
		}
		return max(hold, offset) + asked(probes), false, p == careful || probes < aheadAsked
	case bulk:
		switch {
		case openers == 0:
			return offset, true, true
		case probes < 2:
			return offset + []time.Duration{bulkFirst, bulkSecond}[probes], false, true
		}
		return 0, false, false
	}
	return offset + asked(probes), false, true
}

// asked is when a pair is asked for the n-th time, from 0: after 50, 100, 150 and then always 200 ms.
func asked(n int) time.Duration {
	if n <= 4 {
		return time.Duration(25*n*(n+1)) * time.Millisecond
	}
	return time.Duration(500+200*(n-4)) * time.Millisecond
}
