package utp

import (
	"flag"
	"fmt"
	"testing"
	"time"
)

var (
	narrowWorlds = flag.Uint64("worlds", 0, "paths that become narrow; 0: 2500, or as many as take 5 s")
	narrowFirst  = flag.Uint64("world", 0, "the first of them")
)

// leastWorlds are those that are tried however long they take.
const leastWorlds = 50

// mostLate is by how much packets overtake each other here: a path may have two ways, one of them by satellite and with a queue of
// seconds.
const mostLate = 3 * time.Second

// TestStreamsArriveIntactOverPathsThatBecomeNarrow changes what both ways take, several times in a transfer in both
// directions, while packets overtake others by up to 3 s: what is still under way when it is sent again in another form may arrive
// too.
//
// Where no packet is lost by chance, the stream may stand still for: three timeouts of one packet (it was a probe, it was
// too long, it was too long again), each of at most the larger of the longest RTO and the bound of backing off; twice
// that, since what acknowledges it may be too long too; and the way there and back, late.
func TestStreamsArriveIntactOverPathsThatBecomeNarrow(t *testing.T) {
	t.Parallel()
	var longest, bound time.Duration
	narrow, fragments := 0, 0
	worlds, began := *narrowWorlds, time.Now()
	if worlds == 0 {
		worlds = 2500
	}
	first := *narrowFirst
	for seed := first; seed < first+worlds; seed++ {
		if *narrowWorlds == 0 && seed >= first+leastWorlds && time.Since(began) > 5*time.Second {
			worlds = seed - first
			break
		}
		w := newNarrowWorld(t, seed)
		ended := w.n.runUntil(time.Hour, func() bool {
			return w.apps[0].eof && w.apps[1].eof || w.p.a.core.err() != nil || w.p.b.core != nil && w.p.b.core.err() != nil
		})
		switch {
		case !ended || w.p.a.core.err() != nil || w.p.b.core.err() != nil:
			t.Errorf("%s: errors %v, %v", w, w.p.a.core.err(), w.p.b.core.err())
		case w.apps[1].got != w.apps[0].send || w.apps[0].got != w.apps[1].send:
			t.Errorf("%s: the end came early", w)
		case !w.lossy && w.pause() > w.bound():
			t.Errorf("%s: the stream stood still for %v, and %v are the most", w, w.pause(), w.bound())
		}
		if !w.lossy && w.pause() > longest {
			longest, bound = w.pause(), w.bound()
		}
		narrow += w.narrowings
		fragments += w.p.a.fragmented + w.p.b.fragmented
	}
	t.Logf("%d worlds: the path became narrower %d times, %d datagrams might be fragmented; at most it stood still for %v (bound %v)",
		worlds, narrow, fragments, longest, bound)
	if fragments == 0 {
		t.Error("no datagram might be fragmented")
	}
}

type narrowWorld struct {
	seed       uint64
	n          *network
	p          *pair
	links      [2]*link
	apps       [2]*narrowApp
	lossy      bool
	narrowings int
}

// A narrowApp sends as fast as it can, and watches the retransmission timeout.
type narrowApp struct {
	bulk
	rto time.Duration // the longest, without backing off
}

func (a *narrowApp) turn(h *host) {
	a.bulk.turn(h)
	r := h.core.rtt
	r.backoff = 0
	a.rto = max(a.rto, r.rto())
}

func newNarrowWorld(t *testing.T, seed uint64) *narrowWorld {
	n := newNetwork(seed)
	rng := n.rng
	w := &narrowWorld{seed: seed, n: n, lossy: rng.IntN(2) == 0}
	config := func() coreConfig {
		return coreConfig{
			RecvBuffer: 8<<10 + rng.IntN(200<<10),
			SendBuffer: 8<<10 + rng.IntN(200<<10),
			Seq:        uint16(-rng.IntN(60)),
		}
	}
	for i := range w.links {
		l := &link{
			delay: time.Duration(rng.IntN(100)) * time.Millisecond,
			late:  time.Millisecond + n.upTo(mostLate),
		}
		if rng.IntN(4) > 0 {
			l.reorder = 0.3 * rng.Float64()
		}
		if rng.IntN(2) == 0 {
			l.rate = 50e3 + 1e6*rng.Float64()
		}
		if w.lossy {
			l.loss, l.twice = 0.05*rng.Float64(), 0.05*rng.Float64()
		}
		w.links[i] = l
		w.apps[i] = &narrowApp{bulk: bulk{send: int64(10<<10 + rng.IntN(400<<10)), close: true}}
	}
	while := time.Second << rng.IntN(5)
	for range 1 + rng.IntN(6) {
		l, at, mtu := w.links[rng.IntN(2)], n.upTo(while), 576+rng.IntN(924)
		n.after(at, func() {
			if l.mtu == 0 || mtu < l.mtu {
				w.narrowings++
			}
			l.mtu = mtu
		})
	}
	w.p = newPair(t, n, []*link{w.links[0]}, []*link{w.links[1]}, config(), config())
	w.p.a.app, w.p.b.app = w.apps[0], w.apps[1]
	w.p.dial()
	return w
}

func (w *narrowWorld) String() string {
	return fmt.Sprintf("world %d: forth %+v, back %+v, %d of %d bytes came there and %d of %d back by %v", w.seed,
		*w.links[0], *w.links[1], w.apps[1].got, w.apps[0].send, w.apps[0].got, w.apps[1].send, w.n.now)
}

// pause is for how long a stream stood still.
func (w *narrowWorld) pause() time.Duration { return max(w.apps[0].pause, w.apps[1].pause) }

func (w *narrowWorld) bound() time.Duration {
	timeout := max(w.apps[0].rto, w.apps[1].rto, backoffCap)
	way := w.links[0].delay + w.links[0].late + w.links[1].delay + w.links[1].late
	return 6*timeout + 2*way
}
