package dht

import (
	"log/slog"
	"net/netip"
	"time"
)

// refusalEvery is how often one reason for refusing is logged.
const refusalEvery = 10 * time.Minute

// refused counts what was refused, for the log. Reasons are constants, so there are few.
type refused struct {
	log     *slog.Logger
	reasons map[string]*refusal
}

type refusal struct {
	logged time.Time
	since  int
}

// note counts a refusal, and logs the first of its reason and then one every refusalEvery.
func (r *refused) note(reason string, from netip.AddrPort, now time.Time) {
	if r.reasons == nil {
		r.reasons = make(map[string]*refusal)
	}
	c := r.reasons[reason]
	if c == nil {
		c = new(refusal)
		r.reasons[reason] = c
	}
	if c.since++; now.Sub(c.logged) < refusalEvery {
		return
	}
	r.log.Info("refused a DHT message", "reason", reason, "from", from, "times", c.since)
	*c = refusal{logged: now}
}
