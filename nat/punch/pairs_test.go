package punch

import (
	"flag"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"simplebit/integration/natlab"
	"simplebit/nat"
)

var (
	tries = flag.Int("tries", 0, "tries of each pair of kinds; 0: a few, for a quick test")
	table = flag.Bool("table", false, "print how often, and how fast, each pair of kinds succeeds")
)

func some(most int) int {
	if *tries > 0 {
		return *tries
	}
	return most
}

// sites is every kind, and the usual ones behind a carrier.
func sites() (all []site) {
	for _, k := range natlab.Kinds() {
		all = append(all, site{kind: k})
	}
	return append(all, site{kind: natlab.PortRestricted, carrier: true}, site{kind: natlab.Bare, carrier: true}, site{kind: natlab.Symmetric, carrier: true})
}

func (s site) four() bool { return s.kind != natlab.IPv6Open && s.kind != natlab.IPv6Firewalled }
func (s site) six() bool  { return !s.four() || s.kind == natlab.DualStack }

// hope is what two sites can expect: not at all, sometimes, or nearly always.
func hope(a, b site) string {
	m := Choose(a.behaviour(), b.behaviour())
	switch {
	case a.behaviour().Blocked || b.behaviour().Blocked:
		return "never"
	case a.six() && b.six():
		return "always"
	case !a.four() || !b.four() || m == Hopeless:
		return "never"
	case m == Guess || m == Open:
		return "mostly"
	}
	return "always"
}

// result is what came of many tries.
type result struct {
	tries int
	times []time.Duration
}

func (r *result) quantile(q float64) time.Duration {
	if len(r.times) == 0 {
		return 0
	}
	return r.times[min(int(q*float64(len(r.times))), len(r.times)-1)]
}

// measure makes worlds with both sites and two attempts in each.
func measure(t *testing.T, n int, a, b site, late time.Duration, change func(*world)) *result {
	r := &result{tries: n}
	for seed := range n {
		w := newWorld(t, uint64(seed)*7919+1, a, b)
		w.jitter = 5 * time.Millisecond
		if change != nil {
			change(w)
		}
		if took, ok := w.punch(2, late); ok {
			r.times = append(r.times, took)
		}
	}
	slices.Sort(r.times)
	return r
}

func TestEveryPairThatCanConnectDoes(t *testing.T) {
	var b strings.Builder
	for _, x := range sites() {
		for _, y := range sites() {
			n := some(1)
			if hope(x, y) == "mostly" {
				n = some(3)
			}
			r := measure(t, n, x, y, 0, nil)
			fmt.Fprintf(&b, "%s\t%s\t%d/%d\t%d\t%d\n", x, y, len(r.times), n, r.quantile(0.5).Milliseconds(), r.quantile(0.95).Milliseconds())
			switch got := len(r.times); hope(x, y) {
			case "never":
				if got > 0 {
					t.Errorf("%s with %s: a path, where there is none", x, y)
				}
			case "always":
				if got < n || r.quantile(1) > time.Second {
					t.Errorf("%s with %s: %d of %d, %v", x, y, got, n, r.times)
				}
			case "mostly":
				if got < n-1-n/20 || r.quantile(1) > 10*time.Second {
					t.Errorf("%s with %s: %d of %d, %v", x, y, got, n, r.times)
				}
			}
		}
	}
	if *table {
		fmt.Print(b.String())
	}
}

