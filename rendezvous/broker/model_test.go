package broker

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"simplebit/nat"
	"simplebit/wire/control"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// model is devices, what lies between them and the broker, and the broker's core, in virtual time. Frames are delayed, asking for
// an attempt may be lost, sessions are cut, devices and the surrogate are killed, and networks change.
type model struct {
	random  *rand.Rand
	now     time.Time
	core    *core
	agents  []*agent
	events  []event
	calm    bool
	trace   []string
	fault   string
	started int
}

type event struct {
	at time.Time
	do func()
}

// agent is a device as it is.
type agent struct {
	id      id
	host    byte
	port    uint16
	hard    bool // its network gives a random port to each
	session int  // the number of the session; 0: offline
	life    int  // the number of its life
	have    map[torrent]bool
	running map[[8]byte]*run
	paths   map[[8]byte]*run
}

// run is an attempt on one device.
type run struct {
	control.Punch
	with  *agent
	began bool
	lost  bool
	idle  int // looks, one after the other, at which no connection used the path
}

func newModel(seed uint64) *model {
	m := &model{random: rand.New(rand.NewPCG(seed, 5)), now: noon}
	m.core = m.newCore()
	for i := range 3 + m.random.IntN(3) {
		a := &agent{id: id(fmt.Sprintf("device%d", i)), host: byte(10 + i), port: 6882, hard: m.random.IntN(4) == 0, have: map[torrent]bool{}}
		for t := range byte(2) {
			if m.random.IntN(3) > 0 {
				a.have[torrent{t + 1}] = m.random.IntN(3) == 0
			}
		}
		m.agents = append(m.agents, a)
		m.revive(a)
	}
	return m
}

func (m *model) newCore() *core {
	fill := func(b []byte) {
		for i := range b {
			b[i] = byte(m.random.Uint32())
		}
	}
	c := newCore(m.now, fill, func(who id) (Line, bool) {
		a := m.agent(who)
		return Line{a.at(), time.Duration(10+a.host) * time.Millisecond, true}, a.session != 0
	}, func(who id) string { return string(who) }, before)
	c.relays.limit(usual)
	return c
}

// before is when devices joined: before the core began.
func before(id) time.Time { return noon.Add(-time.Hour) }

func (m *model) agent(who id) *agent {
	i := slices.IndexFunc(m.agents, func(a *agent) bool { return a.id == who })
	return m.agents[i]
}

func (a *agent) at() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, a.host}), a.port)
}

func (a *agent) network() nat.Network {
	b := nat.Behaviour{Public: nat.No, Mapping: nat.EndpointIndependent, Filtering: nat.AddressAndPortDependent}
	if a.hard {
		b.Mapping = nat.AddressAndPortDependent
	}
	return nat.Network{Behaviour: b, Candidates: []nat.Candidate{{Kind: nat.ReflexiveCandidate, Addr: a.at()}}}
}

func (m *model) log(format string, args ...any) {
	m.trace = append(m.trace, m.now.Sub(noon).String()+" "+fmt.Sprintf(format, args...))
}

func (m *model) fail(format string, args ...any) {
	if m.fault == "" {
		m.fault = fmt.Sprintf(format, args...)
		m.log("FAULT %s", m.fault)
	}
}

// after lets something happen later.
func (m *model) after(d time.Duration, do func()) {
	m.events = append(m.events, event{m.now.Add(d), do})
}

func (m *model) delay() time.Duration { return time.Duration(1+m.random.IntN(80)) * time.Millisecond }

// revive begins a new life of a device.
func (m *model) revive(a *agent) {
	m.log("%s begins", a.id)
	a.life++
	a.running, a.paths = map[[8]byte]*run{}, map[[8]byte]*run{}
	m.cut(a)
}

// cut ends the session of a device, which comes again soon.
func (m *model) cut(a *agent) {
	if a.session != 0 {
		a.session = 0
		m.core.connected(m.now, a.id, false)
	}
	life := a.life
	m.after(time.Duration(100+m.random.IntN(8000))*time.Millisecond, func() {
		if a.life == life && a.session == 0 {
			m.join(a)
		}
	})
}

var sessions int

func (m *model) join(a *agent) {
	sessions++
	a.session = sessions
	m.core.connected(m.now, a.id, true)
	m.up(a, "network", func() { m.core.told(m.now, a.id, a.network()) })
	for _, name := range slices.SortedFunc(maps.Keys(a.paths), func(x, y [8]byte) int { return slices.Compare(x[:], y[:]) }) {
		m.tell(a, a.paths[name], control.PunchConnected)
	}
	m.reports(a, a.session)
}

