package punch

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"simplebit/nat"
)

// Outcome is how an attempt stands.
type Outcome uint8

// The outcomes.
const (
	Pending    Outcome = iota
	Connected          // there is a path, which the other side has or will have too unless it breaks now
	Failed             // the deadline passed
	Impossible         // no method could work: nothing was sent
)

// String returns a word for a trace.
func (o Outcome) String() string {
	return [...]string{"pending", "connected", "failed", "impossible"}[o]
}

// Path is a way to the peer: a socket of ours and where the peer is for it.
type Path struct {
	Socket int // 0: the main one
	Remote netip.AddrPort
	RTT    time.Duration
	Size   int // bytes of UDP payload that were tried both ways
}

// LAN reports whether the path stays within a private network.
func (p Path) LAN() bool { return p.Remote.IsValid() && !nat.Public(p.Remote.Addr()) }

// Datagram is one to send.
type Datagram struct {
	Socket int // from 0, the main one, to MaxSockets-1; each other number is a fresh socket
	To     netip.AddrPort
	TTL    int // 0: as the socket has it
	Data   []byte
}

const (
	maxSent    = 4096 // requests of an attempt
	maxReplies = 64   // that wait for Poll
)

// request is one that was sent. Its number is its place.
type request struct {
	pair int16 // guess: none yet
	port uint16
	size uint16
	at   time.Duration // since the machine was made
}

const guess = -1

// reply is an answer that waits for Poll.
type reply struct {
	socket int
	to     netip.AddrPort
	data   []byte
}

// Machine is one side of one attempt. It is not for concurrent use. The times that it is told never go back.
type Machine struct {
	plan    Plan
	method  Method
	codec   codec
	nonce   [nonceSize]byte
	made    time.Time
	start   time.Time
	hold    time.Duration // since the start, until when careful pairs are opened only
	pairs   []pair
	learned [2]int // pairs, of hosts that are not the peer's as far as is known, and of the peer's
	series  []series
	budget  budget
	sent    []request
	asked   [maxSent / 64]uint64 // numbers of the peer's requests that were seen
	replies []reply
	settled time.Time // when the controlling side may choose among what answered; zero: nothing has
	current int       // the pair that is confirmed; none: -1
	hit     bool      // the peer was heard: no more ports need be guessed
	outcome Outcome
	path    Path
	ended   time.Time
}

// New begins an attempt. The seed must be 32 random bytes. The error is about the plan; unusable addresses are left out instead.
func New(now time.Time, p Plan, seed [32]byte) (*Machine, error) {
	if err := p.check(now); err != nil {
		return nil, err
	}
	r := rand.New(rand.NewChaCha8(seed))
	m := &Machine{
		plan: p, method: p.Method(), codec: newCodec(&p), made: now, start: p.Start, hold: p.Hold, current: -1,
		budget: budget{spent: make(map[netip.Addr]int)},
	}
	if m.method > Direct {
		m.budget.observed = p.Observed.Addr()
	}
	binary.BigEndian.PutUint64(m.nonce[:], r.Uint64())
	m.hold += patienceOf(&p)
	if m.method == Hopeless {
		m.outcome, m.ended = Impossible, now
		return m, nil
	}
	m.prepare(r)
	return m, nil
}

// prepare makes the pairs. On a NAT that counts each takes a port, so the address where the peer expects one comes first.
func (m *Machine) prepare(r *rand.Rand) {
	p := &m.plan
	if m.method != Grid && p.Observed.IsValid() {
		m.given(p.Observed, nat.ReflexiveCandidate)
	}
	for _, c := range p.Remote {
		if a := unmap(c.Addr); m.method != Grid || c.Kind != nat.ReflexiveCandidate || a.Addr() != p.Observed.Addr() {
			m.given(a, c.Kind)
		}
	}
	switch m.method {
	case Predict:
		for n := 1; n <= ahead; n++ {
			port := predict(p.Observed.Port(), p.Peer.Step, n)
			m.add(pair{remote: netip.AddrPortFrom(p.Observed.Addr(), port), origin: Predicted, pace: few})
		}
		m.series = sweep(p.Observed.Port(), p.Peer.Step, p.Sockets, p.Probes)
	case Open, Row:
		from := time.Duration(0)
		if m.method == Row {
			from = rowFrom
		}
		for i := 1; i < p.Sockets; i++ {
			m.add(pair{socket: i, remote: p.Observed, pace: bulk, offset: from + time.Duration(i)*rowGap})
		}
	case Guess:
		m.series = []series{shuffled(r, p.Probes, p.Hold)}
	case Grid:
		m.series = grid(p)
	}
}

// given adds an address that the broker gave. No port is translated on the way to private addresses and IPv6, nor is one
// of ours on the way out, and who is open to strangers is not harmed by them: there is nothing to be careful about.
func (m *Machine) given(a netip.AddrPort, kind nat.CandidateKind) {
	p := pair{remote: a, kind: kind}
	if usable(a) && a.Addr().Is4() && nat.Public(a.Addr()) && !open(m.plan.Peer) {
		p.pace = careful
	}
	m.add(p)
}

// add adds a pair that is not there yet, and returns its place, or -1 if there is no room.
func (m *Machine) add(p pair) int {
	if i := m.find(p.socket, p.remote); i >= 0 || !usable(p.remote) || len(m.pairs) == maxPairs {
		return i
	}
	p.ttl = openerTTL(&m.plan, p.remote.Addr())
	m.pairs = append(m.pairs, p)
	return len(m.pairs) - 1
}

