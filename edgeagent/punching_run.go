package edgeagent

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"simplebit/nat/punch"
	"simplebit/nat/udpmux"
	"simplebit/wire/control"
)

// puncher is what run owns. Attempts and paths have the user name of the other side's messages as key.
type puncher struct {
	*punching
	tasks    sync.WaitGroup
	attempts map[string]*attempt
	paths    map[string]*path
	further  int                     // sockets that attempts have open
	adopted  map[*udpmux.Socket]uint // sockets that paths have: how many paths and attempts each serves
	answered chan answered
	out      []punch.Datagram
}

// attempt is one that is not decided yet.
type attempt struct {
	plan
	machine *punch.Machine
	sockets [punch.MaxSockets]*udpmux.Socket // by number, the main one first; nil: not open
	lent    *udpmux.Socket                   // of these, the one of a path that there is; nil: none
}

// run makes and keeps paths until ctx ends, and closes them then.
func (p *punching) run(ctx context.Context) error {
	w := &puncher{
		punching: p, attempts: make(map[string]*attempt), paths: make(map[string]*path), adopted: make(map[*udpmux.Socket]uint),
		answered: make(chan answered),
	}
	defer w.end()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		w.drive(ctx, w.now())
		timer.Stop()
		if at := w.wake(); !at.IsZero() {
			timer.Reset(max(at.Sub(w.now()), time.Millisecond))
		}
		select {
		case m := <-p.plans:
			w.start(w.now(), m)
		case a := <-p.arrivals:
			w.hear(a)
		case a := <-w.answered:
			w.called(w.now(), a)
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// start begins an attempt, or tells why not.
func (w *puncher) start(now time.Time, m plan) {
	plan := m.punchPlan()
	plan.OpenerTTL = w.openerTTL()
	name := plan.Expect()
	if w.attempts[name] != nil || w.paths[name] != nil {
		return // it was sent twice
	}
	refuse := func(o control.PunchOutcome, why string) {
		w.logOf(m).Info("no attempt at a path to a device", "why", why)
		w.tell(control.Punched{Attempt: m.Attempt, Outcome: o, Why: why})
	}
	switch {
	case w.ports.utp == nil:
		refuse(control.PunchImpossible, "this device does not use uTP: see --transport")
		return
	case len(w.attempts) == maxAttempts:
		refuse(control.PunchBusy, "other attempts are under way")
		return
	case len(w.paths)+len(w.attempts) >= maxPaths:
		refuse(control.PunchBusy, "this device keeps as many paths as it can")
		return
	}
	have := w.latest(now, m.Peer)
	if have != nil {
		have.hint(&plan)
	}
	var seed [32]byte
	rand.Read(seed[:])
	machine, err := punch.New(now, plan, seed)
	if err == nil {
		err = w.await(name)
	}
	if err != nil {
		refuse(control.PunchFailed, err.Error())
		return
	}
	a := &attempt{plan: m, machine: machine}
	a.sockets[0] = w.ports.set.Main()
	if have != nil {
		w.over(now, a, have)
	}
	w.attempts[name] = a
	w.logOf(m).Debug("attempt at a path to a device begins", "controlling", m.Controlling, "try", m.Try, "method", machine.Method(),
		"in", m.In.String())
}

// hear takes a datagram, and all that wait.
func (w *puncher) hear(a arrival) {
	for {
		now := w.now()
		if at := w.attempts[a.name]; at != nil {
			if n := at.number(a.via); n >= 0 {
				at.machine.Receive(now, n, a.from, a.data)
			}
		} else if p := w.paths[a.name]; p != nil && p.via == a.via {
			p.keeper.Receive(now, p.keeper.Path().Socket, a.from, a.data)
		}
		select {
		case a = <-w.arrivals:
		default:
			return
		}
	}
}

// number is a socket's; -1: it is none of the attempt's.
func (a *attempt) number(s *udpmux.Socket) int {
	for n, have := range a.sockets {
		if have == s {
			return n
		}
	}
	return -1
}

// drive does what has become due.
func (w *puncher) drive(ctx context.Context, now time.Time) {
	for name, a := range w.attempts {
		w.out = a.machine.Poll(now, w.out[:0])
		for _, d := range w.out {
			if s := w.socket(ctx, a, d.Socket); s != nil {
				send(s, d)
			}
		}
		if _, outcome := a.machine.Done(); outcome != punch.Pending {
			w.finish(now, name, a)
		}
	}
	for name, p := range w.paths {
		w.mind(ctx, now, name, p)
	}
}

// send sends one datagram. What cannot be sent is lost: there is no route to every address.
func send(s *udpmux.Socket, d punch.Datagram) {
	if d.TTL > 0 {
		_ = s.SendTTL(d.To, d.Data, d.TTL)
		return
	}
	_ = s.Send(d.To, d.Data, 0)
}

// socket is one of an attempt's, opened when it is first needed; nil: there are too many.
func (w *puncher) socket(ctx context.Context, a *attempt, n int) *udpmux.Socket {
	if a.sockets[n] == nil && w.further < maxFurther {
		s, err := w.ports.set.Open(ctx)
		if err != nil {
			w.logOf(a.plan).Debug("no further socket for an attempt", "number", n, "err", err)
			return nil
		}
		a.sockets[n] = s
		w.further++
	}
	return a.sockets[n]
}

// wake is when something will be due; zero: never.
func (w *puncher) wake() (at time.Time) {
	sooner := func(t time.Time) {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	for _, a := range w.attempts {
		sooner(a.machine.Wake())
	}
	for _, p := range w.paths {
		sooner(p.wake())
	}
	return at
}

// finish ends an attempt: what was found is kept, and its other sockets are closed.
func (w *puncher) finish(now time.Time, name string, a *attempt) {
	delete(w.attempts, name)
	t := a.machine.Trace(now)
	report := reportOf(a.Attempt, t)
	keeps := -1
	if t.Outcome == punch.Connected {
		keeps = t.Path.Socket
		if err := w.keep(now, name, a, report); err != nil {
			keeps = -1
			report.Outcome, report.Why = control.PunchFailed, "the path cannot be kept: "+err.Error()
		}
	}
	w.unlend(a)
	for n, s := range a.sockets[1:] {
		if s == nil {
			continue
		}
		w.further--
		if n+1 != keeps {
			s.Close()
		}
	}
	if keeps < 0 {
		w.forget(name)
	}
	w.logOf(a.plan).Info("attempt at a path to a device", "outcome", report.Outcome, "remote", report.Remote, "socket", report.Socket,
		"took", report.Took.Round(time.Millisecond).String(), "method", report.Method, "why", report.Why, "tried", tried(report))
	w.tell(report)
}

// end closes everything.
func (w *puncher) end() {
	for name, a := range w.attempts {
		w.forget(name)
		w.unlend(a)
		for _, s := range a.sockets[1:] {
			if s != nil {
				s.Close()
			}
		}
	}
	for name, p := range w.paths {
		w.drop(name, p)
	}
	w.tasks.Wait()
}
