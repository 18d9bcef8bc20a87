package punch

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"simplebit/integration/natlab"
	"simplebit/nat"
)

func TestTheMethodsOfBothSidesBelongTogether(t *testing.T) {
	other := map[Method][]Method{Hopeless: {Hopeless}, Direct: {Direct}, Predict: {Row}, Row: {Predict}, Guess: {Open}, Open: {Guess}, Grid: {Grid}}
	for _, a := range sites() {
		for _, b := range sites() {
			mine, theirs := Choose(a.behaviour(), b.behaviour()), Choose(b.behaviour(), a.behaviour())
			fits := false
			for _, m := range other[mine] {
				fits = fits || m == theirs
			}
			if !fits {
				t.Errorf("%s with %s: %s here, %s there", a, b, mine, theirs)
			}
		}
	}
}

func TestTheMethodFollowsFromBothNetworks(t *testing.T) {
	of := natlab.Kind.Expect
	for _, c := range []struct {
		local, peer nat.Behaviour
		want        Method
	}{
		{of(natlab.PortRestricted), of(natlab.PortRestricted), Direct},
		{of(natlab.Bare), of(natlab.PortShifted), Direct},
		{nat.Behaviour{}, nat.Behaviour{}, Direct},
		{of(natlab.PortRestricted), of(natlab.Sequential), Predict},
		{of(natlab.Sequential), of(natlab.PortRestricted), Row},
		{of(natlab.Sequential), of(natlab.Sequential), Grid},
		{of(natlab.AddressRestricted), of(natlab.Symmetric), Direct},
		{of(natlab.FullCone), of(natlab.Symmetric), Direct},
		{of(natlab.Symmetric), of(natlab.None), Direct},
		{of(natlab.PortRestricted), of(natlab.Symmetric), Guess},
		{of(natlab.PortRestricted), of(natlab.AddressDependent), Guess},
		{of(natlab.Symmetric), of(natlab.PortRestricted), Open},
		{of(natlab.Symmetric), nat.Behaviour{}, Open},
		{of(natlab.Symmetric), of(natlab.Symmetric), Hopeless},
		{of(natlab.Symmetric), of(natlab.Sequential), Hopeless},
		{of(natlab.UDPBlocked), of(natlab.None), Hopeless},
	} {
		if got := Choose(c.local, c.peer); got != c.want {
			t.Errorf("%+v with %+v: %s, not %s", c.local, c.peer, got, c.want)
		}
	}
}

func TestHopelessPairsMayMeetElsewhere(t *testing.T) {
	hard, blocked := natlab.Symmetric.Expect(), natlab.UDPBlocked.Expect()
	for _, c := range []struct {
		kind  nat.CandidateKind
		addr  string
		local nat.Behaviour
		want  Method
	}{
		{nat.ReflexiveCandidate, "198.18.1.2:1", hard, Hopeless},
		{nat.HostCandidate, "198.18.1.2:1", hard, Hopeless},
		{nat.MappedCandidate, "198.18.1.2:1", hard, Direct},
		{nat.HostCandidate, "192.168.1.2:1", hard, Direct},
		{nat.HostCandidate, "[2001:db8::1]:1", hard, Direct},
		{nat.HostCandidate, "[2001:db8::1]:1", blocked, Hopeless},
	} {
		p := Plan{Local: c.local, Peer: hard, Remote: []nat.Candidate{{Kind: c.kind, Addr: netip.MustParseAddrPort(c.addr)}}}
		if got := p.Method(); got != c.want {
			t.Errorf("%s at %s: %s", c.kind, c.addr, got)
		}
	}
	p := Plan{Local: natlab.PortRestricted.Expect(), Peer: hard, Remote: []nat.Candidate{{Kind: nat.ReflexiveCandidate, Addr: netip.MustParseAddrPort("198.18.1.2:1")}}}
	if got := p.Method(); got != Direct {
		t.Errorf("ports are guessed at an address that the surrogate did not observe: %s", got)
	}
}

// Whatever flows of others came first on either side, also after some of the own ones, one flow of each side fits one of
// the other's, the sooner the fewer they were. If its own first flows got lost it is the same as if fewer came first.
func TestTheGridCoversAllNoise(t *testing.T) {
	var sides [2]series
	const port = 30000
	for i := range sides {
		p := testPlan(i == 0)
		p.Peer.Step, p.Probes, p.Observed = 1, MaxProbes, netip.AddrPortFrom(victim, port)
		all := grid(&p)
		sides[i] = all[0]
		made := 0
		for _, s := range all {
			made += s.most
		}
		if made != MaxProbes || !all[0].opener || all[1].opener || all[1].first != all[0].first || all[1].next <= all[0].next {
			t.Errorf("%d: %+v", i, all)
		}
	}
	// flows maps where a flow leaves from to where it goes. Some of others come first, and more after every so many of its own.
	flows := func(s series, others, every int) map[int]int {
		m, at := make(map[int]int), port+others
		for n := range s.most {
			if every > 0 && n%every == every-1 {
				at++
			}
			at++
			m[at] = int(s.port(n))
		}
		return m
	}
	most := noise(MaxProbes) - 2
	for _, every := range [][2]int{{0, 0}, {50, 0}, {0, 70}, {100, 90}} {
		for d := -2; d < most; d += 7 {
			for e := -2; e < most; e += 9 {
				if every != [2]int{} && d+e > most {
					continue
				}
				ours, theirs := flows(sides[0], d, every[0]), flows(sides[1], e, every[1])
				fits := false
				for from, to := range ours {
					fits = fits || theirs[to] == from
				}
				if !fits {
					t.Errorf("%d flows of others here, %d there, every %d: no path", d, e, every)
				}
			}
		}
	}
}

