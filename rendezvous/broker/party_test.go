package broker

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"simplebit/integration/natlab/virtual"
	"simplebit/nat"
	"simplebit/nat/punch"
	"simplebit/wire/control"
)

// party is a device: an agent as far as sessions, attempts and connections go.
type party struct {
	*world
	id            id
	place         place
	home, carrier *virtual.NAT
	addr, addr6   netip.Addr
	port, fresh   uint16 // of the main socket, and of the next one of an attempt
	tcp           bool   // control runs over TCP although UDP would work

	delay   time.Duration // between the surrogate and the device, one way
	late    time.Duration // more than that, of what the surrogate sends, which it does not know
	session int           // the number of the session; 0: offline
	count   int           // of sessions
	line    Line
	lacks   bool
	holds   bool
	have    int64 // of 1,000
	efforts []*effort
	untold  []control.Punched // while there was no session
}

// effort is an attempt on one device, and the path that it leads to.
type effort struct {
	control.Punch
	with   *party
	m      *punch.Machine
	k      *punch.Keeper
	first  uint16 // port of the socket after the main one
	woken  time.Time
	direct bool // a connection runs over the path
}

func (p *party) local(x *effort, socket int, to netip.Addr) netip.AddrPort {
	port := p.port
	if socket > 0 {
		port = x.first + uint16(socket)
	}
	if to.Is6() {
		return netip.AddrPortFrom(p.addr6, port)
	}
	return netip.AddrPortFrom(p.addr, port)
}

// seen is where the surrogate sees the main socket, if UDP gets there.
func (p *party) seen() netip.AddrPort {
	for _, s := range surrogates {
		from := p.addr
		if s.Addr().Is6() {
			from = p.addr6
		}
		_, seen, ok := p.internet.Send(p.now, p.home, virtual.Packet{From: netip.AddrPortFrom(from, p.port), To: s})
		if ok {
			return seen.From
		}
	}
	return netip.AddrPort{}
}

// glance has the session show where the device is now.
func (p *party) glance() {
	at := p.seen()
	p.line = Line{at, 2 * p.delay, at.IsValid() && !p.tcp}
	if !p.line.UDP {
		outside := p.home
		if p.carrier != nil {
			outside = p.carrier
		}
		p.line.Observed = netip.AddrPortFrom(outside.External(), 40000)
		if !p.place.four() {
			p.line.Observed = netip.AddrPortFrom(p.addr6, 40000)
		}
	}
}

// join begins a session. What the device tells first is its network, its paths, and its torrent.
func (p *party) join() {
	p.count++
	p.session = p.count
	p.glance()
	p.log("%s joins, seen at %s, UDP %v", p.id, p.line.Observed, p.line.UDP)
	p.core.connected(p.now, p.id, true)
	p.touch()
	p.tellNetwork()
	for _, x := range p.efforts {
		if x.k != nil {
			p.tell(x, control.PunchConnected)
		}
	}
	for _, m := range p.untold {
		p.up(func() { p.core.punched(p.now, p.id, m) })
	}
	p.untold = nil
	p.report(p.session)
}

// cut ends the session, and with it what is relayed; there is another one soon.
func (p *party) cut() {
	if p.session == 0 {
		return
	}
	p.log("%s's session ends", p.id)
	p.session = 0
	p.core.connected(p.now, p.id, false)
	p.touch()
	p.unready(p.id)
	for _, j := range p.joints() {
		j.end("the session has ended")
	}
	p.after(p.between(50*time.Millisecond, 3*time.Second), p.join)
}

func (p *party) tellNetwork() {
	n := nat.Network{Behaviour: p.place.behaviour()}
	if at := p.seen(); at.IsValid() {
		n.Candidates = append(n.Candidates, nat.Candidate{Kind: nat.ReflexiveCandidate, Addr: at})
	}
	if p.place.four() && !nat.Public(p.addr) {
		n.Candidates = append(n.Candidates, nat.Candidate{Kind: nat.HostCandidate, Addr: netip.AddrPortFrom(p.addr, p.port)})
	}
	if p.place.six() {
		n.Candidates = append(n.Candidates, nat.Candidate{Kind: nat.HostCandidate, Addr: netip.AddrPortFrom(p.addr6, p.port)})
	}
	p.up(func() { p.core.told(p.now, p.id, n) })
}

