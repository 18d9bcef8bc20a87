package edgeagent

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"time"

	"simplebit/nat"
	"simplebit/nat/discovery"
	"simplebit/nat/portmap"
)

// newRound is what run owns, without a socket, and the time.
func newRound() (*round, time.Time) {
	n := &network{log: slog.New(slog.DiscardHandler), changed: make(signal, 1), hears: make(signal, 1), wake: make(signal, 1), socket: &ports{number: 6882}}
	return &round{network: n, lookout: lookout{jitter: func() float64 { return 0.5 }}}, time.Unix(1e9, 0)
}

// welcome has the surrogate see the device at an address.
func (r *round) welcome(now time.Time, surrogate, observed string) {
	a := at(surrogate)
	r.greet(greeting{surrogate: a, stun: []netip.AddrPort{a}, observed: at(observed)})
	r.hear(now)
}

var atHome = discovery.Result{Reflexive: at("20.0.0.1:6882"), Behaviour: nat.Behaviour{Public: nat.No, Mapping: nat.EndpointIndependent}}

func outside(k known) (list []netip.AddrPort) {
	for _, c := range k.Candidates {
		list = append(list, c.Addr)
	}
	return list
}

func TestWhatWasFoundOutIsOfNoUseOnAnotherNetwork(t *testing.T) {
	r, now := newRound()
	r.welcome(now, "20.0.0.9:1", "20.0.0.1:6882")
	r.note(now, finding{result: atHome, ended: true, place: r.place})
	r.publish()
	if got := r.current(); !slices.Equal(outside(got), []netip.AddrPort{at("20.0.0.1:6882")}) || got.Behaviour != atHome.Behaviour {
		t.Fatalf("at home: %+v", got)
	}
	// STUN is dropped there, and the router forwards the port.
	now = now.Add(time.Hour)
	r.welcome(now, "20.0.0.9:1", "30.0.0.1:7000")
	r.tell(func(t *told) { t.mappings = []portmap.Mapping{mapped(portmap.UDP, "30.0.0.1:6882")} })
	r.hear(now)
	r.note(now, finding{err: discovery.ErrNoServer, ended: true, place: r.place})
	r.publish()
	got := r.current()
	if want := []netip.AddrPort{at("30.0.0.1:6882"), at("30.0.0.1:7000")}; !slices.Equal(outside(got), want) {
		t.Errorf("told %v, want %v", outside(got), want)
	}
	if got.Behaviour != (nat.Behaviour{}) || !got.Checked.IsZero() || got.Error == "" {
		t.Errorf("told %+v", got)
	}
}

func TestAnotherGatewayMakesWhatWasFoundOutOfNoUse(t *testing.T) {
	r, now := newRound()
	r.look = func() (s surroundings) { s.gateways[0] = addr("192.168.7.1"); return s }
	r.welcome(now, "20.0.0.9:1", "20.0.0.1:6882")
	r.note(now, finding{result: atHome, ended: true, place: r.place})
	r.lookAt = now
	r.lookAround(now)
	if r.result != (discovery.Result{}) {
		t.Errorf("still %+v", r.result)
	}
}

func TestWhatWasAskedOnAnotherNetworkIsNotBelieved(t *testing.T) {
	r, now := newRound()
	r.welcome(now, "20.0.0.9:1", "20.0.0.1:6882")
	place := r.place
	r.stop = func() {}
	r.welcome(now, "20.0.0.9:1", "30.0.0.1:7000")
	r.note(now, finding{seen: at("20.0.0.1:6882"), place: place})
	r.note(now, finding{result: atHome, ended: true, place: place})
	if r.result != (discovery.Result{}) || !r.checked.IsZero() {
		t.Errorf("believed %+v", r.result)
	}
	if r.stop != nil || !r.lookout.isDue(now.Add(time.Second)) {
		t.Error("it is not found out again")
	}
}

func TestAConnectionOfTheSameAddressChangesNothing(t *testing.T) {
	r, now := newRound()
	r.welcome(now, "20.0.0.9:1", "20.0.0.1:6882")
	r.note(now, finding{result: atHome, ended: true, place: r.place})
	r.part()
	r.hear(now)
	r.welcome(now, "20.0.0.9:2", "20.0.0.1:7000") // which has other STUN servers
	if r.result != atHome || !r.lookout.isDue(now.Add(time.Second)) {
		t.Errorf("%+v", r.result)
	}
	// A glance shows another address, then a connection does.
	r.lookout.begin(now)
	r.notice(now, at("20.0.0.2:6882"))
	place := r.place
	r.welcome(now, "20.0.0.9:2", "20.0.0.2:6882")
	if r.result.Reflexive != at("20.0.0.2:6882") || r.result.Behaviour != atHome.Behaviour || r.place != place {
		t.Errorf("%+v", r.result)
	}
}

func TestAGlanceThatIsTheFirstToShowAnAddressIsNoMove(t *testing.T) {
	r, now := newRound()
	r.welcome(now, "20.0.0.9:1", "20.0.0.1:6882")
	r.lookout.begin(now)
	r.note(now, finding{result: discovery.Result{Behaviour: atHome.Behaviour}, ended: true, place: r.place}) // one test was lost
	later := now.Add(glanceEvery)
	r.note(later, finding{seen: at("20.0.0.1:6882"), place: r.place})
	if r.lookout.isDue(later.Add(time.Minute)) || r.result != atHome {
		t.Errorf("found out again; %+v", r.result)
	}
	r.note(later, finding{seen: at("20.0.0.2:6882"), place: r.place})
	if !r.lookout.isDue(later.Add(time.Minute)) {
		t.Error("another address is no reason")
	}
}

func TestOnlyServersOfThisNetworkAreMet(t *testing.T) {
	r, now := newRound()
	r.welcome(now, "20.0.0.9:1", "20.0.0.1:6882")
	r.welcome(now, "20.0.0.8:1", "20.0.0.1:6882")
	if want := addrs("20.0.0.9", "20.0.0.8"); !slices.Equal(r.met, want) {
		t.Errorf("met %v, want %v", r.met, want)
	}
	r.welcome(now, "20.0.0.7:1", "30.0.0.1:6882")
	if want := addrs("20.0.0.7"); !slices.Equal(r.met, want) {
		t.Errorf("met %v elsewhere, want %v", r.met, want)
	}
	for i := range 100 {
		r.welcome(now, fmt.Sprintf("20.0.1.%d:1", i), "30.0.0.1:6882")
	}
	if n := len(r.met); n != maxMet || r.met[n-1] != addr("20.0.1.99") {
		t.Errorf("met %v", r.met)
	}
}