// The bars of issue 6, each side in the controlling role, in all orders, with loss.
func TestPathsComeAsOftenAndAsFastAsTheyMust(t *testing.T) {
	carried := site{kind: natlab.PortRestricted, carrier: true}
	of := func(k natlab.Kind) site { return site{kind: k} }
	for _, c := range []struct {
		a, b    site
		percent int
		median  time.Duration
	}{
		{of(natlab.PortRestricted), of(natlab.PortRestricted), 99, time.Second},
		{of(natlab.Bare), of(natlab.Bare), 99, time.Second},
		{of(natlab.PortRestricted), carried, 99, time.Second},
		{carried, carried, 99, time.Second},
		{of(natlab.Sequential), of(natlab.PortRestricted), 95, time.Second},
		{of(natlab.Symmetric), of(natlab.AddressRestricted), 99, time.Second},
		{of(natlab.Symmetric), of(natlab.PortRestricted), 95, 3 * time.Second},
		{of(natlab.Symmetric), of(natlab.Bare), 95, 3 * time.Second},
		{of(natlab.Sequential), of(natlab.Sequential), 80, time.Second},
	} {
		for _, late := range []time.Duration{0, 500 * time.Millisecond, -500 * time.Millisecond} {
			for _, turned := range []bool{false, true} {
				a, b := c.a, c.b
				if turned {
					a, b = b, a
				}
				n := some(10)
				r := measure(t, n, a, b, late, func(w *world) { w.loss = 0.02 })
				median := c.median + late.Abs()
				if late != 0 && (a.kind == natlab.Bare || b.kind == natlab.Bare) {
					median = 6 * time.Second // the second attempt's
				}
				// With few tries one more may fail.
				if len(r.times) < n*c.percent/100-min(1, 100/n) || r.quantile(0.5) > median || r.quantile(1) > 10*time.Second {
					t.Errorf("%s with %s, late by %s: %d of %d, median %s, most %s", a, b, late, len(r.times), n, r.quantile(0.5), r.quantile(1))
				}
				if *table {
					fmt.Printf("%s\t%s\tlate %s\t%d/%d\t%d\t%d\n", a, b, late, len(r.times), n, r.quantile(0.5).Milliseconds(), r.quantile(0.95).Milliseconds())
				}
			}
		}
	}
}

// Others in a home take ports of a NAT that counts, before an attempt, since the surrogate saw the device, and during it.
func TestPortsThatCountAreFoundThoughOthersTakeThem(t *testing.T) {
	seq, cone, bare := site{kind: natlab.Sequential}, site{kind: natlab.PortRestricted}, site{kind: natlab.Bare}
	ages := []time.Duration{0, 5 * time.Second, 15 * time.Second, time.Minute, 30 * time.Minute}
	for _, c := range []struct {
		a, b    site
		ages    []time.Duration
		percent int
	}{{seq, cone, ages, 95}, {cone, seq, ages, 95}, {seq, bare, ages, 95}, {bare, seq, ages, 95}, {seq, seq, ages[:4], 80}} {
		for _, age := range c.ages {
			r := &result{tries: some(5)}
			for seed := range r.tries {
				w := newWorld(t, uint64(seed)*7919+1, c.a, c.b)
				w.jitter, w.busy, w.age = 5*time.Millisecond, 2, age
				if took, ok := w.punch(1, 0); ok {
					r.times = append(r.times, took)
				}
			}
			slices.Sort(r.times)
			if len(r.times) < r.tries*c.percent/100 || r.quantile(0.5) > 1500*time.Millisecond {
				t.Errorf("%s with %s, seen %s ago: %d of %d, median %s", c.a, c.b, age, len(r.times), r.tries, r.quantile(0.5))
			}
			if *table {
				fmt.Printf("%s\t%s\tseen %s ago\t%d/%d\t%d\t%d\n", c.a, c.b, age, len(r.times), r.tries, r.quantile(0.5).Milliseconds(), r.quantile(0.95).Milliseconds())
			}
		}
	}
}

