package choker

const (
	firstSlots = 8
	fewSlots   = 4 // without a limit there are no fewer
	leastSlots = 2
	mostSlots  = 50
	// leastEach is the rate in bytes/s below which a slot is of little use, so that a line that is full gets fewer of them, and
	// leastLimited the one below which a limit does.
	leastEach    = 10 << 10
	leastLimited = 4 << 10
	// idleTooLong is the share of a round without anything to send above which there are twoMore slots in the next.
	idleTooLong = 0.05
	twoMore     = 2
	// fullRounds is how many rounds on end must have been busy throughout before there is one slot less.
	fullRounds = 6
)

// Slots is how many peers to serve at a time. On a line that is full, fewer slots repay better. But peers do not ask all the
// time: when those who are served often leave nothing to send while others wait, more are served. The zero value begins with 8.
type Slots struct {
	extra int // beyond firstSlots; below it, negative
	full  int // rounds on end in which there was always something to send
}

// Load is how a round went.
type Load struct {
	// Rate is what we sent in the round, and Limit what we may send, in bytes/s. A Limit of 0 is none.
	Rate, Limit int64
	// Idle is the share of the round, 0 to 1, in which no peer that was served had asked for anything.
	Idle float64
	// Used is how many slots were in use, and Waiting how many interested peers had none.
	Used, Waiting int
}

// Count returns the number of slots, between 2 and 50.
func (s Slots) Count() int { return firstSlots + s.extra }

// Next returns what follows from a round.
func (s Slots) Next(l Load) Slots {
	switch {
	case l.Used < s.Count() || l.Waiting == 0:
		// Whoever wants a slot has one: their number limits nobody.
	case l.Idle > idleTooLong:
		s.extra += twoMore
		s.full = 0
	case l.Idle > 0:
		s.full = 0
	case l.Rate < int64(s.Count())*leastEach:
		s.extra--
	default:
		if s.full++; s.full >= fullRounds && s.extra > 0 {
			s.extra--
			s.full = 0
		}
	}
	return s.within(l)
}

// within keeps the number within its bounds.
func (s Slots) within(l Load) Slots {
	least, most := int64(fewSlots), int64(mostSlots)
	if l.Limit > 0 {
		least = leastSlots
		most = max(leastSlots, min(mostSlots, l.Limit/leastLimited))
	}
	s.extra = int(max(least, min(int64(s.Count()), most))) - firstSlots
	return s
}
