package session

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"simplebit/nat"
	"simplebit/wire/control"
)

// told waits until the device's network is the one with so many ports between its mappings.
func (w *world) told(device control.DeviceID, step int) Network {
	w.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if n := w.hub.Network(device); n.Behaviour.Step == step {
			return n
		}
	}
	w.t.Fatalf("the network is %+v", w.hub.Network(device))
	panic("unreachable")
}

func stepping(n int) control.Network {
	return control.Network{Behaviour: nat.Behaviour{Public: nat.No, Step: n}}
}

func TestTheHubKnowsTheNetworkThatADeviceToldLast(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := newKey(t)
	d := w.joined(key)
	if n := w.hub.Network(idOf(key)); !reflect.DeepEqual(n, Network{}) {
		t.Errorf("of a device that told nothing: %+v", n)
	}
	before := time.Now()
	d.send(stepping(1))
	w.told(idOf(key), 1)
	want := stepping(2)
	want.Candidates = []nat.Candidate{{Kind: nat.MappedCandidate, Addr: netip.MustParseAddrPort("203.0.113.7:6882"), TCP: true}}
	d.send(want)
	n := w.told(idOf(key), 2)
	if !reflect.DeepEqual(n.Network, nat.Network(want)) || n.Told.Before(before) || n.Told.After(time.Now()) {
		t.Errorf("%+v", n)
	}
	d.conn.Close(0, "")
	if event[bool](w) {
		t.Fatal("the device is said to be online")
	}
	if again := w.hub.Network(idOf(key)); !reflect.DeepEqual(again, n) {
		t.Errorf("once it is offline: %+v", again)
	}
	d = w.joined(key)
	if again := w.hub.Network(idOf(key)); !reflect.DeepEqual(again, n) {
		t.Errorf("in the next session, before it tells: %+v", again)
	}
	d.send(stepping(3))
	if n := w.told(idOf(key), 3); len(n.Candidates) != 0 {
		t.Errorf("candidates of before: %+v", n)
	}
}

func TestTheNetworkOfARevokedDeviceIsForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := newKey(t)
	d := w.joined(key)
	d.send(stepping(1))
	w.told(idOf(key), 1)
	s := w.hub.session(idOf(key))
	w.hub.Revoke(idOf(key))
	w.hub.heard(s, time.Now(), stepping(2)) // was on its way
	if n := w.hub.Network(idOf(key)); !reflect.DeepEqual(n, Network{}) {
		t.Errorf("%+v", n)
	}
	d.ended()
}

func TestASessionThatWasReplacedTellsNothingMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := newKey(t)
	w.joined(key)
	old := w.hub.session(idOf(key))
	w.joined(key).send(stepping(2))
	w.told(idOf(key), 2)
	if w.hub.heard(old, time.Now(), stepping(1)) {
		t.Error("it was heard")
	}
	w.told(idOf(key), 2)
	w.locked(func() {
		if len(w.networks) != 1 || w.networks[0].Behaviour.Step != 2 {
			t.Errorf("the jobs were told of %+v", w.networks)
		}
	})
}

func TestAFloodOfNetworksIsReadAtItsPaceAndKeepsOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := newKey(t)
	d := w.joined(key)
	began := time.Now()
	for i := range 1000 {
		d.send(stepping(i + 1))
	}
	for w.hub.Network(idOf(key)).Behaviour.Step < 22 { // two more than at once
		if time.Since(began) > patience {
			t.Fatalf("the network is %+v", w.hub.Network(idOf(key)))
		}
		time.Sleep(time.Millisecond)
	}
	if took := time.Since(began); took < 2*networkCost {
		t.Errorf("two too many were taken within %v", took)
	}
	got := w.hub.Network(idOf(key)).Behaviour.Step
	if most := 20 + int(time.Since(began)/networkCost); got > most {
		t.Errorf("%d were taken, want %d at most", got, most)
	}
	w.hub.mu.Lock()
	kept := len(w.hub.networks)
	w.hub.mu.Unlock()
	if kept != 1 {
		t.Errorf("%d networks are kept of one device", kept)
	}
	w.served()
}

func TestADeviceLearnsWhereSTUNIsAnswered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if got := next[control.Welcome](w.connect(newKey(t), hello)); got.STUN != nil {
		t.Errorf("of a surrogate that answers nowhere: %v", got.STUN)
	}
	second := netip.MustParseAddrPort("192.0.2.1:4434")
	w.locked(func() {
		w.servers = func(end netip.AddrPort) []netip.AddrPort { return []netip.AddrPort{end, second} }
	})
	got := next[control.Welcome](w.connect(newKey(t), hello))
	if want := []netip.AddrPort{netip.MustParseAddrPort(w.addr.String()), second}; !reflect.DeepEqual(got.STUN, want) {
		t.Errorf("%v, want %v", got.STUN, want)
	}
}
