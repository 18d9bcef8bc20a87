package edgeagent

import (
	"context"
	"net/netip"
	"time"
)

// glanceEvery is how often one datagram asks where the surrogate sees the device: another address of the router is no change
// on the device, and the connection survives it. The kernel's notices are a reason too, not more often than glanceLeast.
const (
	glanceEvery = 5 * time.Minute
	glanceLeast = 10 * time.Second
)

// glanceSoon has the next glance as soon as there may be one.
func (r *round) glanceSoon() {
	if soon := r.glanced.Add(glanceLeast); soon.Before(r.glanceAt) {
		r.glanceAt = soon
	}
}

// glance asks where the surrogate sees the device, when it is time to.
func (r *round) glance(ctx context.Context, now time.Time) {
	if r.glanceAt.IsZero() || now.Before(r.glanceAt) || !r.canAsk() {
		return
	}
	r.glanced, r.glanceAt = now, now.Add(glanceEvery)
	server, place := r.servers[0], r.place
	r.tasks.Go(func() {
		seen, err := r.socket.discoverer.Reflexive(ctx, server)
		if err != nil {
			r.log.Debug("where the surrogate sees the device is not known", "err", err)
			return
		}
		select {
		case r.found <- finding{seen: seen, place: place}:
		case <-ctx.Done():
		}
	})
}

// notice takes what a glance has shown. Another address alone is most often the same router's: how it behaves is found out anew,
// and told as it was until then.
func (r *round) notice(now time.Time, seen netip.AddrPort) {
	if was := r.result.Reflexive; was.IsValid() && seen.Addr() != was.Addr() {
		r.log.Info("the device is seen elsewhere", "was", was, "is", seen)
		r.move(now)
	}
	if r.result.Behaviour.Blocked {
		r.lookout.stir(now)
	}
	r.result.Reflexive = seen
	r.answered()
}
