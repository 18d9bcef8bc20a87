package broker

import (
	"bytes"
	"cmp"
	"net/netip"
	"slices"
	"time"

	"simplebit/nat"
	"simplebit/nat/punch"
	"simplebit/wire/control"
)

const (
	maxAttempts = 2  // of a device at once
	maxPaths    = 16 // of a device, with attempts
	maxPairs    = 64 // that remember a device
	anewEvery   = time.Minute
	unseenEvery = 10 * time.Minute // where only the device says that its network is another one
	maxMatches  = 8                // for a torrent, that are looked at of a device and those who have no more: it has two attempts at once
)

// match is two devices that should have a path.
type match struct {
	a, b     *device // in the order of their names
	pair     *pair   // nil: nothing was tried yet
	torrents []torrent
	methods  [2]punch.Method
	hosts    [2]netip.Prefix // of the other family, of which the other one is told
	have     int64           // bytes that are there for who lacks some
	memo     memo
	known    bool // memo is what worked
}

// matches returns the pairs of devices that may try now, the most hopeful first.
func (c *core) matches(now time.Time) (all []match) {
	seen := map[key]bool{}
	for _, t := range c.contested() {
		able := slices.DeleteFunc(c.ranked(t), func(h holder) bool { return !h.ready(now) || !h.room() })
		for i, d := range able {
			found := 0
			for _, e := range able[i+1:] {
				if !d.lacks && !e.lacks || hopeless(d.device, e.device) {
					continue
				}
				k := keyOf(d.id, e.id)
				if seen[k] {
					continue
				}
				m := match{a: c.devices[k.a], b: c.devices[k.b], pair: c.pairs[k]}
				if !c.due(now, &m) || !c.free(now, &m) {
					continue
				}
				seen[k] = true
				all = append(all, m)
				if found++; found == maxMatches {
					break
				}
			}
		}
	}
	slices.SortFunc(all, func(m, n match) int {
		return cmp.Or(
			cmp.Compare(m.failures(), n.failures()), -compareBool(m.known, n.known), -cmp.Compare(m.have, n.have),
			cmp.Compare(m.a.id, n.a.id), cmp.Compare(m.b.id, n.b.id),
		)
	})
	return all
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

func (m *match) failures() int {
	if m.pair == nil {
		return 0
	}
	return m.pair.failures
}

// due reports whether the two should try now, and completes the match.
func (c *core) due(now time.Time, m *match) bool {
	if p := m.pair; p != nil {
		if p.attempt != nil && (!p.attempt.path || now.Before(p.begun.Add(anewEvery))) {
			return false
		}
		if c.anew(now, m); now.Before(p.next) {
			return false
		}
	}
	m.torrents = slices.DeleteFunc(common(m.a, m.b), func(t torrent) bool {
		// A path is for what it was made for: whether the devices use it is theirs to decide.
		return m.pair != nil && m.pair.attempt != nil && slices.Contains(m.pair.attempt.torrents, t) || c.linked(m.a, m.b, t)
	})
	if len(m.torrents) == 0 {
		return false
	}
	k, _ := memoOf(m.a.trait(), m.b.trait())
	m.memo, m.known = c.memory.lookup(now, k)
	for _, t := range m.torrents {
		m.have = max(m.have, m.a.shares[t].have, m.b.shares[t].have)
	}
	return true
}

// anew lets a pair whose networks have changed try at once.
func (c *core) anew(now time.Time, m *match) {
	p := m.pair
	if !now.Before(p.next) || now.Before(p.anew.Add(anewEvery)) {
		return
	}
	current := [2]trait{m.a.trait(), m.b.trait()}
	if p.networks == current || !seenElsewhere(p.networks, current) && !p.anew.IsZero() && now.Before(p.anew.Add(unseenEvery)) {
		return
	}
	p.failures, p.brief, p.vain, p.next, p.anew, p.networks = 0, 0, 0, now, now, current
}

// seenElsewhere reports whether the surrogate itself sees that one of two networks is another one. What a device says of it, and a
// port, are easy to change.
func seenElsewhere(was, is [2]trait) bool {
	return was[0].observed.Addr() != is[0].observed.Addr() || was[1].observed.Addr() != is[1].observed.Addr()
}

// ready reports whether the device can take part: what it sits behind is known, or will not be.
func (d *device) ready(now time.Time) bool {
	return d.online && !now.Before(d.from) && d.informed(now) && !now.Before(d.deaf) && d.line.Observed.IsValid()
}

// informed reports whether all is known of the device's network that will be.
func (d *device) informed(now time.Time) bool {
	return d.told || !d.line.UDP || !now.Before(d.since.Add(networkFor))
}

// mappingKnown reports whether the device has told how its NAT gives out ports, or has had its time: it tells its addresses before
// it has found that out.
func (d *device) mappingKnown(now time.Time) bool {
	return d.network.Behaviour.Mapping != nat.Unknown || !now.Before(d.since.Add(networkFor))
}

// room reports whether the device can have one attempt more.
func (d *device) room() bool { return d.attempts < maxAttempts && d.attempts+d.paths < maxPaths }

// free reports whether both can have this attempt as well, after those that have begun meanwhile.
func (c *core) free(now time.Time, m *match) bool {
	if !c.naming(now, m) {
		return false
	}
	for _, d := range []*device{m.a, m.b} {
		if !d.room() || wide(m.methods) && (d.wide > 0 || !d.mappingKnown(now)) || m.pair == nil && d.pairs >= maxPairs {
			return false
		}
	}
	return true
}

// common returns the torrents that both hold and at least one lacks some of.
func common(a, b *device) (all []torrent) {
	for t, s := range a.shares {
		if o := b.shares[t]; o != nil && (s.lacks || o.lacks) {
			all = append(all, t)
		}
	}
	slices.SortFunc(all, func(t, u torrent) int { return bytes.Compare(t[:], u[:]) })
	return all
}

// connects reports whether the two are connected for any torrent.
func (c *core) connects(a, b *device) bool {
	for t := range a.shares {
		if b.shares[t] != nil && c.linked(a, b, t) {
			return true
		}
	}
	return false
}

// linked reports whether the two are connected for the torrent, as far as their reports show. A connection to an address of
// the other is one. Behind a NAT an incoming one comes from any port: then each must be connected with the other's host, over
// something else than the path to a third device.
func (c *core) linked(a, b *device, t torrent) bool {
	ab, ba := a.shares[t].peers, b.shares[t].peers
	if !mentions(ab, b) && !mentions(ba, a) {
		return false // as nearly always
	}
	return exact(ab, a, b) || exact(ba, b, a) || c.near(ab, a, b) && c.near(ba, b, a)
}

// mentions reports whether one of the peers may be on a host of the device.
func mentions(peers []control.Peer, d *device) bool {
	for _, p := range peers {
		at := p.Addr.Addr()
		on := func(n nat.Candidate) bool { return n.Addr.Addr() == at }
		if at == d.line.Observed.Addr() || slices.ContainsFunc(d.network.Candidates, on) || slices.ContainsFunc(d.reflexive, on) {
			return true
		}
	}
	return false
}

// exact reports whether one of the peers of a device is at an address of the other.
func exact(peers []control.Peer, of, other *device) bool {
	known := candidates(other, of)
	return slices.ContainsFunc(peers, func(p control.Peer) bool {
		return p.Addr == other.line.Observed || slices.ContainsFunc(known, func(n nat.Candidate) bool { return n.Addr == p.Addr })
	})
}

func (c *core) near(peers []control.Peer, of, other *device) bool {
	known := candidates(other, of)
	return slices.ContainsFunc(peers, func(p control.Peer) bool {
		there := p.Addr.Addr() == other.line.Observed.Addr() ||
			slices.ContainsFunc(known, func(n nat.Candidate) bool { return n.Addr.Addr() == p.Addr.Addr() })
		return there && !c.claimed(of.id, other.id, p.Addr)
	})
}

// claimed reports whether a device has its path to another one than this at the address.
func (c *core) claimed(of, other id, at netip.AddrPort) bool {
	for k, p := range c.pairs {
		if k.a != of && k.b != of || k == keyOf(of, other) || p.attempt == nil {
			continue
		}
		if p.attempt.remote(p.side(of)) == at {
			return true
		}
	}
	return false
}
