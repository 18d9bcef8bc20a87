package choker

const (
	firstSlots = 4
	leastSlots = 2
	mostSlots  = 50
	// leastEach is the rate in bytes/s that each slot must get before there may be more than firstSlots, and leastLimited
	// the one below which a limit makes them fewer.
	leastEach    = 10 << 10
	leastLimited = 4 << 10
	// A slot more that brought nothing is tried again after so many rounds, and then after twice as many, up to longestRest.
	firstRest, longestRest = 6, 48
)

// Slots is how many peers to serve at a time. More slots fill a line that the peers served so far cannot fill, but on one
// that is full each of them gets less. So one more is tried while that makes our rate grow. The zero value begins with 4.
type Slots struct {
	extra  int   // beyond firstSlots; below it, negative
	trial  bool  // the last round began with one more
	peak   int64 // the best rate that fewer slots reached
	rest   int   // rounds before the next trial
	resume int   // rest after the next failure
}

// Load is how a round went.
type Load struct {
	// Rate is what we sent in the round, and Limit what we may send, in bytes/s. A Limit of 0 is none.
	Rate, Limit int64
	// Used is how many slots were in use, and Waiting how many interested peers had none.
	Used, Waiting int
}

// Count returns the number of slots, between 2 and 50.
func (s Slots) Count() int { return firstSlots + s.extra }

// Next returns what follows from a round.
func (s Slots) Next(l Load) Slots {
	if l.Used < s.Count() || l.Waiting == 0 {
		// Whoever wants a slot has one, so that the rate says nothing about their number.
		s.trial = false
		return s.within(l)
	}
	grew := l.Rate > s.peak+s.peak/10
	switch {
	case l.Rate < s.peak/2: // other times
		s = Slots{peak: l.Rate}
	case s.trial && !grew:
		s.extra--
		s.trial = false
		s.resume = min(max(2*s.resume, firstRest), longestRest)
		s.rest = s.resume
	case grew:
		s.rest, s.resume = 0, 0
	}
	s.peak = max(s.peak, l.Rate)
	if s.trial = s.rest == 0; s.trial {
		s.extra++
	} else {
		s.rest--
	}
	return s.within(l)
}

// within keeps the number within its bounds at the rate of the round.
func (s Slots) within(l Load) Slots {
	least, most := int64(firstSlots), max(firstSlots, min(l.Rate/leastEach, mostSlots))
	if l.Limit > 0 {
		least = leastSlots
		most = max(leastSlots, min(most, l.Limit/leastLimited))
		if l.Rate > l.Limit-l.Limit/10 {
			most = min(most, int64(max(firstSlots, s.Count()-1))) // the limit is reached
		}
	}
	if n := max(least, min(int64(s.Count()), most)); n != int64(s.Count()) {
		s.extra, s.trial = int(n)-firstSlots, false
	}
	return s
}
