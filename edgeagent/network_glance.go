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

// glance asks where the surrogate sees the device, when it is time to.
func (r *round) glance(ctx context.Context, now time.Time) {
	if r.glanceAt.IsZero() || now.Before(r.glanceAt) || !r.canAsk() {
		return
	}
	r.glanced, r.glanceAt = now, now.Add(glanceEvery)
	server := r.servers[0]
	r.tasks.Go(func() {
		seen, err := r.socket.discoverer.Reflexive(ctx, server)
		if err != nil {
			r.log.Debug("where the surrogate sees the device is not known", "err", err)
			return
		}
		select {
		case r.found <- finding{seen: seen}:
		case <-ctx.Done():
		}
	})
}

// notice takes what a glance has shown.
func (r *round) notice(now time.Time, seen netip.AddrPort) {
	if seen.Addr() != r.result.Reflexive.Addr() {
		r.log.Info("the device is seen elsewhere", "was", r.result.Reflexive, "is", seen)
		r.move(now)
	}
	r.result.Reflexive = seen
}
