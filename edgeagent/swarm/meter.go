package swarm

import "time"

// A meter measures a rate over the last four to five seconds, or over what there is of it so far.
type meter struct {
	slots  [5]int64  // bytes in each of the last seconds; a ring
	at     time.Time // when the current slot began
	slot   int       // the current one
	filled int       // whole slots before it, up to 4
}

const (
	meterSlot = time.Second
	// meterLeast keeps the first bytes of a connection from counting as an enormous rate.
	meterLeast = 500 * time.Millisecond
)

// add counts n bytes.
func (m *meter) add(now time.Time, n int) {
	m.advance(now)
	m.slots[m.slot] += int64(n)
}

// rate returns bytes per second.
func (m *meter) rate(now time.Time) int64 {
	if m.at.IsZero() {
		return 0
	}
	m.advance(now)
	var sum int64
	for _, n := range m.slots {
		sum += n
	}
	over := time.Duration(m.filled)*meterSlot + max(now.Sub(m.at), 0)
	return sum * int64(time.Second) / int64(max(over, meterLeast))
}

func (m *meter) advance(now time.Time) {
	if m.at.IsZero() {
		m.at = now
	}
	steps := int(now.Sub(m.at) / meterSlot)
	if steps <= 0 {
		return
	}
	m.at = m.at.Add(time.Duration(steps) * meterSlot)
	if steps > len(m.slots) {
		steps = len(m.slots)
	}
	for range steps {
		m.slot = (m.slot + 1) % len(m.slots)
		m.slots[m.slot] = 0
	}
	m.filled = min(m.filled+steps, len(m.slots)-1)
}
