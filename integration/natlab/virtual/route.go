package virtual

import "time"

// plausible reports whether a packet can have come from that side at all.
func (b *box) plausible(from Side, p Packet) bool {
	if b.elsewhere {
		return from != Dropped
	}
	inside := b.inside.Contains(p.From.Addr())
	switch from {
	case Inside:
		if b.block != nil {
			first, _ := b.block(p.From.Addr())
			inside = inside && first != 0
		}
		return inside && !b.inside.Contains(p.To.Addr())
	case Outside:
		return !inside && p.From.Addr() != b.external
	}
	return false
}

// route is the way of a packet through the hooks of Linux: its flow is looked up, or begun with the translation of where it
// goes to and, behind the firewall, of where it comes from.
func (b *box) route(now time.Time, from Side, p Packet) (Packet, Side) {
	switch {
	case b.rules.blocked:
		return p, Dropped
	case b.elsewhere:
		return p, from.other()
	case !b.rules.translated && !b.firewall:
		return p, b.sideOf(p)
	}
	if f, answer := b.flows.find(now, p); f != nil {
		f.ends = now.Add(b.timeout)
		if answer {
			p = f.sent.back()
			return p, b.sideOf(p)
		}
		return b.leave(now, from, f)
	}
	f := &flow{sent: p, answer: p.back(), ends: now.Add(b.timeout)}
	to, redirected := b.sideOf(p), false
	if p.To.Addr() == b.external {
		if device, ok := b.redirect(now, from, p); ok {
			f.answer.From, redirected = device, true
			to = Inside
		}
	}
	switch {
	case to == Dropped:
		// For the NAT itself. Only one without a firewall takes what comes from outside, and keeps the flow.
		if from == Outside && !b.rules.unguarded {
			return p, Dropped
		}
		b.flows.translate(now, f, span{addr: p.From.Addr()})
		b.flows.add(now, f)
		return p, Dropped
	case from == Outside && !redirected:
		return p, Dropped
	case from == Inside && to == Outside && b.rules.translated:
		b.flows.translate(now, f, b.choose(now, f))
	case from == Inside && to == Inside:
		b.flows.translate(now, f, b.turn(now, f))
	default:
		// Where it comes from stays as it is, unless its answers would be mistaken for those of another flow.
		b.flows.translate(now, f, span{addr: p.From.Addr()})
	}
	q, to := b.leave(now, from, f)
	if !b.flows.add(now, f) {
		return q, Dropped
	}
	return q, to
}

// leave is a packet of a flow's first direction as it goes out.
func (b *box) leave(now time.Time, from Side, f *flow) (Packet, Side) {
	q := f.answer.back()
	to := b.sideOf(q)
	if from == Inside && (to == Outside || b.block != nil && to == Inside) {
		b.learn(now, f)
	}
	return q, to
}

// sideOf is the side that a packet goes to. Nothing leads to the NAT itself.
func (b *box) sideOf(p Packet) Side {
	switch {
	case p.To.Addr() == b.external && b.rules.translated:
		return Dropped
	case b.inside.Contains(p.To.Addr()):
		return Inside
	}
	return Outside
}

func (s Side) other() Side {
	if s == Inside {
		return Outside
	}
	return Inside
}
