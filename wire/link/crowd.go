package link

import (
	"cmp"
	"net/netip"
	"slices"
)

// Limits bounds connections whose clients have not shown yet that they are of use, of one listener or of one purpose.
type Limits struct {
	Total   int // default 256
	PerHost int // of them from one IPv4 address or IPv6 /64, twice as many from a /56 and four times from a /48; default 32
}

// Crowd is those who wait, the longest first. When there are too many, of one origin or in all, the one that has waited
// longest gives way to a new one: of the origin that has too many, or of the one that has the most. So who keeps silent holds
// a place only while nobody else needs it, and who has few places loses none to who has many. It has no I/O, and is for one
// goroutine at a time.
type Crowd struct {
	limits Limits
	places []*Place
	from   map[netip.Prefix]int
}

// Place is one of those who wait.
type Place struct {
	origin  origin
	giveWay func()
	kept    bool
}

// NewCrowd returns an empty Crowd.
func NewCrowd(l Limits) *Crowd {
	l.Total, l.PerHost = cmp.Or(l.Total, 256), cmp.Or(l.PerHost, 32)
	return &Crowd{limits: l, from: map[netip.Prefix]int{}}
}

// Enter gives a client a place, which it has until it leaves. It returns as well the place that it took from another, or nil;
// the caller then calls that one's GiveWay, as soon as it holds no lock. Place is nil where all that could give way are kept.
func (c *Crowd) Enter(addr netip.Addr, giveWay func()) (p, out *Place) {
	p = &Place{origin: originOf(addr), giveWay: giveWay}
	if within, full := c.full(p.origin); full {
		if out = c.last(within); out == nil {
			return nil, nil
		}
		c.Leave(out)
	}
	c.places = append(c.places, p)
	for _, o := range p.origin.distinct() {
		c.from[o]++
	}
	return p, out
}

// GiveWay tells a client that has lost its place.
func (p *Place) GiveWay() { p.giveWay() }

// Keep says whether the place is not to be taken by another, because its client is being served.
func (p *Place) Keep(kept bool) { p.kept = kept }

// Leave gives up a place; one that is not there any more makes no difference.
func (c *Crowd) Leave(p *Place) {
	i := slices.Index(c.places, p)
	if i < 0 {
		return
	}
	c.places = slices.Delete(c.places, i, i+1)
	for _, o := range p.origin.distinct() {
		if c.from[o]--; c.from[o] == 0 {
			delete(c.from, o)
		}
	}
}

// Len is how many wait.
func (c *Crowd) Len() int { return len(c.places) }

// Crowded reports whether as much as the given share, one part of so many, of a limit is taken for a client from there.
func (c *Crowd) Crowded(addr netip.Addr, part int) bool {
	if len(c.places) >= (c.limits.Total+part-1)/part {
		return true
	}
	for i, o := range originOf(addr) {
		if c.from[o] >= (c.limits.PerHost<<i+part-1)/part {
			return true
		}
	}
	return false
}

// Greedy reports whether a client from there has as many places as are free: where nobody gives way, it gets no more.
func (c *Crowd) Greedy(addr netip.Addr) bool {
	free := c.limits.Total - len(c.places)
	for i, o := range originOf(addr) {
		if c.from[o] >= free<<i {
			return true
		}
	}
	return false
}

// full returns the part of the crowd in which somebody must give way to another from there; invalid: in all of it.
func (c *Crowd) full(from origin) (within netip.Prefix, full bool) {
	for i, o := range from {
		if c.from[o] >= c.limits.PerHost<<i {
			return o, true
		}
	}
	return netip.Prefix{}, len(c.places) >= c.limits.Total
}

// last is who gives way: of those with the most from their network, then from their host, who came first.
func (c *Crowd) last(within netip.Prefix) (last *Place) {
	for _, p := range c.places {
		if p.kept || within.IsValid() && !slices.Contains(p.origin[:], within) {
			continue
		}
		if last == nil || c.busier(p.origin, last.origin) {
			last = p
		}
	}
	return last
}

func (c *Crowd) busier(a, b origin) bool {
	for i := len(a) - 1; i >= 0; i-- {
		if x, y := c.from[a[i]], c.from[b[i]]; x != y {
			return x > y
		}
	}
	return false
}

// origin is where a client comes from, as one stranger may have it, the narrowest first: an IPv6 /64, /56 and /48, or thrice
// an IPv4 address.
type origin [3]netip.Prefix

func originOf(addr netip.Addr) (o origin) {
	addr = addr.Unmap().WithZone("")
	for i := range o {
		bits := 64 - 8*i
		if addr.Is4() {
			bits = 32
		}
		o[i], _ = addr.Prefix(bits)
	}
	return o
}

// distinct is the origin's networks, each once.
func (o *origin) distinct() []netip.Prefix {
	if o[0] == o[1] {
		return o[:1]
	}
	return o[:]
}
