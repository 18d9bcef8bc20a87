package edgeagent

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"simplebit/nat"
	"simplebit/nat/punch"
	"simplebit/nat/udpmux"
	"simplebit/wire/control"
	"simplebit/wire/dial"
	"simplebit/wire/mse"
	"simplebit/wire/peer"
	"simplebit/wire/utp"
)

// Bounds of what is punched. An attempt sends at most what nat/punch says to anybody who does not answer.
const (
	maxAttempts = 4   // at once
	maxFurther  = 128 // sockets of all attempts, besides the main one
	maxPaths    = 64  // that are kept
	maxAdopted  = 8   // of these, with a socket of their own, which takes half a MiB
	maxArrivals = 256 // datagrams that wait; more are lost
	maxOutcomes = 64  // that wait for the surrogate; older ones are lost
)

// punching makes paths to other devices through NATs, as the surrogate plans them, and keeps them while they are of use. Its
// run owns them; without the surrogate those that are there stay.
type punching struct {
	ports   *ports
	dialer  dial.Dialer // of peers on paths; its transport is each path's
	greet   func(infoHash) (peer.Handshake, bool)
	take    func(*dial.Conn)
	log     *slog.Logger
	changed signal // there are outcomes for the surrogate

	openerTTL func() int                          // as nat/punch wants it; default: it is not known
	connected func(infoHash, netip.AddrPort) bool // whether a torrent has a peer at an address; default: it has

	idle, lookEvery, recallEvery time.Duration // default pathIdle, lookEvery and recallEvery
	now                          func() time.Time

	plans    chan plan
	arrivals chan arrival

	mu       sync.Mutex
	awaited  map[string]struct{} // user names of the other sides' messages
	kept     []kept
	outcomes []control.Punched // that the surrogate was not told
}

// plan is what the surrogate asked for, and when.
type plan struct {
	control.Punch
	came time.Time
}

// arrival is a datagram of an attempt or a path.
type arrival struct {
	name string
	via  *udpmux.Socket
	from netip.AddrPort
	data []byte
}

// kept is a path for those who ask.
type kept struct {
	via    *udpmux.Socket
	remote netip.AddrPort
	report control.Punched
	since  time.Time
	plan   plan
}

// newPunching makes one whose peers get our handshake for a torrent from greet, which is not ok where that does not run, and
// whose connections go to take.
func newPunching(cfg Config, p *ports, greet func(infoHash) (h peer.Handshake, ok bool), take func(*dial.Conn)) *punching {
	return &punching{
		ports: p, dialer: dial.Dialer{NoTCP: true, Encryption: cfg.Encryption, Connect: callTime}, greet: greet, take: take,
		log: cfg.Log, changed: make(signal, 1), plans: make(chan plan, maxAttempts), arrivals: make(chan arrival, maxArrivals),
		awaited: make(map[string]struct{}), idle: pathIdle, lookEvery: lookEvery, recallEvery: recallEvery, now: time.Now,
		openerTTL: func() int { return 0 }, connected: func(infoHash, netip.AddrPort) bool { return true },
	}
}

// begin makes an attempt. It does not wait.
func (p *punching) begin(m control.Punch) {
	select {
	case p.plans <- plan{m, p.now()}:
	default:
		p.tell(control.Punched{Attempt: m.Attempt, Outcome: control.PunchBusy, Why: "other attempts are waiting"})
	}
}

// logOf is for what happens to one attempt and its path.
func (p *punching) logOf(m plan) *slog.Logger {
	return p.log.With("attempt", hex.EncodeToString(m.Attempt[:]), "device", m.Peer)
}

// tell has the surrogate told of an outcome.
func (p *punching) tell(m control.Punched) {
	p.mu.Lock()
	if len(p.outcomes) == maxOutcomes {
		p.outcomes = p.outcomes[1:]
	}
	p.outcomes = append(p.outcomes, m)
	p.mu.Unlock()
	p.changed.set()
}

// untold takes the outcomes that the surrogate was not told yet.
func (p *punching) untold() []control.Punched {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.outcomes
	p.outcomes = nil
	return list
}

// all is what a surrogate that may have forgotten everything is to be told: each path that is kept, and what else it was not
// told yet.
func (p *punching) all() []control.Punched {
	list := p.untold()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range p.kept {
		if !slices.ContainsFunc(list, func(m control.Punched) bool { return m.Attempt == k.report.Attempt }) {
			list = append(list, k.report)
		}
	}
	return list
}

// punched reports whether a connection is over one of the paths.
func (p *punching) punched(c *dial.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.kept) == 0 {
		return false
	}
	under := c.Conn
	if encrypted, ok := under.(*mse.Conn); ok {
		under = encrypted.Conn
	}
	u, ok := under.(*utp.Conn)
	if !ok {
		return false
	}
	remote := dial.Remote(u)
	return slices.ContainsFunc(p.kept, func(k kept) bool { return k.via == u.Via() && k.remote == remote })
}