// up delivers a frame to the surrogate, unless the session ends before.
func (p *party) up(take func()) {
	session := p.session
	p.after(p.delay, func() {
		if p.session == session {
			take()
			p.touch()
		}
	})
}

// report tells of the torrent now and then.
func (p *party) report(session int) {
	if p.session != session {
		return
	}
	p.progress()
	if p.crowd {
		p.grow()
	}
	p.after(2*time.Second, func() { p.glanceAgain(session); p.report(session) })
}

func (p *party) glanceAgain(session int) {
	if p.session == session {
		p.glance()
	}
}

func (p *party) progress() {
	if p.session == 0 || !p.holds {
		return
	}
	m := control.Progress{ID: torrent{1}, State: control.StateSeeding, Have: 1000}
	if p.lacks {
		m.State, m.Have = control.StateDownloading, p.have
	}
	for _, x := range p.efforts {
		if x.direct {
			m.Peers = append(m.Peers, control.Peer{Addr: x.k.Path().Remote, Transport: "utp", Path: "punched"})
		}
	}
	for _, j := range p.joints() {
		if other := p.other(j.want); j.joined {
			m.Peers = append(m.Peers, control.Peer{Addr: other.line.Observed, Transport: "quic", Path: relayedPath})
		}
	}
	p.up(func() { p.core.progress(p.now, p.id, m); p.readied(p) })
}

// grow has the device get what those have with whom it is connected.
func (p *party) grow() {
	if !p.lacks {
		return
	}
	before := p.have
	for _, x := range p.efforts {
		if x.direct {
			p.have = max(p.have, min(before+50, x.with.amount()))
		}
	}
	for _, j := range p.joints() {
		if other := p.other(j.want); j.joined {
			p.have = max(p.have, min(before+20, other.amount()))
		}
	}
	if p.lacks = p.have < 1000; !p.lacks {
		p.log("%s has all", p.id)
	}
}

// amount is how much of the torrent the device has.
func (p *party) amount() int64 {
	if p.lacks {
		return p.have
	}
	return 1000
}

// joints are the device's relayed connections, in an order that is the same each time.
func (p *party) joints() (all []*joint) {
	for w, j := range p.relays {
		if w.a == p.id || w.b == p.id {
			all = append(all, j)
		}
	}
	slices.SortFunc(all, func(x, y *joint) int { return cmp.Or(cmp.Compare(x.a, y.a), cmp.Compare(x.b, y.b)) })
	return all
}

// other is who a pair has beside the device, if it is of the pair.
func (p *party) other(w want) *party {
	switch p.id {
	case w.a:
		return p.party(w.b)
	case w.b:
		return p.party(w.a)
	}
	return nil
}

// take is told of an attempt.
func (p *party) take(m control.Punch) {
	x := &effort{Punch: m, with: p.party(id(m.Peer)), first: p.fresh}
	p.fresh += punch.MaxSockets
	if p.fresh > 60000 {
		p.fresh = 20000
	}
	var seed [32]byte
	binary.BigEndian.PutUint64(seed[:], p.random.Uint64())
	ttl := 2 // as discovery finds out
	if p.carrier != nil {
		ttl = 3
	}
	var err error
	near := host(m.Self) == host(m.Observed.Addr()) // else the agent takes no private address, whatever the surrogate says
	remote := slices.DeleteFunc(slices.Clone(m.Remote), func(c nat.Candidate) bool { return !near && !nat.Public(c.Addr.Addr()) })
	x.m, err = punch.New(p.now, punch.Plan{
		Attempt: m.Attempt, Key: m.Key, Controlling: m.Controlling, Start: p.now.Add(m.In), Deadline: m.Deadline, Hold: m.Hold,
		Remote: remote, Observed: m.Observed, Self: m.Self, Local: m.Local, Peer: m.Theirs, Try: int(m.Try), OpenerTTL: ttl,
	}, seed)
	if err != nil {
		p.fail("%+v: %v", m, err)
		return
	}
	p.log("%s tries %x with %s: %s, controlling %v, try %d", p.id, m.Attempt[:2], m.Peer, x.m.Method(), m.Controlling, m.Try)
	p.efforts = append(p.efforts, x)
	p.drive(x)
}

