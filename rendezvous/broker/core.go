package broker

import (
	"slices"
	"time"

	"simplebit/nat"
	"simplebit/wire/control"
)

const (
	settling   = 5 * time.Second  // after the core began: attempts that one before it has begun have ended by then
	networkFor = 10 * time.Second // how long a device that came may take to tell of its network
	glance     = 5 * time.Second  // between looks at where devices are seen, while a pair waits
	maxSilent  = 2                // attempts in a row of which a device tells nothing: then it knows nothing of them, and is asked seldom
)

type (
	id      = control.DeviceID
	torrent = [20]byte
)

// device is a connected device, or one that some pair still counts on.
type device struct {
	id        id
	online    bool
	since     time.Time // when its session began
	from      time.Time // no attempt before: it may have one that the core does not know
	told      bool      // it has told its network in this session
	network   nat.Network
	line      Line
	shares    map[torrent]*share
	silent    int             // attempts of this session of which it told nothing, in a row
	deaf      time.Time       // until when it is not asked, because of that
	attempts  int             // under way
	wide      int             // of those, in which ports are guessed
	paths     int             // that are kept
	pairs     int             // that remember it
	words     int             // that only it has said
	reflexive []nat.Candidate // where others have their paths to it
	mapped    int             // ports that its attempts have taken of a NAT that counts, since it is seen where it is
	public    bool            // it is seen at a public address of IPv4
	outs      outs
	relays    tally
}

// share is a torrent on a device that takes part in its swarm.
type share struct {
	lacks bool
	have  int64
	peers []control.Peer

	supply supply
}

// order is an attempt that a device is to be asked for.
type order struct {
	to    id
	punch control.Punch
}

// core decides. It is not for concurrent use; the times that it is told never go back.
type core struct {
	began     time.Time
	random    func([]byte)               // fills in what nobody can guess
	look      func(id) (l Line, ok bool) // where a device is seen now, if it is connected
	name      func(id) string
	joined    func(id) time.Time
	devices   map[id]*device
	holders   map[torrent]map[id]*device
	pairs     map[key]*pair
	attempts  map[[8]byte]*pair
	words     map[[8]byte]word // of one device so far
	memory    memory
	elsewhere elsewhere
	relays    relays
	tidied    time.Time
}

func newCore(now time.Time, random func([]byte), look func(id) (Line, bool), name func(id) string, joined func(id) time.Time) *core {
	return &core{
		began: now, random: random, look: look, name: name, joined: joined, devices: map[id]*device{}, holders: map[torrent]map[id]*device{},
		pairs: map[key]*pair{}, attempts: map[[8]byte]*pair{}, words: map[[8]byte]word{}, memory: memory{}, elsewhere: elsewhere{},
		relays: relays{known: map[want]*relay{}},
	}
}

// connected takes that a session of the device began, perhaps instead of another, or that it ended.
func (c *core) connected(now time.Time, who id, online bool) {
	d := c.devices[who]
	if d == nil {
		if !online {
			return
		}
		d = &device{id: who, shares: map[torrent]*share{}}
		c.devices[who] = d
	}
	for t := range d.shares {
		c.gone(who, t)
	}
	d.from = c.began.Add(settling)
	if c.joined(who).After(c.began) {
		d.from = now
	}
	d.online, d.since, d.told, d.silent, d.deaf = online, now, false, 0, time.Time{}
	for name, w := range c.words {
		if w.who == who {
			c.forget(name)
		}
	}
	for _, p := range c.pairs {
		if p.has(who) {
			p.doubtful(now, p.side(who), online)
		}
	}
	if !online {
		c.tidy(now)
	}
}

// told takes what a device says of its network.
func (c *core) told(now time.Time, who id, n nat.Network) {
	if d := c.devices[who]; d != nil && d.online {
		if !d.told {
			c.attest(now, who)
		}
		d.told, d.network, d.outs = true, n, outsOf(n.Candidates)
	}
}

