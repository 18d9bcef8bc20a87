package broker

import (
	"strings"
	"testing"
	"time"

	"simplebit/integration/natlab"
)

// Where a router lets no UDP out, two devices behind it meet within the home, and others are relayed with them.
func TestDevicesMeetInAHomeThatLetsNoUDPOut(t *testing.T) {
	for seed := range uint64(20) {
		w := newWorld(seed, place{kind: natlab.UDPBlocked}, place{kind: natlab.PortRestricted})
		w.rough = false
		w.share(3)
		for i, p := range w.parties {
			p.delay = w.between(2*time.Millisecond, 150*time.Millisecond)
			p.holds, p.lacks, p.have = true, i > 0, 10
			w.at(noon.Add(w.between(0, 20*time.Second)), p.join)
		}
		w.run(time.Minute)
		if state := w.settled(true); w.fault != "" || state != "" {
			t.Fatalf("seed %d: %s %s\n%s", seed, w.fault, state, strings.Join(w.trace, "\n"))
		}
	}
}