func (p *party) receive(packet virtual.Packet, b []byte) {
	for _, x := range slices.Clone(p.efforts) {
		socket := 0
		if packet.To.Port() != p.port {
			if socket = int(packet.To.Port()) - int(x.first); socket <= 0 || socket >= punch.MaxSockets {
				continue
			}
		}
		if x.k != nil {
			x.k.Receive(p.now, socket, packet.From, b)
		} else {
			x.m.Receive(p.now, socket, packet.From, b)
		}
		p.drive(x)
	}
}

// drive sends what is due, and has the device woken.
func (p *party) drive(x *effort) {
	var out []punch.Datagram
	var wake time.Time
	if x.k == nil {
		for range 100 {
			before := len(out)
			out = x.m.Poll(p.now, out)
			if wake = x.m.Wake(); len(out) == before || wake.IsZero() || wake.After(p.now) {
				break
			}
		}
		switch _, outcome := x.m.Done(); outcome {
		case punch.Connected:
			x.k = x.m.Keeper(p.now)
			p.log("%s has a path to %s at %s", p.id, x.with.id, x.k.Path().Remote)
			p.tell(x, control.PunchConnected)
			p.dial(x)
		case punch.Failed:
			p.drop(x, control.PunchFailed)
		case punch.Impossible:
			p.drop(x, control.PunchImpossible)
		}
	}
	if x.k != nil {
		if x.k.Lost(p.now) {
			p.drop(x, control.PunchLost)
			return
		}
		out, wake = x.k.Poll(p.now, out), x.k.Wake()
	}
	for _, g := range out {
		p.world.send(p, x, g)
	}
	if x.woken = wake; !wake.IsZero() {
		p.at(wake, func() {
			if x.woken == wake && slices.Contains(p.efforts, x) {
				p.drive(x)
			}
		})
	}
}

// drop gives an attempt or a path up.
func (p *party) drop(x *effort, o control.PunchOutcome) {
	p.efforts = slices.DeleteFunc(p.efforts, func(y *effort) bool { return y == x })
	if x.woken = (time.Time{}); x.k != nil {
		p.parting(p, x.with)
	}
	p.log("%s: %x is %s", p.id, x.Attempt[:2], o)
	p.tell(x, o)
}

func (p *party) tell(x *effort, o control.PunchOutcome) {
	m := control.Punched{Attempt: x.Attempt, Outcome: o, Others: uint16(x.m.Trace(p.now).Others)}
	if x.k != nil {
		m.Remote = x.k.Path().Remote
	}
	if p.session == 0 {
		p.untold = append(p.untold, m)
		return
	}
	p.up(func() { p.core.punched(p.now, p.id, m) })
}

// dial makes a connection over a path, once the other side has it too.
func (p *party) dial(x *effort) {
	p.after(3*p.latency, func() {
		if !slices.Contains(p.efforts, x) || x.direct {
			return
		}
		for _, y := range x.with.efforts {
			if y.Attempt == x.Attempt && y.k != nil {
				x.direct, y.direct = true, true
				p.log("%s and %s are connected", p.id, x.with.id)
				p.progress()
				x.with.progress()
				if j := p.relays[want{keyOf(p.id, x.with.id), torrent{1}}]; j != nil {
					j.drain()
				}
				return
			}
		}
		p.dial(x)
	})
}

// path reports whether the device keeps one to the other.
func (p *party) path(to *party) bool {
	return slices.ContainsFunc(p.efforts, func(x *effort) bool { return x.with == to && x.k != nil })
}

// direct reports whether it has a connection to the other, as far as it knows.
func (p *party) direct(to *party) bool {
	return slices.ContainsFunc(p.efforts, func(x *effort) bool { return x.with == to && x.direct })
}
