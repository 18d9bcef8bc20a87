package punch

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"simplebit/integration/natlab"
)

// kept makes a path that both sides keep.
func kept(t *testing.T, seed uint64, a, b natlab.Kind) *world {
	w := newWorld(t, seed, site{kind: a}, site{kind: b})
	w.keep = true
	w.jitter = 5 * time.Millisecond
	if _, ok := w.punch(1, 0); !ok {
		t.Fatalf("%s with %s: no path", a, b)
	}
	return w
}

func TestAKeptPathOutlivesShortMappings(t *testing.T) {
	w := kept(t, 1, natlab.PortRestricted, natlab.Sequential)
	for _, d := range w.devices {
		d.home.SetTimeout(20 * time.Second)
	}
	last, longest, n := w.now, time.Duration(0), 0
	w.watch = func(*device, Datagram) {
		longest = max(longest, w.now.Sub(last))
		last = w.now
		n++
	}
	w.loss = 0.1
	w.run(w.now.Add(time.Hour), func() bool { return w.devices[0].k.Lost(w.now) || w.devices[1].k.Lost(w.now) })
	if w.now.Sub(noon) < time.Hour-time.Minute {
		t.Errorf("lost after %s", w.now.Sub(noon))
	}
	// Both ask every 8 to 10 s and answer; some more for what got lost.
	if longest > KeepInterval || n < 4*360 || n > 6*450 {
		t.Errorf("%d datagrams in an hour, %s without any", n, longest)
	}
	w.agree()
}

func TestASilentPathIsLostOnBothSides(t *testing.T) {
	w := kept(t, 1, natlab.PortRestricted, natlab.PortRestricted)
	w.run(w.now.Add(time.Minute), func() bool { return false })
	cut := w.now
	w.loss = 1
	for i, d := range w.devices {
		w.run(cut.Add(time.Minute), func() bool { return d.k.Lost(w.now) })
		if after := w.now.Sub(cut); !d.k.Lost(w.now) || after > MaxSilence || after < MaxSilence-KeepInterval {
			t.Errorf("%d: %v after %s", i, d.k.Lost(w.now), after)
		}
		if out := d.k.Poll(w.now.Add(time.Hour), nil); len(out) != 0 {
			t.Errorf("a lost path gets %d datagrams", len(out))
		}
	}
}

func TestAPathNeverComesBackOrMoves(t *testing.T) {
	w := kept(t, 1, natlab.FullCone, natlab.FullCone)
	k := w.devices[0].k
	var answers [][]byte
	peer := w.devices[1].k.codec
	path := k.Path()
	deliver := func(now time.Time, socket int, from netip.AddrPort, n uint32) bool {
		b := peer.marshal(message{id: newID(k.nonce, n), answer: true}, probeSize)
		answers = append(answers, b)
		return k.Receive(now, socket, from, b)
	}
	now := k.due()
	if deliver(now, path.Socket, path.Remote, k.count) {
		t.Error("an answer before its question")
	}
	k.Poll(now, nil)
	n := k.count - 1
	if deliver(now, path.Socket, netip.AddrPortFrom(attacker, path.Remote.Port()), n) || deliver(now, path.Socket+1, path.Remote, n) {
		t.Error("an answer from elsewhere")
	}
	if !deliver(now, path.Socket, path.Remote, n) {
		t.Error("not an answer")
	}
	for _, b := range answers {
		if k.Receive(now.Add(MaxSilence-1), path.Socket, path.Remote, b) {
			t.Error("an answer that was counted already, or never asked for")
		}
	}
	now = now.Add(MaxSilence)
	k.Poll(now.Add(-1), nil)
	if !k.Lost(now) || deliver(now, path.Socket, path.Remote, k.count-1) || !k.Lost(now) {
		t.Error("a path came back from the dead")
	}
}

// carry runs a keeper over whose path data comes once in 100 ms, as far as data says, and answers to its questions, as far as
// answers says, until the path is lost or the time is over. It returns when questions were asked, since the beginning.
func carry(k *Keeper, peer codec, over time.Duration, data, answers func(since time.Duration) bool) (asked []time.Duration, lost time.Duration) {
	began, last := k.heard, time.Time{}
	for now := began; now.Before(began.Add(over)); now = now.Add(time.Millisecond) {
		since := now.Sub(began)
		if since%(100*time.Millisecond) == 0 && data(since) {
			last = now
		}
		if now.Before(k.Wake()) {
			continue
		}
		k.Heard(last)
		for range k.Poll(now, nil) {
			asked = append(asked, since)
			if answers(since) {
				k.Receive(now, k.path.Socket, k.path.Remote, peer.marshal(message{id: newID(k.nonce, k.count-1), answer: true}, probeSize))
			}
		}
		if k.Lost(now) {
			return asked, since
		}
	}
	return asked, 0
}