// keeps reports whether there is a path to the device of that name, on which a torrent's peers meet.
func (p *punching) keeps(device string, id infoHash) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.kept, func(k kept) bool { return k.plan.Peer == device && slices.Contains(k.plan.Torrents, id) })
}

// paths is those that are kept.
func (p *punching) paths() []kept {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.kept)
}

// receive takes a run of STUN if it is of an attempt or a path. It is called by the read loops of sockets and does not wait.
func (p *punching) receive(r udpmux.Run) (taken bool) {
	for b := range r.Datagrams() {
		name := sender(b)
		p.mu.Lock()
		_, ok := p.awaited[string(name)]
		p.mu.Unlock()
		if !ok {
			continue
		}
		taken = true
		select {
		case p.arrivals <- arrival{string(name), r.Via, r.From, bytes.Clone(b)}:
		default:
		}
	}
	return taken
}

// await makes the other side's messages ours, as long as forget is not called.
func (p *punching) await(name string) error {
	if err := p.ports.set.Main().Routes().AddPunch(name); err != nil {
		return err
	}
	p.mu.Lock()
	p.awaited[name] = struct{}{}
	p.mu.Unlock()
	return nil
}

func (p *punching) forget(name string) {
	p.ports.set.Main().Routes().RemovePunch(name)
	p.mu.Lock()
	delete(p.awaited, name)
	p.mu.Unlock()
}

// sender is the user name of a message of nat/punch, which is its first attribute (RFC 5389 section 15); nil for others.
func sender(b []byte) []byte {
	const header, attribute, username = 20, 4, 0x0006
	if len(b) < header+attribute || binary.BigEndian.Uint16(b[header:]) != username {
		return nil
	}
	n := int(binary.BigEndian.Uint16(b[header+2:]))
	if b = b[header+attribute:]; n > len(b) {
		return nil
	}
	return b[:n]
}

// punchPlan is the plan in the words of nat/punch. Private addresses are only for a device behind the same public one,
// whatever the surrogate says.
func (p plan) punchPlan() punch.Plan {
	near := p.Self.IsValid() && p.Observed.IsValid() && dial.Host(p.Self.Unmap()) == dial.Host(p.Observed.Addr().Unmap())
	remote := slices.DeleteFunc(slices.Clone(p.Remote), func(c nat.Candidate) bool { return !near && !nat.Public(c.Addr.Addr()) })
	return punch.Plan{
		Attempt: p.Attempt, Key: p.Key, Controlling: p.Controlling, Start: p.came.Add(p.In), Deadline: p.Deadline, Hold: p.Hold,
		Remote: remote, Observed: p.Observed, Self: p.Self, Local: p.Local, Peer: p.Theirs, Try: int(p.Try),
		Sockets: int(p.Sockets), Probes: int(p.Probes),
	}
}

// reportOf is an account of an attempt for the surrogate.
func reportOf(attempt [8]byte, t punch.Trace) control.Punched {
	outcome := map[punch.Outcome]control.PunchOutcome{
		punch.Connected: control.PunchConnected, punch.Failed: control.PunchFailed, punch.Impossible: control.PunchImpossible,
	}[t.Outcome]
	m := control.Punched{
		Attempt: attempt, Outcome: outcome, Remote: t.Path.Remote, LAN: t.Path.LAN(), Socket: uint16(t.Path.Socket), RTT: t.Path.RTT,
		Took: t.Took, Method: t.Method.String(), Why: t.Why, Others: count(t.Others),
	}
	for _, x := range t.Tries[:min(len(t.Tries), control.MaxTries)] {
		m.Tries = append(m.Tries, control.PunchTry{
			Addr: x.Addr, Kind: x.Kind, Began: x.Began, Heard: x.Heard, Answered: x.Answered, Datagrams: count(x.Datagrams),
		})
	}
	return m
}

// mostTried is how many of an attempt's addresses the log names.
const mostTried = 10

// tried says on one line what an attempt tried, in the order in which it began: where, how that was known, when the first
// datagram went there and when it answered, in ms since the beginning, and how many datagrams went there.
func tried(m control.Punched) string {
	moment := func(d time.Duration) string {
		if d < 0 {
			return "never"
		}
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	var parts []string
	for _, x := range m.Tries[:min(len(m.Tries), mostTried)] {
		kind := x.Kind.String()
		if x.Kind == 0 {
			kind = "learned"
		}
		parts = append(parts, fmt.Sprintf("%s %s (began %s, answered %s, %d datagrams)", x.Addr, kind, moment(x.Began), moment(x.Answered), x.Datagrams))
	}
	if more := len(m.Tries) - mostTried; more > 0 {
		parts = append(parts, fmt.Sprintf("%d more", more))
	}
	if m.Others > 0 {
		parts = append(parts, fmt.Sprintf("%d datagrams to guessed ports", m.Others))
	}
	return strings.Join(parts, ", ")
}

func count(n int) uint16 { return uint16(min(n, 1<<16-1)) }
