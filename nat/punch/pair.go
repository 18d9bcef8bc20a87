package punch

import (
	"cmp"
	"net/netip"
	"time"

	"simplebit/nat"
)

// Origin is how the address of a pair came to be known.
type Origin uint8

// The origins.
const (
	FromPlan  Origin = iota // the broker gave it
	Predicted               // it may be the next port of a NAT that counts
	Guessed                 // a random port that answered
	Learned                 // the peer asked from there
)

// String returns a word for a trace.
func (o Origin) String() string {
	return [...]string{"given", "predicted", "guessed", "learned"}[o]
}

const (
	maxPairs   = 256
	maxLearned = 16
	// owed is how many more probes go to where the peer was heard first: who answers alone may never be heard.
	owed    = 3
	owedGap = 50 * time.Millisecond
)

// pair is a socket of ours and an address of the peer: a path that may work.
type pair struct {
	socket int
	remote netip.AddrPort
	origin Origin
	kind   nat.CandidateKind // of those from the plan; 0: not told
	// stranger is true of what was learned of a host that the plan does not have.
	stranger bool

	pace   pace
	offset time.Duration // since the start, when its turn begins
	ttl    int           // of openers

	openers, probes int
	owed            int
	owedNext        time.Time

	first    time.Time // datagram to it
	heard    time.Time // something that the key signed came from there
	answered time.Time // one of our requests was
	rtt      time.Duration

	confirmation confirmation
}

// confirmation is how far the full size was tried.
type confirmation struct {
	size   int
	tries  int
	next   time.Time
	passed int // nominations that were not followed
	failed bool
}

// Classes of paths, better ones are higher.
const (
	classIPv4 = iota + 1
	classIPv6
	classLAN
)

// classOf judges by the address alone: a private one that answers under the key is in the same network.
func classOf(a netip.Addr) int {
	switch {
	case !nat.Public(a):
		return classLAN
	case a.Is6():
		return classIPv6
	}
	return classIPv4
}

// better orders answered pairs: hosts of the peer's before strangers, then by class, then what was known before what was found
// on the way, then by time.
func better(a, b *pair) int {
	switch {
	case a.stranger != b.stranger && b.stranger:
		return -1
	case a.stranger != b.stranger:
		return 1
	}
	return cmp.Or(
		cmp.Compare(classOf(b.remote.Addr()), classOf(a.remote.Addr())),
		cmp.Compare(a.origin, b.origin),
		cmp.Compare(a.rtt, b.rtt),
	)
}
