package punch

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"simplebit/nat"
)

// Never stands for what did not happen in the durations of a Try.
const Never time.Duration = -1

// Try is what became of one pair of a socket and an address. Times are since the attempt's start.
type Try struct {
	Socket    int
	Addr      netip.AddrPort
	Origin    Origin
	Kind      nat.CandidateKind // as the broker told it; 0: not told
	Began     time.Duration     // the first datagram went out
	Heard     time.Duration     // the peer was heard from there
	Answered  time.Duration     // and answered; then RTT is known
	RTT       time.Duration
	Datagrams int  // requests; openers are among them
	Refused   bool // it carried small datagrams and not large ones
}

// Trace is an account of an attempt for a person.
type Trace struct {
	Method  Method
	Outcome Outcome
	Path    Path
	Why     string        // that path, or none, in a few words
	Took    time.Duration // from the start to the outcome, or to now
	Tries   []Try         // the given addresses, and all that were heard from, in the order of their first datagrams
	Others  int           // datagrams to or for predicted and guessed ports of which nothing was heard
}

// Trace tells what was tried so far.
func (m *Machine) Trace(now time.Time) Trace {
	if m.outcome != Pending {
		now = m.ended
	}
	t := Trace{Method: m.method, Outcome: m.outcome, Path: m.path, Why: m.why(), Took: max(0, now.Sub(m.start))}
	since := func(at time.Time) time.Duration {
		if at.IsZero() {
			return Never
		}
		return max(0, at.Sub(m.start))
	}
	datagrams := make([]int, len(m.pairs))
	for _, r := range m.sent {
		if r.pair == guess {
			t.Others++
		} else {
			datagrams[r.pair]++
		}
	}
	for i := range m.pairs {
		p := &m.pairs[i]
		if p.heard.IsZero() && (p.origin != FromPlan || p.pace == bulk) {
			t.Others += datagrams[i]
			continue
		}
		t.Tries = append(t.Tries, Try{
			Socket: p.socket, Addr: p.remote, Origin: p.origin, Kind: p.kind,
			Began: since(p.first), Heard: since(p.heard), Answered: since(p.answered), RTT: p.rtt,
			Datagrams: datagrams[i], Refused: p.confirmation.failed,
		})
	}
	slices.SortStableFunc(t.Tries, func(a, b Try) int {
		// Those without a datagram come last.
		return cmp.Compare(uint64(a.Began), uint64(b.Began))
	})
	return t
}

// why explains the path.
func (m *Machine) why() string {
	switch m.outcome {
	case Pending:
		return "not decided yet"
	case Impossible:
		switch p := &m.plan; {
		case p.Local.Blocked || p.Peer.Blocked:
			return "UDP does not reach both devices"
		case len(p.Remote) == 0 && !p.Observed.IsValid():
			return "no address of the peer is known"
		}
		return "neither network lets the other's ports be known"
	case Failed:
		switch {
		case slices.ContainsFunc(m.pairs, func(p pair) bool { return p.confirmation.failed }):
			return "only small datagrams came through"
		case slices.ContainsFunc(m.pairs, func(p pair) bool { return !p.answered.IsZero() }):
			return "an address answered, and was silent afterwards"
		case m.hit:
			return "the peer was heard, and did not hear us"
		}
		return "nothing was heard from the peer"
	}
	switch {
	case !m.plan.Controlling:
		return "the peer chose it"
	case classOf(m.path.Remote.Addr()) == classLAN:
		return "it stays within the local network"
	case classOf(m.path.Remote.Addr()) == classIPv6:
		return "IPv6 comes before IPv4"
	}
	return "it answered first"
}
