package edgeagent

import (
	"slices"
	"testing"
	"time"
)

func TestAConnectionThatEndsSoonIsNotMadeForEver(t *testing.T) {
	now := time.Unix(1e9, 0)
	c := call{at: now}
	// lasts makes connections that last so long, until no other is to be made or there were n.
	lasts := func(long time.Duration, n int) (waits []time.Duration) {
		for !c.at.IsZero() && len(waits) < n {
			c.at, c.taken = time.Time{}, c.at
			c.tries++
			now = c.taken.Add(long)
			c.ended(now)
			waits = append(waits, max(c.at.Sub(now), 0))
		}
		return waits
	}
	const s = time.Second
	if got, want := lasts(s, 10), []time.Duration{2 * s, 4 * s, 8 * s, 16 * s, 0}; !slices.Equal(got, want) {
		t.Errorf("waits for %v, want %v", got, want)
	}
	c = call{at: now, tries: maxCalls - 1}
	if got := lasts(lasting, 3); !slices.Equal(got, []time.Duration{2 * s, 2 * s, 2 * s}) {
		t.Errorf("after connections that lasted it waits for %v", got)
	}
	if got := lasts(s, 10); len(got) != maxCalls {
		t.Errorf("then it waits for %v", got)
	}
}
