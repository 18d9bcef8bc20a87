package broker

import (
	"maps"
	"net/netip"
	"time"

	"simplebit/nat"
)

const (
	remembered = 24 * time.Hour
	maxMemory  = 4096 // pairs of networks: some 1 MB
)

// trait is what tells a network from others, and from itself after a change.
type trait struct {
	observed  netip.AddrPort
	behaviour nat.Behaviour
}

func (d *device) trait() trait {
	b := d.behaviour()
	b.Lifetime = 0 // is found out later than the rest
	return trait{d.line.Observed, b}
}

// site is a network as it is remembered: what a household has from its provider, and how that treats UDP.
type site struct {
	prefix    netip.Prefix
	behaviour nat.Behaviour
}

func (t trait) site() site {
	bits := 24
	if t.observed.Addr().Is6() {
		bits = 56
	}
	prefix, _ := t.observed.Addr().Prefix(bits)
	return site{prefix, t.behaviour}
}

// memoKey is two networks, in the order of their prefixes.
type memoKey struct{ first, second site }

// memoOf returns the key for the networks of a pair's sides, and whether b's is the first.
func memoOf(a, b trait) (k memoKey, turned bool) {
	x, y := a.site(), b.site()
	if turned = x.prefix.Compare(y.prefix) > 0; turned {
		x, y = y, x
	}
	return memoKey{x, y}, turned
}

// memo is what worked between two networks.
type memo struct {
	at          time.Time
	controlling int // which network's device: 0 is the first
	patient     bool
}

// memory is what worked, by pair of networks.
type memory map[memoKey]memo

// worked takes that an attempt led to a path, by the word of both devices.
func (m memory) worked(now time.Time, a *attempt) {
	if a.memo == (memoKey{}) {
		return // adopted: nobody knows how it worked
	}
	if len(m) >= maxMemory {
		m.forget(now)
	}
	if _, known := m[a.memo]; known || len(m) < maxMemory {
		m[a.memo] = memo{now, a.role, a.patient}
	}
}

// failed takes that what had worked did not.
func (m memory) failed(a *attempt) {
	if old, known := m[a.memo]; known && old.controlling == a.role && old.patient == a.patient {
		delete(m, a.memo)
	}
}

// lookup returns what has worked within a day.
func (m memory) lookup(now time.Time, k memoKey) (memo, bool) {
	o, known := m[k]
	return o, known && now.Sub(o.at) < remembered
}

func (m memory) forget(now time.Time) {
	maps.DeleteFunc(m, func(_ memoKey, o memo) bool { return now.Sub(o.at) >= remembered })
}