// progress takes what a device says of a torrent that some job of its has.
func (c *core) progress(now time.Time, who id, m control.Progress) {
	d := c.devices[who]
	if d == nil || !d.online {
		return
	}
	if m.State != control.StateDownloading && m.State != control.StateSeeding {
		c.gone(who, m.ID)
		return
	}
	s := d.shares[m.ID]
	if s == nil {
		s = &share{}
		d.shares[m.ID] = s
		if c.holders[m.ID] == nil {
			c.holders[m.ID] = map[id]*device{}
		}
		c.holders[m.ID][who] = d
		c.attest(now, who)
	}
	// What is relayed comes from the other device and is no way to it.
	s.peers = slices.DeleteFunc(slices.Clone(m.Peers), func(p control.Peer) bool { return p.Path == relayedPath })
	s.lacks, s.have = m.State == control.StateDownloading, max(m.Have, 0)
	for other := range c.holders[m.ID] {
		if p := c.pairs[keyOf(who, other)]; p != nil {
			s.peers = p.seen(now, who, s.peers)
		}
	}
}

// gone takes that a device takes no part in a torrent any longer.
func (c *core) gone(who id, t torrent) {
	if d := c.devices[who]; d != nil {
		delete(d.shares, t)
	}
	delete(c.holders[t], who)
	if len(c.holders[t]) == 0 {
		delete(c.holders, t)
	}
}

// tidy forgets devices that are not connected and that no pair knows, and pairs that have nothing to remember.
func (c *core) tidy(now time.Time) {
	c.tidied = now
	known := map[id]bool{}
	for k, p := range c.pairs {
		idle := p.attempt == nil && !now.Before(p.next) && now.Sub(p.ended) > maxRest
		if idle && (!c.devices[k.a].online || !c.devices[k.b].online || len(common(c.devices[k.a], c.devices[k.b])) == 0) {
			delete(c.pairs, k)
			c.devices[k.a].pairs--
			c.devices[k.b].pairs--
			continue
		}
		known[k.a], known[k.b] = true, true
	}
	for who, d := range c.devices {
		if !d.online && !known[who] {
			delete(c.devices, who)
		}
	}
	c.memory.forget(now)
	c.elsewhere.forget(now)
}

// glances refreshes where the devices are seen.
func (c *core) glances() {
	for _, d := range c.devices {
		d.reflexive = nil
		if d.online && len(d.shares) > 0 {
			if l, ok := c.look(d.id); ok {
				if l.Observed != d.line.Observed {
					d.mapped = 0
				}
				d.line, d.public = l, l.Observed.Addr().Is4() && nat.Public(l.Observed.Addr())
			}
		}
	}
}

// poll ends what is over and returns the attempts that begin now.
func (c *core) poll(now time.Time) (orders []order) {
	c.glances()
	if now.Sub(c.tidied) >= maxRest {
		c.tidy(now)
	}
	pairs := c.tried()
	for _, p := range pairs {
		c.expire(now, p)
	}
	c.reflect(pairs)
	for _, m := range c.matches(now) {
		if c.free(now, &m) {
			orders = append(orders, c.begin(now, &m)...)
		}
	}
	return orders
}

// wake is when poll must be called again although nothing happened; zero: never.
func (c *core) wake(now time.Time) (at time.Time) {
	sooner := func(t time.Time) {
		if t.After(now) && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	for _, p := range c.pairs {
		if a := p.attempt; a != nil {
			sooner(a.expires)
			sooner(a.used.Add(unused))
			sooner(a.attest[0])
			sooner(a.attest[1])
		} else {
			sooner(p.next)
		}
	}
	for w, r := range c.relays.known {
		if r.on {
			sooner(r.began.Add(relayStay))
			if c.relays.carried != nil {
				sooner(r.looked.Add(relayIdle))
			}
		} else {
			sooner(c.relayAt(w, r))
		}
	}
	for _, holders := range c.holders {
		if len(holders) > 1 {
			sooner(now.Add(glance))
			for _, d := range holders {
				sooner(d.from)
				sooner(d.since.Add(networkFor))
			}
		}
	}
	return at
}
