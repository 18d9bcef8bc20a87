package broker

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"

	"simplebit/nat/punch"
	"simplebit/wire/control"
)

const (
	firstRest = 65 * time.Second // after a failure: longer than NATs remember what went out
	maxRest   = 30 * time.Minute
	soon      = 250 * time.Millisecond // before an attempt with fresh sockets
	again     = time.Second            // before a path that lasted is made anew
	busyRest  = 30 * time.Second
	unused    = 3 * time.Minute  // devices drop a path that no connection uses sooner, and need not tell
	lasting   = 5 * time.Minute  // paths that live shorter, one after the other, are made anew after longer and longer rests
	doubt     = 20 * time.Second // how long a path may be without anybody's word for it: a silent one is lost after 15 s
	grace     = 10 * time.Second // after an attempt's deadline, for what is told of it
	telling   = 2 * time.Second  // in which a device that came tells of its paths, after its network
	ghostly   = 20 * time.Second // how long connections of a device that began anew are told of by the others: as long as paths are
	maxShown  = 4                // attempts of a pair that are kept to be shown
)

// key names a pair: a is less than b.
type key struct{ a, b id }

func keyOf(a, b id) key { return key{min(a, b), max(a, b)} }

// pair is two devices, and what was tried between them.
type pair struct {
	key
	failures int               // attempts that failed, in a row, since a network changed
	brief    int               // paths that did not last, in a row
	vain     int               // attempts for which a device had no time, since there was a path
	next     time.Time         // no attempt before
	begun    time.Time         // the last attempt
	ended    time.Time         // the last attempt or path
	anew     time.Time         // when a change of network let it try again
	networks [2]trait          // of the last attempt
	attempt  *attempt          // under way, or with a path that is kept; nil: none
	ghosts   [2]netip.AddrPort // where each side may still tell of connections that the other one has lost, as it began anew
	ghostly  time.Time         // until when
	past     []attempt         // at most maxShown, the latest last
}

// attempt is one that both devices were asked for.
type attempt struct {
	name        [8]byte
	began       time.Time
	expires     time.Time // of a path that is kept: zero, unless it is in doubt
	controlling int       // which side: 0 is a
	try         int
	methods     [2]punch.Method
	hosts       [2]netip.Prefix // of each side, elsewhere, that the other one was told
	memo        memoKey
	role        int  // which of its networks controls: 0 is the first
	patient     bool // the controlling side only opens for longer
	torrents    []torrent
	path        bool // there is one
	mutual      bool // by the word of both
	since       time.Time
	used        time.Time    // when the devices were last seen connected, as if they had been in the beginning
	mute        [2]bool      // this side has told nothing of it in its newest session
	attest      [2]time.Time // when a mute one will have; zero: it has told nothing of anything yet
	told        [2]*control.Punched
	outcome     Outcome
}

func (p *pair) has(who id) bool { return p.a == who || p.b == who }

func (p *pair) other(who id) id {
	if who == p.a {
		return p.b
	}
	return p.a
}

func (p *pair) side(who id) int {
	if who == p.a {
		return 0
	}
	return 1
}

// tried returns the pairs with an attempt or a path in the order of their names, so that the same happens in every run.
func (c *core) tried() []*pair {
	list := slices.Collect(maps.Values(c.attempts))
	slices.SortFunc(list, func(p, q *pair) int { return cmp.Or(cmp.Compare(p.a, q.a), cmp.Compare(p.b, q.b)) })
	return list
}

// doubtful takes that a device that had a path has begun or ended a session: unless somebody vouches for the path in
// time it is over. While a device is away nobody can, so it is not asked before both are back. The one that came tells
// of its paths at once: if it does not, it has begun anew, which the other one notices much later.
func (p *pair) doubtful(now time.Time, side int, online bool) {
	if a := p.attempt; a != nil && a.path {
		a.expires = now.Add(doubt)
		a.mute[side], a.attest[side] = online, time.Time{}
	}
}

// attest has a device that came tell soon of the paths that it has.
func (c *core) attest(now time.Time, who id) {
	for _, p := range c.attempts {
		if p.has(who) && p.attempt.mute[p.side(who)] {
			p.attempt.attest[p.side(who)] = now.Add(telling)
		}
	}
}

// gone reports whether a device that came has told what it has, and not that path.
func (a *attempt) gone(now time.Time) bool {
	for side, at := range a.attest {
		if a.mute[side] && !at.IsZero() && !now.Before(at) {
			return true
		}
	}
	return false
}