// reports tells the progress now and every few seconds.
func (m *model) reports(a *agent, session int) {
	if a.session != session {
		return
	}
	for _, t := range []torrent{{1}, {2}} {
		if complete, holds := a.have[t]; holds {
			p := control.Progress{ID: t, State: control.StateDownloading}
			if complete {
				p.State, p.Have = control.StateSeeding, 1000
			}
			for _, r := range a.paths {
				if slices.Contains(r.Torrents, t) && !r.lost && a.wants(r.with, t) {
					p.Peers = append(p.Peers, control.Peer{Addr: r.with.at(), Transport: "utp", Path: "punched"})
				}
			}
			m.up(a, "progress", func() { m.core.progress(m.now, a.id, p) })
		}
	}
	every := 3 * time.Second
	if m.calm {
		every = time.Minute
	}
	m.after(every, func() { m.reports(a, session) })
}

// up delivers a frame of a device, unless the session ends before.
func (m *model) up(a *agent, what string, take func()) {
	session := a.session
	m.after(40*time.Millisecond, func() {
		if a.session == session {
			take()
		} else {
			m.log("%s's %s is lost", a.id, what)
		}
	})
}

func (m *model) tell(a *agent, r *run, o control.PunchOutcome) {
	told := control.Punched{Attempt: r.Attempt, Outcome: o}
	if o == control.PunchConnected || o == control.PunchLost {
		told.Remote = r.with.at()
	}
	m.log("%s tells %x %s", a.id, r.Attempt[:2], o)
	m.up(a, "result", func() { m.core.punched(m.now, a.id, told) })
}

// down delivers an attempt to a device.
func (m *model) down(o order) {
	a, session := m.agent(o.to), m.agent(o.to).session
	if session == 0 {
		m.fail("%s is asked while it is offline", o.to)
		return
	}
	if !m.calm && m.random.IntN(10) == 0 {
		m.log("%s is not told of %x", o.to, o.punch.Attempt[:2])
		return
	}
	m.after(m.delay(), func() {
		if a.session == session {
			m.take(a, o.punch)
		}
	})
}

// take is the agent that begins an attempt.
func (m *model) take(a *agent, p control.Punch) {
	r := &run{Punch: p, with: m.agent(id(p.Peer))}
	for _, other := range a.running {
		if other.with == r.with {
			m.fail("%s has two attempts with %s: %x and %x", a.id, p.Peer, other.Attempt[:2], p.Attempt[:2])
		}
	}
	if len(a.running) >= maxAttempts {
		m.fail("%s has %d attempts", a.id, len(a.running)+1)
	}
	m.started++
	m.log("%s takes %x with %s, try %d", a.id, p.Attempt[:2], p.Peer, p.Try)
	a.running[p.Attempt] = r
	life := a.life
	m.after(p.In, func() {
		if r.began = true; a.life == life && a.running[p.Attempt] == r {
			m.meet(a, r)
		}
	})
	m.after(p.In+p.Deadline, func() {
		if a.life == life && a.running[p.Attempt] == r {
			delete(a.running, p.Attempt)
			m.tell(a, r, control.PunchFailed)
		}
	})
}

// meet connects both sides once both have begun, most of the time.
func (m *model) meet(a *agent, r *run) {
	other := r.with.running[r.Attempt]
	if other == nil || !other.began || !m.calm && m.random.IntN(4) == 0 {
		return
	}
	if r.Key != other.Key || r.Controlling == other.Controlling || r.In < 0 || other.In < 0 || !slices.Equal(r.Torrents, other.Torrents) {
		m.fail("%+v does not go with %+v", r.Punch, other.Punch)
	}
	for _, side := range []struct {
		*agent
		*run
	}{{a, r}, {r.with, other}} {
		delete(side.running, r.Attempt)
		side.paths[r.Attempt] = side.run
		m.tell(side.agent, side.run, control.PunchConnected)
		m.keep(side.agent, side.run)
	}
}

// keep notices in time when a path is silent.
func (m *model) keep(a *agent, r *run) {
	life := a.life
	m.after(5*time.Second, func() {
		if a.life != life || a.paths[r.Attempt] != r {
			return
		}
		if r.idle++; slices.ContainsFunc(r.Torrents, func(t torrent) bool { return a.wants(r.with, t) }) {
			r.idle = 0
		}
		if r.idle == 24 {
			m.log("%s drops %x, which is not used", a.id, r.Attempt[:2])
			delete(a.paths, r.Attempt)
			return
		}
		if there := r.with.paths[r.Attempt]; there != nil && !there.lost && !r.lost {
			m.keep(a, r)
			return
		}
		m.after(10*time.Second, func() {
			if a.life == life && a.paths[r.Attempt] == r {
				delete(a.paths, r.Attempt)
				m.tell(a, r, control.PunchLost)
			}
		})
	})
}