// Whoever begins first, a path comes about at the first attempt. Behind routers without a firewall it must not be the side that
// asks first which hears of it first, so that takes one more.
func TestAPathComesAboutInAnyOrder(t *testing.T) {
	of := func(k natlab.Kind) site { return site{kind: k} }
	for _, order := range []struct {
		name string
		late time.Duration // the second one
	}{
		{"both at once", 0}, {"A first", 100 * time.Millisecond}, {"B first", -100 * time.Millisecond},
		{"B 500 ms late", 500 * time.Millisecond}, {"A 500 ms late", -500 * time.Millisecond},
	} {
		t.Run(order.name, func(t *testing.T) {
			for _, c := range [][2]site{
				{of(natlab.PortRestricted), of(natlab.PortRestricted)}, {of(natlab.PortRestricted), {kind: natlab.PortRestricted, carrier: true}},
				{of(natlab.Bare), of(natlab.Bare)}, {of(natlab.Bare), of(natlab.PortRestricted)}, {of(natlab.FullCone), of(natlab.Symmetric)},
				{of(natlab.Symmetric), of(natlab.AddressRestricted)}, {of(natlab.Sequential), of(natlab.PortRestricted)}, {of(natlab.Sequential), of(natlab.Bare)},
				{of(natlab.Sequential), of(natlab.Sequential)}, {of(natlab.DualStack), of(natlab.DualStack)},
			} {
				for _, pair := range [][2]site{c, {c[1], c[0]}} {
					attempts, most := 1, 1200*time.Millisecond+order.late.Abs()
					if slices.ContainsFunc(pair[:], func(s site) bool { return s.kind == natlab.Bare }) && order.late != 0 {
						attempts, most = 2, 6*time.Second
					}
					for seed := range uint64(some(3)) {
						w := newWorld(t, seed, pair[0], pair[1])
						w.jitter = 5 * time.Millisecond
						if took, ok := w.punch(attempts, order.late); !ok || took > most {
							t.Errorf("%s with %s: %v after %s: %+v", pair[0], pair[1], ok, took, w.devices[0].m.Trace(w.now))
						}
					}
				}
			}
		})
	}
}

func TestPredictionsSurviveTheFlowsOfOthers(t *testing.T) {
	seq, cone := site{kind: natlab.Sequential}, site{kind: natlab.PortRestricted}
	for _, c := range []struct {
		a, b site
		most int
	}{{seq, cone, 1000}, {cone, seq, 1000}, {seq, seq, noise(MaxProbes) - slack}} {
		for n := 0; n <= c.most; n += 1 + n/3 {
			w := newWorld(t, uint64(n), c.a, c.b)
			plans := w.plans(0)
			for i, d := range w.devices {
				w.others(d, n*(1+i*(n%3))%(c.most+1))
			}
			if _, ok := w.attempt(plans, 0); !ok {
				t.Errorf("%s with %s, %d flows of others: %+v", c.a, c.b, n, w.devices[0].m.Trace(w.now))
			}
		}
	}
}

func TestDevicesOfOneLANUseIt(t *testing.T) {
	for _, k := range natlab.Kinds() {
		if k == natlab.UDPBlocked || k == natlab.TCP443Only || k == natlab.IPv6Open || k == natlab.IPv6Firewalled {
			continue
		}
		w := newWorld(t, 1, site{kind: k}, site{kind: k})
		w.devices[1].home = w.devices[0].home
		w.devices[1].addr, w.devices[1].addr6 = w.devices[0].addr.Next(), w.devices[0].addr6.Next()
		_, ok := w.punch(1, 0)
		path, _ := w.devices[0].m.Done()
		if !ok || k != natlab.None && (!path.LAN() || w.now.Sub(noon) > 200*time.Millisecond) {
			t.Errorf("%s: %v, %+v after %s", k, ok, path, w.now.Sub(noon))
		}
	}
}

func TestACarrierThatTurnsPacketsBackIsUsed(t *testing.T) {
	for _, c := range []struct {
		hairpin bool
		want    Outcome
	}{{true, Connected}, {false, Failed}} {
		for _, k := range []natlab.Kind{natlab.PortRestricted, natlab.Bare, natlab.FullCone} {
			s := site{kind: k, carrier: true, hairpin: c.hairpin}
			w := newWorld(t, 1, s, s)
			w.share()
			w.punch(1, 0)
			if w.outcome(0) != c.want || w.outcome(1) != c.want {
				t.Errorf("%s: %s, %s: %+v", s, w.outcome(0), w.outcome(1), w.devices[0].m.Trace(w.now))
			}
		}
	}
}

