package swarm

import "time"

// A tally is what a peer has sent us and taken, in bytes of payload.
type tally struct {
	received, sent int64
	down, up       meter
	last           time.Time // when the last of it moved
	marks          [2]mark   // at the last two rounds of the choker, the older one first
}

type mark struct {
	at             time.Time
	received, sent int64
}

func newTally(now time.Time) tally {
	start := mark{at: now}
	return tally{last: now, marks: [2]mark{start, start}}
}

func (y *tally) payload() int64 { return y.received + y.sent }

func (y *tally) receive(now time.Time, n int) {
	y.received += int64(n)
	y.down.add(now, n)
	y.last = now
}

func (y *tally) send(now time.Time, n int) {
	y.sent += int64(n)
	y.up.add(now, n)
	y.last = now
}

// recent returns the rates since the round before the last, in bytes/s: at a round, over 20 s.
func (y *tally) recent(now time.Time) (gave, took int64) {
	from := y.marks[0]
	return perSecond(y.received-from.received, now.Sub(from.at)), perSecond(y.sent-from.sent, now.Sub(from.at))
}

// turn begins the time between two rounds.
func (y *tally) turn(now time.Time) {
	y.marks[0], y.marks[1] = y.marks[1], mark{now, y.received, y.sent}
}

// perSecond is the rate of n bytes in a time, which counts as a second when it is shorter.
func perSecond(n int64, d time.Duration) int64 {
	return n * int64(time.Second/time.Millisecond) / max(d, time.Second).Milliseconds()
}