func (m *Machine) find(socket int, remote netip.AddrPort) int {
	return slices.IndexFunc(m.pairs, func(p pair) bool { return p.socket == socket && p.remote == remote })
}

// Method returns what the attempt does.
func (m *Machine) Method() Method { return m.method }

// Done returns how the attempt stands, and the path if it is Connected. Poll and Receive are still needed then, so that the
// other side gets its answers, until the Keeper has taken over.
func (m *Machine) Done() (Path, Outcome) { return m.path, m.outcome }

// Ready tells that the peer's openers are out, which its broker may know: this side need not hold back any longer.
func (m *Machine) Ready(now time.Time) { m.release(now) }

// release ends the time of openers.
func (m *Machine) release(now time.Time) { m.hold = min(m.hold, max(0, now.Sub(m.start))) }

// Poll appends what is to be sent now to out. It is called when Wake says so and after Receive.
func (m *Machine) Poll(now time.Time, out []Datagram) []Datagram {
	for _, r := range m.replies {
		out = append(out, Datagram{Socket: r.socket, To: r.to, Data: r.data})
	}
	m.replies = m.replies[:0]
	if m.outcome != Pending || now.Before(m.start) {
		return out
	}
	out = m.confirm(now, out)
	if !now.Before(m.end()) {
		m.outcome, m.ended = Failed, now
		return out
	}
	for i := range m.pairs {
		out = m.probe(now, i, out)
	}
	for i := range m.series {
		out = m.guess(now, &m.series[i], out)
	}
	return out
}

// end is when the attempt has failed. What is being confirmed has a second more.
func (m *Machine) end() time.Time {
	end := m.start.Add(m.plan.Deadline)
	if m.current >= 0 {
		end = end.Add(time.Second)
	}
	return end
}

// probe asks at a pair, or opens it, if it is due.
func (m *Machine) probe(now time.Time, i int, out []Datagram) []Datagram {
	p := &m.pairs[i]
	at, opener, ok := m.due(p)
	if !ok || now.Before(at) {
		return out
	}
	ttl := 0
	switch {
	case p.owed > 0:
		p.owed--
		p.owedNext = now.Add(owedGap)
	case opener:
		p.openers++
		ttl = p.ttl
	default:
		p.probes++
	}
	return m.request(now, i, p.remote, message{}, probeSize, ttl, out)
}

// due is when a pair is asked next.
func (m *Machine) due(p *pair) (at time.Time, opener, ok bool) {
	switch {
	case p.owed > 0:
		return p.owedNext, false, true
	case !p.answered.IsZero() || p.confirmation.failed:
		return at, false, false
	case m.hit && (p.pace == bulk || p.origin == Predicted):
		return at, false, false
	}
	since, opener, ok := p.pace.due(p.offset, m.hold, p.openers, p.probes)
	return m.start.Add(since), opener, ok
}

// guess tries some more ports of a series.
func (m *Machine) guess(now time.Time, s *series, out []Datagram) []Datagram {
	if s.over() || now.Before(m.start.Add(s.next)) || m.hit {
		return out
	}
	ttl := 0
	if s.opener {
		ttl = openerTTL(&m.plan, m.plan.Observed.Addr())
	}
	for range min(s.burst, s.most-s.made) {
		to := netip.AddrPortFrom(m.plan.Observed.Addr(), s.port(s.made))
		s.made++
		out = m.request(now, guess, to, message{}, probeSize, ttl, out)
	}
	s.next = max(s.next+seriesEvery, now.Sub(m.start)) // who was late catches up, a burst at a time
	return out
}

// request sends one, if that address may get it.
func (m *Machine) request(now time.Time, i int, to netip.AddrPort, x message, size, ttl int, out []Datagram) []Datagram {
	if len(m.sent) == maxSent || !m.budget.take(to.Addr()) {
		return out
	}
	socket := 0
	if i != guess {
		socket = m.pairs[i].socket
		if m.pairs[i].first.IsZero() {
			m.pairs[i].first = now
		}
	}
	x.id = newID(m.nonce, uint32(len(m.sent)))
	m.sent = append(m.sent, request{pair: int16(i), port: to.Port(), size: uint16(size), at: now.Sub(m.made)})
	return append(out, Datagram{Socket: socket, To: to, TTL: ttl, Data: m.codec.marshal(x, size)})
}

// Wake is when Poll must be called although nothing came; zero: never.
func (m *Machine) Wake() time.Time {
	switch {
	case len(m.replies) > 0:
		return m.made
	case m.outcome != Pending:
		return time.Time{}
	}
	wake := m.end()
	sooner := func(at time.Time) {
		if at.Before(wake) {
			wake = at
		}
	}
	for i := range m.pairs {
		p := &m.pairs[i]
		if at, _, ok := m.due(p); ok {
			sooner(at)
		}
	}
	if i := m.current; i >= 0 {
		sooner(m.pairs[i].confirmation.next)
	} else if !m.settled.IsZero() {
		sooner(m.settled)
	}
	for i := range m.series {
		if s := &m.series[i]; !s.over() && !m.hit {
			sooner(m.start.Add(s.next))
		}
	}
	if wake.Before(m.start) {
		wake = m.start
	}
	return wake
}