func TestIPv6ComesBeforeIPv4(t *testing.T) {
	for seed := range uint64(10) {
		w := newWorld(t, seed, site{kind: natlab.DualStack}, site{kind: natlab.DualStack})
		w.jitter = 30 * time.Millisecond
		if _, ok := w.punch(1, 0); !ok {
			t.Fatal("no path")
		}
		if path, _ := w.devices[1].m.Done(); !path.Remote.Addr().Is6() {
			t.Errorf("%+v", path)
		}
	}
}

func TestAPathIsTakenOnlyIfDataComesThrough(t *testing.T) {
	s := site{kind: natlab.PortRestricted}
	for _, c := range []struct {
		mtu, want int
	}{{0, fullSize}, {fullSize, fullSize}, {fullSize - 1, smallSize4}, {smallSize4, smallSize4}, {smallSize4 - 1, 0}} {
		w := newWorld(t, 1, s, s)
		w.mtu = c.mtu
		_, ok := w.punch(1, 0)
		if path, _ := w.devices[0].m.Done(); ok != (c.want != 0) || path.Size != c.want {
			t.Errorf("datagrams of %d bytes: %v, %+v", c.mtu, ok, path)
		}
		if why := w.devices[0].m.Trace(w.now).Why; !ok && why != "only small datagrams came through" {
			t.Error(why)
		}
	}
}

func TestAMappedPortMakesAHardNATOpen(t *testing.T) {
	mapped, hard := site{kind: natlab.Mapping}, site{kind: natlab.Symmetric}
	w := newWorld(t, 1, hard, mapped)
	d := w.devices[1]
	if err := d.home.Forward(7000, d.local(0, d.addr)); err != nil {
		t.Fatal(err)
	}
	plans := w.plans(0)
	plans[1].Local.Reachable, plans[0].Peer.Reachable = nat.Yes, nat.Yes
	plans[0].Remote = append(plans[0].Remote, nat.Candidate{Kind: nat.MappedCandidate, Addr: netip.AddrPortFrom(d.home.External(), 7000)})
	took, ok := w.attempt(plans, 0)
	if path, _ := w.devices[0].m.Done(); !ok || path.Remote.Port() != 7000 || took > 500*time.Millisecond {
		t.Errorf("%v after %s: %+v", ok, took, path)
	}
}

func TestReadinessEndsTheTimeOfOpeners(t *testing.T) {
	s := site{kind: natlab.PortRestricted}
	w := newWorld(t, 1, s, s)
	plans := w.plans(0)
	plans[0].Hold = MaxHold
	w.at(noon.Add(40*time.Millisecond), func() { w.devices[0].m.Ready(w.now); w.poll(w.devices[0]) })
	if took, ok := w.attempt(plans, 0); !ok || took > 300*time.Millisecond {
		t.Errorf("%v after %s", ok, took)
	}
}

// Thousands of schedules: loss, delay and when each side begins are random. What can connect does so in a few attempts,
// and never do the two sides end up with different paths.
func TestNoPairThatCanConnectIsLeftBehind(t *testing.T) {
	cones := []site{{kind: natlab.None}, {kind: natlab.FullCone}, {kind: natlab.AddressRestricted}, {kind: natlab.PortRestricted}, {kind: natlab.Bare},
		{kind: natlab.PortShifted}, {kind: natlab.DualStack}, {kind: natlab.Sequential}, {kind: natlab.PortRestricted, carrier: true}}
	left := 0
	for seed := range uint64(some(600)) {
		w := newWorld(t, seed, cones[seed%9], cones[seed/9%9])
		w.loss = w.random.Float64() * 0.25
		w.latency = time.Duration(1+w.random.IntN(150)) * time.Millisecond
		w.jitter = time.Duration(1+w.random.IntN(60)) * time.Millisecond
		late := time.Duration(w.random.IntN(1200)-600) * time.Millisecond
		if _, ok := w.punch(3, late); !ok {
			left++
			t.Logf("seed %d: %s with %s, loss %.2f, latency %s, jitter %s, late %s: %s, %s", seed, w.devices[0].site, w.devices[1].site, w.loss, w.latency, w.jitter, late,
				w.outcome(0), w.outcome(1))
		}
	}
	if left > 0 {
		t.Errorf("%d were", left)
	}
}