func always(time.Duration) bool { return true }
func never(time.Duration) bool  { return false }

func TestACutOfAPathThatCarriesDataIsOutlived(t *testing.T) {
	const s = time.Second
	for cut := time.Duration(0); cut < 12*s; cut += 100 * time.Millisecond {
		w := kept(t, uint64(cut/time.Millisecond), natlab.FullCone, natlab.FullCone)
		passes := func(since time.Duration) bool { return since < cut || since >= cut+8*s }
		asked, lost := carry(w.devices[0].k, w.devices[1].k.codec, time.Minute, passes, passes)
		if lost != 0 {
			t.Errorf("cut for 8 s after %s: lost %s later", cut, lost-cut)
		}
		if n := len(asked); n < 6 || n > 12 {
			t.Errorf("cut for 8 s after %s: asked at %s", cut, asked)
		}
	}
}

func TestAPathIsAskedAsSoonAsDataStops(t *testing.T) {
	w := kept(t, 1, natlab.FullCone, natlab.FullCone)
	asked, lost := carry(w.devices[0].k, w.devices[1].k.codec, time.Minute,
		func(since time.Duration) bool { return since <= 2*time.Second }, never)
	if want := []time.Duration{5000, 7500, 10_000, 12_500, 13_500, 14_500, 15_500, 16_500}; !slices.EqualFunc(asked, want, func(a, b time.Duration) bool {
		return a == b*time.Millisecond
	}) {
		t.Errorf("data stops after 2 s; asked after %s", asked)
	}
	if k := w.devices[0].k; lost != 2*time.Second+MaxSilence || k.Why() != "nothing was heard on it for 15s" {
		t.Errorf("lost after %s: %s", lost, k.Why())
	}
}

// Who forges data, or has no attempt any more, cannot have a path kept.
func TestDataAloneKeepsNoPath(t *testing.T) {
	w := kept(t, 1, natlab.FullCone, natlab.FullCone)
	k := w.devices[0].k
	asked, lost := carry(k, w.devices[1].k.codec, time.Hour, always, never)
	if lost != MaxConsent || k.Why() != "data came, and no answer for 30s" || len(asked) < 8 || len(asked) > 10 {
		t.Errorf("lost after %s: %s; asked after %s", lost, k.Why(), asked)
	}
	if k.Heard(w.now.Add(lost)); !k.Lost(w.now.Add(lost)) {
		t.Error("data brought it back")
	}
	w = kept(t, 1, natlab.FullCone, natlab.FullCone)
	if asked, lost = carry(w.devices[0].k, w.devices[1].k.codec, time.Hour, always, always); lost != 0 || len(asked) < 360 || len(asked) > 450 {
		t.Errorf("with answers it is lost after %s, asked %d times in an hour", lost, len(asked))
	}
}

func TestRecordedQuestionsAreAnsweredOnlySoOften(t *testing.T) {
	w := kept(t, 1, natlab.FullCone, natlab.FullCone)
	k, peer := w.devices[0].k, w.devices[1].k.codec
	b := peer.marshal(message{id: testID}, fullSize)
	now, answers := w.now, 0
	for range 10000 {
		now = now.Add(time.Millisecond)
		k.Receive(now, k.path.Socket, k.path.Remote, b)
		for _, g := range k.Poll(now, nil) {
			if len(g.Data) == len(b) {
				answers++
			}
		}
	}
	if answers < 40 || answers > 62 {
		t.Errorf("%d answers in 10 s", answers)
	}
}

// The other side may still be about to learn that the path stays when this side's machine is gone.
func TestKeepersFinishWhatTheMachinesBegan(t *testing.T) {
	for seed := range uint64(some(150)) {
		w := newWorld(t, seed, site{kind: natlab.PortRestricted}, site{kind: natlab.PortRestricted})
		w.keep, w.loss, w.jitter = true, 0.2, 30*time.Millisecond
		w.punch(1, 0)
		if (w.outcome(0) == Connected) != (w.outcome(1) == Connected) {
			t.Errorf("seed %d: %s, %s", seed, w.outcome(0), w.outcome(1))
		}
	}
}

func TestThereIsNothingToKeepWithoutAPath(t *testing.T) {
	m, _ := New(noon, testPlan(true), [32]byte{})
	if _, o := m.Done(); o != Impossible || m.Keeper(noon) != nil || !m.Wake().IsZero() || len(m.Poll(noon, nil)) != 0 {
		t.Errorf("%s", o)
	}
}
