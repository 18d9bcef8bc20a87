package edgeagent

import (
	"sync/atomic"
	"testing"
	"time"

	"simplebit/integration/natlab"
	"simplebit/wire/control"
)

func TestOpenersTTLIsThatOfTheNetworkThatTheDeviceIsIn(t *testing.T) {
	r, now := newRound()
	r.welcome(now, "20.0.0.9:1", "20.0.0.1:6882")
	found := atHome
	found.OpenerTTL = 3
	r.note(now, finding{result: found, ended: true, place: r.place})
	r.publish()
	if got := r.current().OpenerTTL; got != 3 {
		t.Errorf("at home openers live for %d", got)
	}
	r.welcome(now.Add(time.Hour), "20.0.0.9:1", "30.0.0.1:7000")
	r.publish()
	if got := r.current().OpenerTTL; got != 0 {
		t.Errorf("elsewhere openers live for %d, which is not known", got)
	}
}

// Each attempt asks anew how long openers may live: the device may have moved.
func TestEveryAttemptAsksHowLongOpenersLive(t *testing.T) {
	t.Parallel()
	homes, echo := newHomes(t, [2]natlab.Kind{natlab.Bare, natlab.Bare})
	devices := [2]*puncherAt{newPuncher(t, homes[0], "a-pc"), newPuncher(t, homes[1], "b-pc")}
	var asked atomic.Int32
	for _, d := range devices {
		d.openerTTL = func() int { asked.Add(1); return 2 } // they reach the internet and no other home
	}
	for _, o := range punchBetween(t, devices, echo, 0) {
		if o.Outcome != control.PunchConnected || o.Remote.Port() != 6882 {
			t.Errorf("by openers that did no harm: %+v", o)
		}
	}
	if asked.Load() != 2 {
		t.Errorf("asked %d times", asked.Load())
	}
}
