package broker

import (
	"time"

	"simplebit/wire/control"
)

// word is what one device says of a path that the core does not know: it is of a surrogate before this one.
type word struct {
	who  id
	told control.Punched
}

// adopt takes what a device says of an attempt that is not known. Where the other one says the same, there is a path between
// the two: nobody else knows the attempt's name. The rest is not remembered, so it may be replaced for any torrent soon.
func (c *core) adopt(now time.Time, who id, m control.Punched) {
	d, first := c.devices[who], c.words[m.Attempt]
	switch {
	case d == nil || !d.online:
		return
	case m.Outcome != control.PunchConnected:
		if first.who == who {
			c.forget(m.Attempt)
		}
		return
	case first.who == "":
		if d.words < maxPaths {
			c.words[m.Attempt] = word{who, m}
			d.words++
		}
		return
	case first.who == who:
		return
	}
	k := keyOf(who, first.who)
	a, b, p := c.devices[k.a], c.devices[k.b], c.pairs[k]
	if p != nil && p.attempt != nil || !a.room() || !b.room() || p == nil && (a.pairs >= maxPairs || b.pairs >= maxPairs) {
		return
	}
	c.forget(m.Attempt)
	if p == nil {
		p = c.pair(a, b)
	}
	p.attempt = &attempt{name: m.Attempt, began: now, path: true, mutual: true, since: now, used: now}
	p.attempt.told[p.side(who)], p.attempt.told[p.side(first.who)] = &m, &first.told
	p.begun, p.networks = now, [2]trait{a.trait(), b.trait()}
	c.attempts[m.Attempt] = p
	a.paths++
	b.paths++
}

func (c *core) forget(name [8]byte) {
	if w, known := c.words[name]; known {
		c.devices[w.who].words--
		delete(c.words, name)
	}
}

// pair begins to remember two devices, given in the order of their names.
func (c *core) pair(a, b *device) *pair {
	p := &pair{key: key{a.id, b.id}}
	c.pairs[p.key] = p
	a.pairs++
	b.pairs++
	return p
}