// However many flows others have begun, one of the ports that are gone through is of the row.
func TestTheSweepFindsTheRowWhereverItIs(t *testing.T) {
	for _, step := range []int{1, -1} {
		for _, observed := range []uint16{firstPort, 20000, 65535} {
			asked, most := make(map[uint16]bool), 0
			for _, s := range sweep(observed, step, MaxSockets, MaxProbes) {
				most += s.most
				for n := range s.most {
					asked[s.port(n)] = true
				}
			}
			for gone := 0; gone < portRange; gone += 67 {
				for others := 0; others <= MaxSockets/4; others += 8 { // whose flows come in the midst of the row
					fits := false
					for i := 1; i < MaxSockets && !fits; i++ {
						at := gone + i
						if i > others {
							at += others
						}
						fits = asked[predict(observed, step, at)]
					}
					if !fits {
						t.Fatalf("by %d from %d: not %d ports later, with %d in between", step, observed, gone, others)
					}
				}
			}
			// The first ones, and the one that was observed, are asked some times before.
			if before := ahead*(aheadOpened+aheadAsked) + 30; before+most > MaxObserved {
				t.Errorf("by %d from %d: %d ports after %d datagrams", step, observed, most, before)
			}
		}
	}
}

func TestPredictedPortsStayInRange(t *testing.T) {
	for _, c := range []struct {
		port    uint16
		step, n int
		want    uint16
	}{{40000, 1, 1, 40001}, {40000, 2, 16, 40032}, {40000, -1, 3, 39997}, {65535, 1, 1, 1024}, {1024, -1, 1, 65535}, {100, 1, 1, 64613}, {1024, -100000, 16, 13824}} {
		if got := predict(c.port, c.step, c.n); got != c.want {
			t.Errorf("%d steps of %d after %d: %d, not %d", c.n, c.step, c.port, got, c.want)
		}
	}
}

func TestGuessesAreDistinctAndUnprivileged(t *testing.T) {
	for seed := range uint64(50) {
		g := shuffled(rand.New(rand.NewPCG(seed, 0)), MaxProbes, 0)
		seen := make(map[uint16]bool)
		for n := range MaxProbes {
			p := g.port(n)
			if p < firstPort || seen[p] {
				t.Fatalf("seed %d: %d", seed, p)
			}
			seen[p] = true
		}
	}
}

// The birthday method's numbers: 87 % for one attempt, 98 % for two.
func TestGuessesHitAsOftenAsTheyMust(t *testing.T) {
	hits := 0
	const rounds = 4000
	r := rand.New(rand.NewPCG(1, 2))
	for range rounds {
		opened := make(map[uint16]bool)
		for len(opened) < MaxSockets {
			opened[uint16(firstPort+r.IntN(portRange))] = true
		}
		g := shuffled(r, MaxProbes, 0)
		for n := range MaxProbes {
			if opened[g.port(n)] {
				hits++
				break
			}
		}
	}
	missed := 1.0
	for n := range MaxProbes {
		missed *= 1 - float64(MaxSockets)/float64(portRange-n)
	}
	if got, want := float64(hits)/rounds, 1-missed; math.Abs(got-want) > 0.02 || want < 0.86 {
		t.Errorf("%.3f of the rounds hit, not %.3f", got, want)
	}
}

func TestOpenersDieBeyondTheOwnNATs(t *testing.T) {
	there, self := netip.MustParseAddr("198.18.1.2"), netip.MustParseAddr("198.18.2.2")
	for _, c := range []struct {
		double   nat.Answer
		try, ttl int
		to       netip.Addr
		want     int
	}{
		{nat.No, 0, 0, there, 2}, {nat.No, 5, 0, there, 2}, {nat.Yes, 0, 0, there, 3}, {nat.Yes, 1, 0, there, 3}, {nat.Yes, 2, 0, there, 4},
		{nat.Unsure, 0, 0, there, 2}, {nat.Unsure, 1, 0, there, 3}, {nat.Unsure, 9, 0, there, 5}, {nat.Yes, 9, 0, there, 5},
		{nat.No, 1, 7, there, 7}, {nat.Yes, 0, 7, self, 2},
	} {
		p := Plan{Local: nat.Behaviour{Double: c.double}, Try: c.try, OpenerTTL: c.ttl, Self: self}
		if got := openerTTL(&p, c.to); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}

func TestTheFirstProbesAreClosest(t *testing.T) {
	for n, want := range []time.Duration{0, 50, 150, 300, 500, 700, 900} {
		if got := asked(n); got != want*time.Millisecond {
			t.Errorf("the %d. after %s", n, got)
		}
	}
}

func TestPlansOutOfBoundsAreRefused(t *testing.T) {
	for what, change := range map[string]func(*Plan){
		"key":        func(p *Plan) { p.Key = [16]byte{} },
		"candidates": func(p *Plan) { p.Remote = make([]nat.Candidate, nat.MaxCandidates+1) },
		"deadline":   func(p *Plan) { p.Deadline = MaxDeadline + 1 },
		"hold":       func(p *Plan) { p.Hold = -1 },
		"ttl":        func(p *Plan) { p.OpenerTTL = 256 },
		"try":        func(p *Plan) { p.Try = -1 },
		"sockets":    func(p *Plan) { p.Sockets = MaxSockets + 1 },
		"probes":     func(p *Plan) { p.Probes = MaxProbes + 1 },
	} {
		p := testPlan(true)
		if _, err := New(noon, p, [32]byte{}); err != nil {
			t.Fatal(err)
		}
		change(&p)
		if _, err := New(noon, p, [32]byte{}); err == nil {
			t.Errorf("the %s is not looked at", what)
		}
	}
}
