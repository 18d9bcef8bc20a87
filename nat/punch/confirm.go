package punch

import (
	"net/netip"
	"slices"
	"time"
)

// Sizes of the last probes: what most paths carry and data is sent in, and, where that does not come through, what QUIC
// and IPv6 expect of all (1,200 and 1,232 bytes of UDP payload).
const (
	fullSize   = 1400
	smallSize4 = 1200
	smallSize6 = 1232

	triesEach = 4  // of the controlling side, for a size
	triesAll  = 16 // of the other side, for a nomination
)

func smallSize(a netip.Addr) int {
	if a.Is4() {
		return smallSize4
	}
	return smallSize6
}

// A better path may answer that much later than the first one: its round-trip time, within bounds; any path of the peer's
// hosts, the most later than one of a stranger.
const (
	settleLeast = 20 * time.Millisecond
	settleMost  = 150 * time.Millisecond
)

// settle begins the time that better paths have, or ends it, after a pair has answered.
func (m *Machine) settle(now time.Time, p *pair) {
	wait := min(max(p.rtt, settleLeast), settleMost)
	if p.stranger {
		wait = settleMost
	}
	at := now
	for i := range m.pairs {
		if q := &m.pairs[i]; q.origin == FromPlan && q.answered.IsZero() && q.offset <= now.Sub(m.start) &&
			(p.stranger || classOf(q.remote.Addr()) > classOf(p.remote.Addr())) {
			at = now.Add(wait)
		}
	}
	if m.settled.IsZero() || at.Before(m.settled) {
		m.settled = at
	}
}

// confirm asks with the full size where the controlling side wants the path to be.
func (m *Machine) confirm(now time.Time, out []Datagram) []Datagram {
	if m.plan.Controlling && m.current < 0 {
		m.choose(now)
	}
	if m.current < 0 {
		return out
	}
	i := m.current
	p := &m.pairs[i]
	c := &p.confirmation
	if now.Before(c.next) {
		return out
	}
	switch {
	case m.plan.Controlling && c.tries == 2*triesEach, c.tries == triesAll:
		c.failed, m.current = true, -1
		return m.confirm(now, out)
	case m.plan.Controlling && c.tries == triesEach:
		c.size = smallSize(p.remote.Addr())
	}
	c.tries++
	c.next = now.Add(owedGap + min(p.rtt, time.Second))
	return m.request(now, i, p.remote, message{nominate: m.plan.Controlling}, c.size, 0, out)
}

// choose takes the best of the pairs that answered, once they had their time.
func (m *Machine) choose(now time.Time) {
	if m.settled.IsZero() || now.Before(m.settled) {
		return
	}
	for i := range m.pairs {
		p := &m.pairs[i]
		if !p.answered.IsZero() && !p.confirmation.failed && (m.current < 0 || better(p, &m.pairs[m.current]) < 0) {
			m.current = i
		}
	}
	if m.current < 0 {
		m.settled = time.Time{}
		return
	}
	m.pairs[m.current].confirmation = confirmation{size: fullSize, next: now}
}

// strangersPassed is how many nominations of a stranger's address are not followed, if the peer was heard from elsewhere: those
// of a wire-tapper who passes on what the peer sends are overtaken by the peer's.
const strangersPassed = 3

// nominated is told where the other side wants the path to be. What was to be confirmed before is given up.
func (m *Machine) nominated(now time.Time, i, size int) {
	if p := &m.pairs[i]; p.stranger && p.confirmation.passed < strangersPassed &&
		slices.ContainsFunc(m.pairs, func(q pair) bool { return !q.stranger && !q.heard.IsZero() }) {
		p.confirmation.passed++
		return
	}
	if size < fullSize {
		size = smallSize(m.pairs[i].remote.Addr())
	} else {
		size = fullSize
	}
	c := &m.pairs[i].confirmation
	if m.current == i && c.size == size {
		return
	}
	m.current = i
	*c = confirmation{size: size, next: now, passed: c.passed}
}

// confirmed is told of an answer of at least the small size. The controlling side has what it needs; the other waits for
// it to say that it has.
func (m *Machine) confirmed(now time.Time, i int, x message, size int) {
	if m.plan.Controlling && m.current != i || !m.plan.Controlling && !x.nominate {
		return
	}
	p := &m.pairs[i]
	m.outcome, m.ended = Connected, now
	m.path = Path{Socket: p.socket, Remote: p.remote, RTT: p.rtt, Size: size}
}
