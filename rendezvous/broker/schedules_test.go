package broker

import (
	"flag"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"simplebit/integration/natlab"
	"simplebit/integration/natlab/virtual"
)

var (
	schedules = flag.Int("schedules", 0, "random schedules of devices behind NATs; 0: some thousand, for a quick test")
	from      = flag.Uint64("schedule", 0, "number of the first schedule")
)

// newSchedule makes a world at random: where its devices are, in which order they come, and what goes wrong.
func newSchedule(seed uint64) *world {
	all := places()
	w := newWorld(seed)
	n := 2
	if w.random.IntN(8) == 0 {
		n = 3
	}
	for i := range n {
		w.add(i+1, all[w.random.IntN(len(all))])
	}
	order := w.random.IntN(4)
	for i, p := range w.parties {
		p.delay = w.between(2*time.Millisecond, 150*time.Millisecond)
		p.holds, p.lacks, p.have = true, i > 0 || w.random.IntN(3) == 0, 10
		at := noon
		switch order {
		case 0: // the first one first
			at = at.Add(time.Duration(i) * w.between(0, 20*time.Second))
		case 1: // the last one first
			at = at.Add(time.Duration(n-i) * w.between(0, 20*time.Second))
		case 2: // all at once, and what one is told is late
			if i == 0 {
				p.late = 500 * time.Millisecond
			}
		}
		w.at(at, p.join)
	}
	if w.rough = w.random.IntN(2) == 0; w.rough {
		for _, p := range w.parties {
			w.disturb(p)
		}
	}
	return w
}

// newCrowd makes a world of many devices at random, most of which have no way to each other, and a surrogate that relays little.
func newCrowd(seed uint64) *world {
	w := newWorld(seed)
	w.crowd = true
	n := 6 + w.random.IntN(5)
	each := 1 + w.random.IntN(2)
	w.core.relays.limit(Config{Relays: 1 + w.random.IntN(n*each), DeviceRelays: each})
	all := places()
	for i := range n {
		at := place{kind: natlab.Symmetric}
		if w.random.IntN(4) == 0 {
			at = all[w.random.IntN(len(all))]
		}
		w.add(i+1, at)
	}
	first := w.random.IntN(n) // who has all
	for i, p := range w.parties {
		p.delay = w.between(2*time.Millisecond, 150*time.Millisecond)
		p.holds, p.lacks, p.have = true, i != first, int64(w.random.IntN(2)*w.random.IntN(500))
		w.at(noon.Add(w.between(0, time.Minute)), p.join)
	}
	if w.rough = w.random.IntN(2) == 0; w.rough {
		for _, p := range w.parties {
			w.disturb(p)
		}
	}
	return w
}

// supplied says who does not have all.
func (w *world) supplied() string {
	for _, p := range w.parties {
		if p.lacks {
			return fmt.Sprintf("%s at %s has %d", p.id, p.place, p.have)
		}
	}
	return ""
}

// However little is relayed, everybody who lacks something gets to one who has it, be it by way of others.
func TestEverybodyIsSuppliedHoweverLittleIsRelayed(t *testing.T) {
	n := uint64(*schedules)
	if n == 0 {
		if n = 40; raceDetector {
			n = 5
		}
	}
	for seed := *from; seed < *from+n; seed++ {
		w := newCrowd(seed)
		w.run(roughness)
		w.rough = false
		w.log("calm")
		for end := w.now.Add(time.Hour); w.fault == "" && w.supplied() != ""; w.run(2 * time.Second) {
			if w.now.After(end) {
				w.fail("%s", w.supplied())
			}
		}
		if w.fault != "" {
			r := w.core.relays
			t.Fatalf("world %d of %d devices, %d relays, %d each: %s\n%s", seed, len(w.parties), r.most, r.each, w.fault, strings.Join(w.trace[max(0, len(w.trace)-150):], "\n"))
		}
	}
}

// neighbour is another device of the home, that sends to so many hosts.
func (p *party) neighbour(hosts int) {
	for i := range hosts {
		at := p.addr.Next()
		p.internet.Send(p.now, p.home, virtual.Packet{
			From: netip.AddrPortFrom(at, 5000), To: netip.AddrPortFrom(surrogates[0].Addr(), uint16(10000+i)),
		})
	}
}

const roughness = 3 * time.Minute

// disturb decides what happens to a device while things go wrong.
func (w *world) disturb(p *party) {
	soon := func(do func()) { w.at(noon.Add(w.between(0, roughness)), do) }
	if p.tcp = w.chance(8); p.tcp {
		soon(func() { p.tcp = false; p.cut() })
	}
	if w.chance(3) {
		soon(p.cut)
	}
	if w.chance(6) {
		soon(func() {
			w.log("%s's router begins anew", p.id)
			p.home.Reboot()
			p.neighbour(1 + w.random.IntN(50))
		})
	}
	if w.chance(8) && p.carrier == nil && p.home.Translates() {
		soon(func() {
			w.log("%s's router has another address", p.id)
			p.home.Renumber(netip.AddrFrom4([4]byte{198, 18, p.home.External().As4()[2], 77}))
			w.after(time.Second, func() { p.cut() })
		})
	}
}

// play runs a schedule: while things go wrong, and then until all is as it should be.
func play(seed uint64) *world {
	w := newSchedule(seed)
	if w.rough {
		w.run(roughness)
		w.rough = false
		w.log("calm")
	}
	w.run(settling)
	for end := w.now.Add(6 * time.Hour); w.fault == ""; w.run(2 * time.Second) {
		over := w.now.After(end)
		if state := w.settled(over); state == "" {
			break
		} else if over {
			w.fail("%s", state)
		}
	}
	return w
}

// Issue 6: whatever the order and the loss, no pair that could connect is left on the relay, and no other one without it.
func TestNoPairThatCanConnectStaysRelayed(t *testing.T) {
	n := *schedules
	if n == 0 {
		if n = 2000; raceDetector {
			n = 80
		}
	}
	var next, resigned atomic.Int64
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(n) && !t.Failed(); i = next.Add(1) - 1 {
				seed := *from + uint64(i)
				w := play(seed)
				if w.resigned {
					resigned.Add(1)
				}
				if w.fault != "" {
					t.Errorf("-schedule %d -schedules 1: %s\n%s", seed, w.fault, strings.Join(w.trace[:min(len(w.trace), 150)], "\n"))
				}
			}
		})
	}
	workers.Wait()
	if r := resigned.Load(); r > 1+int64(n)/5000 {
		t.Errorf("in %d schedules two whose NATs count stay relayed", r)
	}
}
