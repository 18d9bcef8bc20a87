package front

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// mute sees to it that the address is not told of for a while, whether it is known or comes to be.
func (b *book) mute(now time.Time, addr netip.AddrPort, d time.Duration) {
	addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	until := later(b.shun[addr], now.Add(d))
	if len(b.shun) >= maxKnown {
		for a, end := range b.shun {
			if !end.After(now) {
				delete(b.shun, a)
			}
		}
	}
	if len(b.shun) < maxKnown {
		b.shun[addr] = until
	}
	if e := b.byAddr[addr]; e != nil {
		// After that it is as if it were new.
		e.muted, e.verified, e.reported, e.fails = until, time.Time{}, time.Time{}, 0
		b.version++
	}
}

// shunned reports whether whoever dials us from ip is to be refused.
func (b *book) shunned(now time.Time, ip netip.Addr) bool {
	return b.shun[netip.AddrPortFrom(ip, 0)].After(now)
}

// reachable returns the reachable addresses, the last verified first, at most [maxReachable].
func (b *book) reachable(now time.Time) []*entry {
	var all []*entry
	for _, e := range b.order {
		if e.reachable(now) {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(x, y *entry) int {
		return cmp.Or(y.verified.Compare(x.verified), x.addr.Compare(y.addr))
	})
	return all[:min(len(all), maxReachable)]
}

// countReachable returns how many addresses are reachable.
func (b *book) countReachable(now time.Time) (n int) {
	for _, e := range b.order {
		if e.reachable(now) {
			n++
		}
	}
	return n
}

// strangers returns how many addresses are known that are not our own devices', and how many of them are reachable.
func (b *book) strangers(now time.Time) (known, reachable int) {
	for _, e := range b.order {
		if e.from.has(SourceDevice) {
			continue
		}
		known++
		if e.reachable(now) {
			reachable++
		}
	}
	return known, reachable
}

// before reports whether e is to be told of before o, where neither is verified.
func (e *entry) before(o *entry) bool {
	return e.fails < o.fails || e.fails == o.fails && e.added.Before(o.added)
}

// offer returns the address to tell of although it is not verified, never one of our own devices, which may be in a network
// that is nobody's business: where none is reachable, the one that hung up least often on us;
// of those that were not tried yet the one known longest; where there is none, and none reachable either, of those that failed
// the one that failed least.
func (b *book) offer(now time.Time) *entry {
	var best, alive *entry
	better, reachable := false, false // something better than those that failed is there; something reachable
	for _, e := range b.order {
		if e.from.has(SourceDevice) {
			continue
		}
		reachable = reachable || e.reachable(now)
		better = better || e.reachable(now) || e.untried() && !e.banned
		hopeless := e.banned || e.fails >= 10
		tooSoon := e.muted.After(now) || now.Sub(e.offered) < offerAgain || now.Sub(e.added) < offerAfter
		if hopeless || tooSoon || e.reachable(now) {
			continue
		}
		if e.alive && (alive == nil || e.before(alive)) {
			alive = e
		}
		if best == nil || e.before(best) {
			best = e
		}
	}
	if alive != nil && !reachable {
		best, better = alive, false
	}
	if best == nil || best.fails > 0 && better {
		return nil
	}
	best.offered = now
	return best
}
