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

// offer returns the address to tell of although it is not verified, never one of our own devices, which may be in a network
// that is nobody's business: of those that were not tried yet the one known longest;
// where there is none, and none reachable either, of those that failed the one that failed least.
func (b *book) offer(now time.Time) *entry {
	var best *entry
	better := false // something better than those that failed is there
	for _, e := range b.order {
		if e.from.has(SourceDevice) {
			continue
		}
		if e.reachable(now) || e.untried() && !e.banned {
			better = true
		}
		hopeless := e.banned || e.fails >= 10
		tooSoon := e.muted.After(now) || now.Sub(e.offered) < offerAgain || now.Sub(e.added) < offerAfter
		if hopeless || tooSoon || e.reachable(now) {
			continue
		}
		if best == nil || e.fails < best.fails || e.fails == best.fails && e.added.Before(best.added) {
			best = e
		}
	}
	if best == nil || best.fails > 0 && better {
		return nil
	}
	best.offered = now
	return best
}
