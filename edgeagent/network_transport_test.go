package edgeagent

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"simplebit/nat"
	"simplebit/nat/discovery"
	"simplebit/nat/portmap"
)

// welcomeByTCP has the surrogate see the device at an address, over TCP.
func (r *round) welcomeByTCP(now time.Time, surrogate, observed string) {
	a := at(surrogate)
	r.greet(greeting{surrogate: a, byTCP: true, stun: []netip.AddrPort{a}, observed: at(observed)})
	r.hear(now)
}

// heard reports whether UDP was heard of, though control runs over TCP.
func (r *round) heard() bool {
	select {
	case <-r.hears:
		return true
	default:
		return false
	}
}

var nothingComes = discovery.Result{Behaviour: nat.Behaviour{Blocked: true}}

func TestThePortOfATCPConnectionIsNoneOfUDP(t *testing.T) {
	r, now := newRound()
	r.welcomeByTCP(now, "20.0.0.9:1", "20.0.0.1:5555")
	r.publish()
	if got := outside(r.current()); len(got) != 0 {
		t.Errorf("the device is said to be at %v", got)
	}
	r.see(now, "20.0.0.2:5556")
	// The address is the router's all the same.
	r.tell(func(t *told) { t.mappings = []portmap.Mapping{mapped(portmap.UDP, "20.0.0.2:6882")} })
	r.hear(now)
	r.publish()
	if got := outside(r.current()); !slices.Equal(got, []netip.AddrPort{at("20.0.0.2:6882")}) {
		t.Errorf("the device is said to be at %v", got)
	}
}

func TestAnotherTransportIsReasonToFindOutAnew(t *testing.T) {
	r, now := newRound()
	r.welcome(now, "20.0.0.9:1", "20.0.0.1:6882")
	r.lookout.begin(now)
	r.note(now, finding{result: atHome, ended: true, place: r.place})
	if r.heard() {
		t.Error("UDP is news where control runs over it")
	}
	place := r.place
	r.welcomeByTCP(now, "20.0.0.9:1", "20.0.0.1:5555")
	if !r.lookout.isDue(now.Add(time.Second)) || r.result != atHome || r.place != place {
		t.Errorf("over TCP: %+v", r.result)
	}
	r.lookout.begin(now)
	r.note(now, finding{result: nothingComes, ended: true, place: r.place})
	if r.publish(); !r.current().Behaviour.Blocked || r.heard() {
		t.Errorf("found out %+v", r.current())
	}
	r.welcome(now, "20.0.0.9:1", "20.0.0.1:6882")
	if r.publish(); r.current().Behaviour != (nat.Behaviour{}) || !r.lookout.isDue(now.Add(time.Second)) {
		t.Errorf("over QUIC it is still %+v", r.current())
	}
}

func TestAnAnswerToSTUNIsReasonToTryQUIC(t *testing.T) {
	r, now := newRound()
	r.welcomeByTCP(now, "20.0.0.9:1", "20.0.0.1:5555")
	r.lookout.begin(now)
	r.note(now, finding{result: nothingComes, ended: true, place: r.place})
	r.note(now, finding{err: discovery.ErrNoServer, ended: true, place: r.place})
	r.lookout.begin(now)
	if r.heard() {
		t.Error("nothing has come")
	}
	r.note(now, finding{seen: at("20.0.0.1:6882"), place: r.place})
	if !r.heard() || !r.lookout.isDue(now.Add(time.Second)) {
		t.Error("a glance that was answered is no reason")
	}
	r.note(now, finding{result: atHome, place: r.place})
	if !r.heard() {
		t.Error("a discovery is no reason")
	}
}
