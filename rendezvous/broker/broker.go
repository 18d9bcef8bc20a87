package broker

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"net/netip"
	"time"

	"simplebit/nat"
	"simplebit/wire/control"
)

// Line is what a device's session shows of the way to it.
type Line struct {
	Observed netip.AddrPort // where the device is seen
	RTT      time.Duration  // 0: not known
	UDP      bool           // the session runs over QUIC: where it has to use TCP, no UDP reaches the device
}

// Sessions is how devices are reached. Its methods do not wait, and must not call the Broker.
type Sessions interface {
	// Line tells how the device is connected; false: it is not.
	Line(control.DeviceID) (l Line, online bool)
	// Punch sends the message, if the device is connected. It may get lost.
	Punch(control.DeviceID, control.Punch)
	// Relay begins a relayed connection of two devices for a torrent; a sends its handshake first. Broker.Relayed must be
	// called once for each, when it has ended or could not begin: until then it counts, and the two get no other one.
	Relay(a, b control.DeviceID, torrent [20]byte)
	// Unrelay ends that relayed connection, of which Broker.Relayed tells then: others have more need of its place.
	Unrelay(a, b control.DeviceID, torrent [20]byte)
	// Name is the device's name, for people.
	Name(control.DeviceID) string
	// Joined is when the device was enrolled.
	Joined(control.DeviceID) time.Time
}

// Config says how much is relayed.
type Config struct {
	Relays       int // most relayed connections at once; 0: none, devices without a path stay without
	DeviceRelays int // most of one device
	// Carried is how many bytes a relayed connection has carried since it was ordered; it does not wait. Nil: that is not known, and
	// those that carry nothing do not make place.
	Carried func(a, b control.DeviceID, torrent [20]byte) int64
	Log     *slog.Logger
}

// pace is the least time between two decisions: reports of many devices are looked at together.
const pace = 100 * time.Millisecond

// Broker decides about the attempts of all devices. Any goroutine may call its methods; they wait for a decision under way, never
// for the network. Before Run has begun they wait for that, after it has ended they do nothing.
type Broker struct {
	sessions Sessions
	config   Config
	log      *slog.Logger
	inbox    chan func(now time.Time)
	ended    chan struct{}
	core     *core // of Run's goroutine
}

// New returns a Broker that knows no device.
func New(s Sessions, c Config) *Broker {
	return &Broker{
		sessions: s, config: c, log: cmp.Or(c.Log, slog.New(slog.DiscardHandler)),
		inbox: make(chan func(time.Time)), ended: make(chan struct{}),
	}
}

// Run takes reports and sends attempts until ctx ends.
func (b *Broker) Run(ctx context.Context) error {
	defer close(b.ended)
	look := func(who id) (Line, bool) {
		l, ok := b.sessions.Line(who)
		l.Observed = netip.AddrPortFrom(l.Observed.Addr().Unmap(), l.Observed.Port())
		return l, ok
	}
	b.core = newCore(time.Now(), func(p []byte) { rand.Read(p) }, look, b.sessions.Name, b.sessions.Joined)
	b.core.relays.limit(b.config)
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
				b.log.Debug("a path is tried", "device", b.sessions.Name(o.to), "peer", o.punch.Peer, "attempt", hex.EncodeToString(o.punch.Attempt[:]), "try", o.punch.Try)
				b.sessions.Punch(o.to, o.punch)
			}
			orders, ends := b.core.relay(last)
			for _, w := range orders {
				b.log.Info("two devices are relayed", "device", b.sessions.Name(w.a), "peer", b.sessions.Name(w.b),
					"torrent", hex.EncodeToString(w.torrent[:]), "why", b.core.relayedFor(last, w))
				b.sessions.Relay(w.a, w.b, w.torrent)
			}
			for _, w := range ends {
				b.sessions.Unrelay(w.a, w.b, w.torrent)
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
	b.post(func(now time.Time) { b.core.told(now, device, n) })
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
			other := p.other(device)
			b.log.Info("a path was tried", "device", b.sessions.Name(device), "peer", b.sessions.Name(other),
				"attempt", hex.EncodeToString(m.Attempt[:]), "outcome", m.Outcome,
				"remote", m.Remote, "took", m.Took, "method", m.Method, "why", m.Why)
		}
		b.core.punched(now, device, m)
	})
}

// Relayed takes that what Sessions.Relay was asked for has ended, in either order of the two; err says why, nil: a device
// ended it.
func (b *Broker) Relayed(x, y control.DeviceID, torrent [20]byte, err error) {
	b.post(func(now time.Time) { b.core.relayed(now, want{keyOf(x, y), torrent}, err) })
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