// haunt takes that the path of the pair is gone, of which one side knows nothing any more. What the other one tells of connections
// over it is of the past.
func (p *pair) haunt(now time.Time, a *attempt, x, y *device) {
	p.ghosts, p.ghostly = [2]netip.AddrPort{a.remote(0), a.remote(1)}, now.Add(ghostly)
	for _, d := range []*device{x, y} {
		for _, s := range d.shares {
			s.peers = p.seen(now, d.id, s.peers)
		}
	}
}

// seen takes the live connections of one side, and returns them without those that are of the past: one over the path is a word
// for it.
func (p *pair) seen(now time.Time, who id, peers []control.Peer) []control.Peer {
	side := p.side(who)
	if now.Before(p.ghostly) {
		peers = slices.DeleteFunc(peers, func(q control.Peer) bool { return q.Addr == p.ghosts[side] })
	}
	a := p.attempt
	if a == nil || !a.path || a.expires.IsZero() && !a.mute[side] {
		return peers
	}
	if remote := a.remote(side); remote.IsValid() && slices.ContainsFunc(peers, func(q control.Peer) bool { return q.Addr == remote }) {
		a.expires, a.mute[side] = time.Time{}, false
	}
	return peers
}

// remote is where the other side is for one of them, on the path.
func (a *attempt) remote(side int) netip.AddrPort {
	if m := a.told[side]; m != nil && a.path && m.Outcome == control.PunchConnected {
		return m.Remote
	}
	return netip.AddrPort{}
}

// wide reports whether ports are guessed in it: many sockets may be opened, or, where both NATs count, many ports of them taken by
// one, which two such attempts would take from each other.
func (a *attempt) wide() bool { return wide(a.methods) }

func wide(m [2]punch.Method) bool { return m[0] > punch.Predict || m[1] > punch.Predict }

// fresh reports whether another such attempt has other sockets on the side whose ports matter.
func (a *attempt) fresh() bool { return a.methods[0] == punch.Guess || a.methods[0] == punch.Open }

// punched takes what a device says of an attempt.
func (c *core) punched(now time.Time, who id, m control.Punched) {
	if m.Outcome == control.PunchLost {
		c.parted(now, who, m)
	}
	p := c.attempts[m.Attempt]
	if p == nil {
		c.adopt(now, who, m)
		return
	}
	if !p.has(who) {
		return
	}
	a, side := p.attempt, p.side(who)
	if a.told[side] == nil {
		c.devices[who].mapped += a.taken(side, int(m.Others))
	}
	c.devices[who].silent, c.devices[who].deaf = 0, time.Time{}
	if a.told[side] != nil && m.Outcome != control.PunchConnected && m.Tries == nil {
		m.Tries, m.Method, m.Others = a.told[side].Tries, a.told[side].Method, a.told[side].Others
	}
	a.told[side] = &m
	other := a.told[1-side]
	switch m.Outcome {
	case control.PunchConnected:
		a.mute[side], p.ghostly = false, time.Time{}
		if at := a.hosts[1-side]; at.IsValid() && m.Remote.IsValid() && host(m.Remote.Addr()) == at {
			c.elsewhere.answer(now, at, p.other(who))
		}
		if !a.path {
			c.hold(p)
			a.path, a.since, a.used, a.expires = true, now, now, now.Add(doubt)
		}
		if other != nil && other.Outcome == control.PunchConnected {
			a.expires, a.mutual, p.vain = time.Time{}, true, 0
			c.memory.worked(now, a)
		}
	case control.PunchLost:
		if a.path {
			c.end(now, p, Lost)
		}
	default:
		switch {
		case a.path:
			a.expires = now.Add(doubt) // the other one has it alone, and will lose it
		case other != nil:
			c.end(now, p, outcomeOf(a.told[0].Outcome, a.told[1].Outcome))
		}
	}
}

// parted takes that a device's path is lost, and with it the connections that it last told of. Perhaps the other one has told
// so before, and the device refused a relay meanwhile: it does not now.
func (c *core) parted(now time.Time, who id, m control.Punched) {
	d := c.devices[who]
	if d == nil {
		return
	}
	for _, s := range d.shares {
		s.peers = slices.DeleteFunc(s.peers, func(p control.Peer) bool { return p.Addr == m.Remote })
	}
	for _, p := range c.pairs {
		if !p.has(who) {
			continue
		}
		side := p.side(who)
		i := slices.IndexFunc(p.past, func(a attempt) bool { return a.name == m.Attempt })
		if i < 0 || p.past[i].told[side] == nil || p.past[i].told[side].Outcome != control.PunchConnected {
			continue
		}
		p.past[i].told[side] = &m
		for w, r := range c.relays.known {
			if w.key == p.key && !r.on {
				r.brief, r.next = 0, now
			}
		}
	}
}

