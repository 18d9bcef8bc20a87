package edgeagent

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"simplebit/nat"
	"simplebit/nat/discovery"
)

// finding is a result of a discovery, or its end.
type finding struct {
	result discovery.Result
	err    error
	ended  bool
	place  int            // where it was asked
	seen   netip.AddrPort // of a glance
}

func (r *round) canAsk() bool { return r.greeting.surrogate.IsValid() && len(r.servers) > 0 }

// discover starts to find out what the network does, when that is due.
func (r *round) discover(ctx context.Context, now time.Time) {
	if !r.canAsk() || !r.lookout.isDue(now) {
		return
	}
	if r.stop != nil {
		r.stopping = true
		r.stop() // and begin again when it has ended
		return
	}
	r.lookout.begin(now)
	asking, stop := context.WithCancel(ctx)
	r.stop, r.stopping = stop, false
	c := discovery.Config{
		Servers: r.servers, Own: r.around.own, Met: slices.Clone(r.met), Log: r.log,
		Works: !r.greeting.byTCP,
	}
	place := r.place
	tell := func(while context.Context, f finding) {
		f.place = place
		select {
		case r.found <- f:
		case <-while.Done():
		}
	}
	r.tasks.Go(func() {
		defer stop()
		result, err := r.socket.discoverer.Discover(asking, c, func(first discovery.Result) { tell(asking, finding{result: first}) })
		tell(ctx, finding{result: result, err: err, ended: true})
	})
}

// note takes what was found out.
func (r *round) note(now time.Time, f finding) {
	if f.ended {
		r.stop = nil
		r.lookout.ended(now, f.err)
	}
	switch {
	case f.place != r.place:
	case f.seen.IsValid():
		r.notice(now, f.seen)
	case errors.Is(f.err, context.Canceled):
	case f.err != nil:
		r.err = f.err.Error()
		r.log.Debug("network not found out", "err", f.err)
	default:
		r.result, r.err = f.result, ""
		if f.result.Reflexive.IsValid() {
			r.answered()
		}
		if !f.ended || r.checked.IsZero() {
			r.checked = now // the end of a discovery only adds how long mappings live
		}
		r.glanceAt = now.Add(glanceEvery)
		if f.ended {
			r.log.Debug("network found out", "datagrams", f.result.Datagrams, "lifetime", f.result.Behaviour.Lifetime.String())
		}
	}
}

// answered notes that a STUN server has, which is news where control runs over TCP.
func (r *round) answered() {
	if r.greeting.byTCP {
		r.hears.set()
	}
}

// publish shows others what is known, and tells those who want to know if it has changed.
func (r *round) publish() {
	f := known{Reflexive: r.result.Reflexive, OpenerTTL: r.result.OpenerTTL, Checked: r.checked, Error: r.err}
	f.Behaviour = judge(r.result, r.mappings)
	seen := f.Reflexive
	if !seen.IsValid() {
		seen = r.greeting.observed
	}
	f.Candidates = candidates(r.around.hosts, r.socket.number, r.tcp, r.mappings, seen)
	r.mu.Lock()
	was := r.now
	r.now = f
	r.mu.Unlock()
	if was.Behaviour == f.Behaviour && slices.Equal(was.Candidates, f.Candidates) {
		return
	}
	if f.Behaviour != (nat.Behaviour{}) && was.Behaviour.Sentence() != f.Behaviour.Sentence() {
		r.log.Info("the device is "+f.Behaviour.Sentence(), "mapping", f.Behaviour.Mapping, "filtering", f.Behaviour.Filtering)
	}
	r.changed.set()
}
