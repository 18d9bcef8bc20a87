package punch

import (
	"net/netip"
	"slices"
	"time"
)

// Receive takes a datagram that came to one of the sockets. What the key did not sign changes nothing.
func (m *Machine) Receive(now time.Time, socket int, from netip.AddrPort, b []byte) {
	from = unmap(from)
	if m.outcome == Failed || m.outcome == Impossible || socket < 0 || socket >= MaxSockets || !usable(from) {
		return
	}
	x, ok := m.codec.parse(b)
	switch {
	case !ok:
	case x.answer:
		m.answer(now, socket, from, x, len(b))
	default:
		m.question(now, socket, from, x, len(b))
	}
}

// question is a request of the peer's.
func (m *Machine) question(now time.Time, socket int, from netip.AddrPort, x message, size int) {
	fresh := m.fresh(number(x.id))
	i := m.find(socket, from)
	if i < 0 {
		if i = m.learn(now, socket, from, fresh); i < 0 {
			return
		}
	}
	m.hear(now, i)
	if m.plan.Controlling && i == m.current && size == m.pairs[i].confirmation.size {
		// Only where a nomination of that size has arrived does the other side ask with it: that is as good as its answer,
		// which may come later.
		m.confirmed(now, i, x, size)
	}
	final := m.plan.Controlling && m.outcome == Connected && m.path.Socket == socket && m.path.Remote == from
	if len(m.replies) < maxReplies && m.budget.take(from.Addr()) {
		x.answer = true
		data := m.codec.marshal(message{id: x.id, answer: true, nominate: final}, size)
		m.replies = append(m.replies, reply{socket, from, data})
	}
	if x.nominate && !m.plan.Controlling && m.outcome == Pending {
		m.nominated(now, i, size)
	}
}

// learn adds a pair that the peer has asked from, if it may: from one of the peer's hosts, whose NAT has translated a port,
// always; from another one only by a request that has not come before from anywhere, and counted apart, so that who records
// requests and is faster than they are takes no places from the peer.
func (m *Machine) learn(now time.Time, socket int, from netip.AddrPort, fresh bool) int {
	known := from.Addr() == m.plan.Observed.Addr() || slices.ContainsFunc(m.pairs, func(p pair) bool { return p.origin != Learned && p.remote.Addr() == from.Addr() })
	count := &m.learned[0]
	if known {
		count = &m.learned[1]
	}
	if *count == maxLearned || m.outcome != Pending || !known && !fresh {
		return -1
	}
	// Its own turn comes after what is owed to it.
	offset := max(0, now.Sub(m.start)) + owed*owedGap
	i := m.add(pair{socket: socket, remote: from, origin: Learned, stranger: !known, offset: offset})
	if i >= 0 {
		*count++
	}
	return i
}

// fresh reports whether the peer has not used the number before, as far as that can be known, and marks it.
func (m *Machine) fresh(n uint32) bool {
	if n >= maxSent {
		return false
	}
	word, bit := &m.asked[n/64], uint64(1)<<(n%64)
	seen := *word&bit != 0
	*word |= bit
	return !seen
}

// hear notes that the peer is behind a pair. Nobody need hold back any more then.
func (m *Machine) hear(now time.Time, i int) {
	p := &m.pairs[i]
	if !p.heard.IsZero() {
		return
	}
	p.heard, p.owed, p.owedNext = now, owed, now
	m.hit = true
	if now.Before(m.start) {
		m.start = now
	}
	m.release(now)
}

// answer is one to a request of ours, if it comes from where that went, by the socket that it left, and has its length.
func (m *Machine) answer(now time.Time, socket int, from netip.AddrPort, x message, size int) {
	n := number(x.id)
	if x.id != newID(m.nonce, n) || int64(n) >= int64(len(m.sent)) || m.outcome != Pending {
		return
	}
	r := &m.sent[n]
	if int(r.size) != size {
		return
	}
	i := int(r.pair)
	if i == guess {
		if socket != 0 || from != netip.AddrPortFrom(m.plan.Observed.Addr(), r.port) {
			return
		}
		origin := Predicted
		if m.method == Guess {
			origin = Guessed
		}
		if i = m.add(pair{remote: from, origin: origin, offset: r.at}); i < 0 {
			return
		}
	} else if m.pairs[i].socket != socket || m.pairs[i].remote != from {
		return
	}
	p := &m.pairs[i]
	m.hear(now, i)
	m.budget.confirm(from.Addr())
	if p.answered.IsZero() {
		p.answered, p.rtt = now, max(0, now.Sub(m.made)-r.at)
		if m.plan.Controlling {
			m.settle(now, p)
		}
	}
	if size >= smallSize(from.Addr()) {
		m.confirmed(now, i, x, size)
	}
}
