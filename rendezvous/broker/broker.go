package broker

import (
	"cmp"
	"context"
	"crypto/rand"
	"log/slog"
	"net/netip"
	"time"

	"simplebit/nat"
	"simplebit/wire/control"
)

// Sessions is how devices are reached. Its methods do not wait.
type Sessions interface {
	// Line tells where the device is seen on its session, and the round-trip time, 0 if that is not known; false: it is not
	// connected.
	Line(control.DeviceID) (observed netip.AddrPort, rtt time.Duration, online bool)
	// Punch sends the message, if the device is connected. It may get lost.
	Punch(control.DeviceID, control.Punch)
	// Name is the device's name, for people.
	Name(control.DeviceID) string
	// Joined is when the device was enrolled.
	Joined(control.DeviceID) time.Time
}

// pace is the least time between two decisions: reports of many devices are looked at together.
const pace = 100 * time.Millisecond

// Broker decides about the attempts of all devices. Any goroutine may call its methods; they wait for a decision under way, never
// for the network. Before Run has begun they wait for that, after it has ended they do nothing.
type Broker struct {
	sessions Sessions
	log      *slog.Logger
	inbox    chan func(now time.Time)
	ended    chan struct{}
	core     *core // of Run's goroutine
}

// New returns a Broker that knows no device. A nil log is none.
func New(s Sessions, log *slog.Logger) *Broker {
	return &Broker{
		sessions: s, log: cmp.Or(log, slog.New(slog.DiscardHandler)), inbox: make(chan func(time.Time)), ended: make(chan struct{}),
	}
}

// Run takes reports and sends attempts until ctx ends.
func (b *Broker) Run(ctx context.Context) error {
	defer close(b.ended)
	look := func(who id) (line, bool) {
		observed, rtt, ok := b.sessions.Line(who)
		return line{netip.AddrPortFrom(observed.Addr().Unmap(), observed.Port()), rtt}, ok
	}
	b.core = newCore(time.Now(), func(p []byte) { rand.Read(p) }, look, b.sessions.Name, b.sessions.Joined)
	timer := time.NewTimer(0)
	defer timer.Stop()
	var last time.Time
	for {
		select {
		case f := <-b.inbox:
			now := time.Now()
			f(now)
			timer.Reset(max(0, pace-now.Sub(last)))
		case <-timer.C:
			last = time.Now()
			for _, o := range b.core.poll(last) {
				b.log.Debug("a path is tried", "device", b.sessions.Name(o.to), "peer", o.punch.Peer, "attempt", o.punch.Attempt, "try", o.punch.Try)
				b.sessions.Punch(o.to, o.punch)
			}
			if at := b.core.wake(last); !at.IsZero() {
				timer.Reset(max(pace, at.Sub(last)))
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// post runs f in Run's goroutine.
func (b *Broker) post(f func(now time.Time)) {
	select {
	case b.inbox <- f:
	case <-b.ended:
	}
}

// Connected takes that a session of the device began, perhaps instead of another, or that it ended.
func (b *Broker) Connected(device control.DeviceID, online bool) {
	b.post(func(now time.Time) { b.core.connected(now, device, online) })
}

// Network takes what the device says of its network.
func (b *Broker) Network(device control.DeviceID, n nat.Network) {
	b.post(func(time.Time) { b.core.told(device, n) })
}

// Observed takes what the device says of a torrent. Only a torrent that some job has on the device may be given: those who
// hold it learn each other's addresses.
func (b *Broker) Observed(device control.DeviceID, p control.Progress) {
	b.post(func(now time.Time) { b.core.progress(now, device, p) })
}

// Gone takes that the device does not hold the torrent.
func (b *Broker) Gone(device control.DeviceID, infoHash [20]byte) {
	b.post(func(time.Time) { b.core.gone(device, infoHash) })
}

// Punched takes what the device says of an attempt.
func (b *Broker) Punched(device control.DeviceID, m control.Punched) {
	b.post(func(now time.Time) {
		if p := b.core.attempts[m.Attempt]; p != nil && p.has(device) {
			other := p.a
			if other == device {
				other = p.b
			}
			b.log.Info("a path was tried", "device", b.sessions.Name(device), "peer", b.sessions.Name(other), "outcome", m.Outcome,
				"remote", m.Remote, "took", m.Took, "method", m.Method, "why", m.Why)
		}
		b.core.punched(now, device, m)
	})
}

// Routes tells how the device stands to the others that hold the torrent, in the order of their ids.
func (b *Broker) Routes(device control.DeviceID, infoHash [20]byte) []Route {
	reply := make(chan []Route, 1)
	b.post(func(now time.Time) { reply <- b.core.routes(now, device, infoHash) })
	select {
	case r := <-reply:
		return r
	case <-b.ended:
		return nil
	}
}
