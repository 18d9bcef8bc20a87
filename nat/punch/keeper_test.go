package punch

import (
	"net/netip"
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
	now := k.Wake()
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
