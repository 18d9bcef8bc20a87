package edgeagent

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"simplebit/nat"
	"simplebit/nat/discovery"
	"simplebit/wire/control"
)

// see has the surrogate see the device elsewhere while it is connected.
func (r *round) see(now time.Time, observed string) {
	r.observed(at(observed))
	r.hear(now)
	r.publish()
}

func TestAnotherAddressOfTheRouterIsTakenFromTheSurrogate(t *testing.T) {
	r, now := newRound()
	r.see(now, "20.0.0.7:6882") // of no connection
	r.welcome(now, "20.0.0.9:1", "20.0.0.1:6882")
	r.lookout.begin(now)
	r.note(now, finding{result: atHome, ended: true, place: r.place})
	glance := r.glanceAt
	r.see(now, "20.0.0.1:6882")
	if r.result != atHome || r.place != 1 || r.lookout.isDue(now.Add(time.Second)) || r.glanceAt != glance {
		t.Errorf("of the same address: %+v", r.result)
	}
	asked := r.place
	r.see(now, "20.0.0.2:7000")
	if got := r.current(); !slices.Equal(outside(got), []netip.AddrPort{at("20.0.0.2:7000")}) || got.Behaviour != atHome.Behaviour {
		t.Errorf("told %+v", got)
	}
	if !r.lookout.isDue(now.Add(time.Second)) {
		t.Error("it is not found out again")
	}
	r.note(now, finding{seen: at("20.0.0.1:6882"), place: asked})
	if r.publish(); !slices.Equal(outside(r.current()), []netip.AddrPort{at("20.0.0.2:7000")}) {
		t.Errorf("an answer of before is believed: %+v", r.current())
	}
	// Of a connection that begins, it may be another network.
	r.welcome(now, "20.0.0.9:1", "30.0.0.1:6882")
	if r.result != (discovery.Result{}) {
		t.Errorf("still %+v", r.result)
	}
}

func TestAnotherPortOfTheRouterIsReasonForAGlance(t *testing.T) {
	r, now := newRound()
	r.welcome(now, "20.0.0.9:1", "20.0.0.1:6882")
	r.lookout.begin(now)
	r.note(now, finding{result: atHome, ended: true, place: r.place})
	r.glanced = now
	r.see(now, "20.0.0.1:7000")
	if want := now.Add(glanceLeast); r.glanceAt != want || r.lookout.isDue(now.Add(time.Second)) {
		t.Errorf("a glance %s later", r.glanceAt.Sub(now))
	}
	// A glance has shown the address before the surrogate tells it.
	r.note(now, finding{seen: at("20.0.0.2:7000"), place: r.place})
	r.glanceAt = now.Add(glanceEvery)
	place := r.place
	r.see(now, "20.0.0.2:7000")
	if r.place != place || r.glanceAt != now.Add(glanceEvery) {
		t.Error("it moves twice")
	}
}

func TestTheStatusShowsWhereTheSurrogateSeesTheDeviceNow(t *testing.T) {
	h := newHome(t)
	cfg := joined(t, h)
	start(t, cfg)
	g := h.greetWith(nil)
	var connected time.Time
	eventually(t, "it is shown as connected", func() bool {
		st, err := ReadStatus(cfg.State)
		connected = st.Since
		return err == nil && st.Connected
	})
	g.send(control.Observed{Addr: at("20.0.0.2:7000")})
	eventually(t, "the new address is shown", func() bool {
		st, err := ReadStatus(cfg.State)
		ok(t, err)
		return st.Observed == "20.0.0.2:7000" && slices.Contains(st.Network.Candidates, "reflexive 20.0.0.2:7000")
	})
	for !slices.Contains(g.network().Candidates, nat.Candidate{Kind: nat.ReflexiveCandidate, Addr: at("20.0.0.2:7000")}) {
	}
	if st, err := ReadStatus(cfg.State); err != nil || st.Since != connected {
		t.Errorf("it is another connection: %v", err)
	}
}