// outcomeOf is of two that have no path.
func outcomeOf(a, b control.PunchOutcome) Outcome {
	switch {
	case a == control.PunchBusy || b == control.PunchBusy:
		return Busy
	case a == control.PunchImpossible && b == control.PunchImpossible:
		return Impossible
	}
	return Failed
}

// expire ends an attempt of which nothing more was told, and a path that nobody has vouched for or that is not used.
func (c *core) expire(now time.Time, p *pair) {
	a := p.attempt
	if x, y := c.devices[p.a], c.devices[p.b]; a.path {
		if !x.online || !y.online || c.connects(x, y) {
			a.used = now
		} else if now.Sub(a.used) >= unused {
			c.end(now, p, Unused)
			return
		}
	}
	if x, y := c.devices[p.a], c.devices[p.b]; a.path && a.gone(now) && x.online && y.online {
		p.haunt(now, a, x, y)
		c.end(now, p, Lost)
		if a.mutual && p.brief <= 1 {
			p.next = now
		}
		return
	}
	if a.expires.IsZero() || now.Before(a.expires) {
		return
	}
	if a.path {
		if !c.devices[p.a].online || !c.devices[p.b].online {
			a.expires = now.Add(doubt) // paths stay when the surrogate is not heard from; nobody can be asked for another
			return
		}
		c.end(now, p, Lost)
		return
	}
	o := Failed
	for side, who := range []id{p.a, p.b} {
		if a.told[side] != nil {
			continue
		}
		o = Silent
		if d := c.devices[who]; d.online && d.since.Before(a.began) {
			if d.silent++; d.silent >= maxSilent {
				d.deaf = now.Add(maxRest)
			}
		}
	}
	c.end(now, p, o)
}

// hold counts that an attempt under way has become a path.
func (c *core) hold(p *pair) {
	c.release(p)
	for _, who := range []id{p.a, p.b} {
		c.devices[who].paths++
	}
}

// release takes an attempt or a path off the devices' accounts.
func (c *core) release(p *pair) {
	for _, who := range []id{p.a, p.b} {
		d := c.devices[who]
		if p.attempt.path {
			d.paths--
			continue
		}
		d.attempts--
		if p.attempt.wide() {
			d.wide--
		}
	}
}

// end takes that an attempt or a path is over, and says when the next one may begin.
func (c *core) end(now time.Time, p *pair, o Outcome) {
	a := p.attempt
	c.release(p)
	delete(c.attempts, a.name)
	a.outcome = o
	p.attempt, p.ended = nil, now
	p.remember(*a)
	switch {
	case o == Busy:
		p.vain++
		if p.next = now.Add(busyRest); p.vain > 1 || a.told[0].Outcome != a.told[1].Outcome { // the other one's packets have left their marks
			p.next = now.Add(c.rest(p.failures+p.vain, false))
		}
	case (o == Lost || o == Unused) && (a.mutual || now.Sub(a.since) >= lasting):
		p.failures = 0
		if p.brief++; now.Sub(a.since) >= lasting {
			p.brief = 0
		}
		if p.next = now.Add(again); p.brief > 1 {
			p.next = now.Add(c.rest(p.brief-1, false))
		}
	default:
		c.memory.failed(a)
		p.failures++
		p.next = now.Add(c.rest(p.failures+p.vain, a.fresh()))
	}
}

// remember keeps an attempt to be shown.
func (p *pair) remember(a attempt) {
	p.past = append(p.past, a)
	p.past = slices.Clone(p.past[max(0, len(p.past)-maxShown):])
}

// rest is how long a pair waits after so many failures in a row: of those with fresh sockets two follow each other.
func (c *core) rest(failures int, fresh bool) time.Duration {
	if fresh {
		if failures%2 == 1 {
			return soon
		}
		failures /= 2
	}
	var b [1]byte
	c.random(b[:])
	d := min(firstRest<<min(failures-1, 10), maxRest)
	return d + d*time.Duration(b[0])/(256*10) // so that not all of a network that was cut try at once
}