// wants reports whether the two would be connected for the torrent.
func (a *agent) wants(b *agent, t torrent) bool {
	x, holds := a.have[t]
	y, too := b.have[t]
	return holds && too && !(x && y)
}

// disturb lets something go wrong, or somebody change their mind.
func (m *model) disturb() {
	a := m.agents[m.random.IntN(len(m.agents))]
	t := torrent{byte(1 + m.random.IntN(2))}
	switch m.random.IntN(9) {
	case 0, 1:
		m.log("%s's session is cut", a.id)
		m.cut(a)
	case 2:
		m.revive(a)
		if b := m.agents[m.random.IntN(len(m.agents))]; m.random.IntN(3) == 0 && a != b { // a blackout
			m.revive(b)
		}
	case 3:
		m.log("%s is seen elsewhere", a.id)
		a.port++
		m.sever(a)
	case 4:
		m.log("%s has another network", a.id)
		a.hard = !a.hard
		m.sever(a)
		if a.session != 0 {
			m.up(a, "network", func() { m.core.told(m.now, a.id, a.network()) })
		}
	case 5:
		m.log("%s's paths break", a.id)
		m.sever(a)
	case 6:
		if m.random.IntN(6) > 0 {
			return // or little of what went wrong before would matter
		}
		m.log("the surrogate is killed")
		m.core = m.newCore()
		for _, b := range m.agents {
			b.session = 0
			m.cut(b)
		}
	case 7:
		m.log("%s completes %x", a.id, t[:1])
		if _, holds := a.have[t]; holds {
			a.have[t] = true
		}
	case 8: // added, or removed
		if _, holds := a.have[t]; holds {
			delete(a.have, t)
			if a.session != 0 {
				m.up(a, "gone", func() { m.core.gone(a.id, t) })
			}
		} else {
			a.have[t] = false
		}
	}
}

// sever breaks the paths of a device, which nobody tells.
func (m *model) sever(a *agent) {
	for _, r := range a.paths {
		r.lost = true
	}
}

// run lets time pass.
func (m *model) run(until time.Time) {
	for m.fault == "" {
		slices.SortStableFunc(m.events, func(a, b event) int { return a.at.Compare(b.at) })
		next := until
		if len(m.events) > 0 && m.events[0].at.Before(next) {
			next = m.events[0].at
		}
		if at := m.core.wake(m.now); !at.IsZero() && at.Before(next) {
			next = at
		}
		m.now = next
		if !next.Before(until) {
			return
		}
		for len(m.events) > 0 && !m.events[0].at.After(m.now) {
			do := m.events[0].do
			m.events = m.events[1:]
			do()
		}
		for _, o := range m.core.poll(m.now) {
			m.down(o)
		}
		m.audit()
	}
}

// audit compares the devices' accounts with the attempts.
func (m *model) audit() {
	if err := m.core.audit(); err != nil {
		m.fail("%v", err)
	}
}

// settled says which pair is not as it should be when nothing goes wrong any longer.
func (m *model) settled() error {
	for i, a := range m.agents {
		for _, b := range m.agents[:i] {
			for t := range a.have {
				if !a.wants(b, t) {
					continue
				}
				n := 0
				for name, r := range a.paths {
					if r.with == b && b.paths[name] != nil && slices.Contains(r.Torrents, t) && !r.lost && !b.paths[name].lost {
						n++
					}
				}
				if hopeless := a.hard && b.hard; hopeless != (n == 0) {
					return fmt.Errorf("%s and %s have %d paths for %x", a.id, b.id, n, t[:1])
				}
			}
		}
	}
	return nil
}

func TestDevicesGetPathsWhateverHappensMeanwhile(t *testing.T) {
	for seed := range uint64(50) {
		m := newModel(seed)
		for range 20 + m.random.IntN(40) {
			m.run(m.now.Add(time.Duration(m.random.ExpFloat64() * float64(12*time.Second))))
			m.disturb()
		}
		m.log("calm")
		m.calm = true
		m.run(m.now.Add(2 * maxRest))
		if err := m.settled(); m.fault == "" && err != nil {
			m.fail("%v", err)
		}
		started := m.started
		if m.run(m.now.Add(2 * maxRest)); m.started != started {
			m.fail("attempts are made although all is well")
		}
		if m.fault != "" {
			t.Fatalf("seed %d: %s\n%s", seed, m.fault, strings.Join(m.trace[max(0, len(m.trace)-120):], "\n"))
		}
	}
}
