package punch

import (
	"math/rand/v2"
	"time"
)

const (
	firstPort = 1024
	portRange = 1<<16 - firstPort
)

// predict returns the n-th port, from 1, after one of a NAT that counts in steps.
func predict(port uint16, step, n int) uint16 {
	at := (int(port) - firstPort + step*n) % portRange
	if at < 0 {
		at += portRange
	}
	return uint16(firstPort + at)
}

// series is ports at the peer's observed address that are tried in turn: each a constant distance from the one before.
type series struct {
	first, stride int // since firstPort
	made, most    int
	burst         int           // at once, every seriesEvery
	next          time.Duration // since the start
	opener        bool
}

// seriesEvery is how far bursts are apart: 1,024 ports in bursts of 4 take 2 s.
const (
	seriesEvery = 8 * time.Millisecond
	seriesBurst = 4
)

// after begins a series at the n-th port after one of a NAT that counts in steps, and goes on by so many steps each time.
func after(port uint16, step, n, by, most int) series {
	return series{first: int(predict(port, step, n)) - firstPort, stride: step * by, most: most, burst: seriesBurst}
}

func (s *series) port(n int) uint16 {
	return predict(uint16(firstPort+s.first), s.stride, n)
}

func (s *series) over() bool { return s.made >= s.most }

// Guesses of random ports begin when the other side has opened its own.
const guessFrom = 300 * time.Millisecond

// shuffled is ports of which each is another one: the stride has no factor in common with their number.
func shuffled(r *rand.Rand, most int, from time.Duration) series {
	s := series{first: r.IntN(portRange), most: most, burst: seriesBurst, next: max(from, guessFrom)}
	for s.stride%2 == 0 || s.stride%3 == 0 || s.stride%7 == 0 {
		s.stride = r.IntN(portRange)
	}
	return s
}

// Where one NAT counts, its next ports are asked first. If others have taken all of these since it was observed, its side opens a
// row of ports, one with each socket, and the other side goes through all ports, away from the observed one, in steps shorter
// than the row: so it meets that wherever it is. One in four goes backwards, since the NAT may have begun anew with
// the first of its ports; the first steps are made again for who is late.
const (
	// ahead is how many ports are asked first: the device's next one, and as many others may come before.
	ahead = 16
	// aheadOpened and aheadAsked is how often.
	aheadOpened = 2
	aheadAsked  = 6

	rowFrom    = 400 * time.Millisecond
	rowGap     = 2 * time.Millisecond
	sweepFrom  = 650 * time.Millisecond
	sweepAgain = 600 * time.Millisecond // later
	againSteps = 64
)

// sweep goes through the ports of a NAT with a row of so many.
func sweep(port uint16, step, sockets, most int) []series {
	by := max(1, sockets*5/8)
	again := min(againSteps, most/4)
	back := min((most-again)/4, portRange/4/by)
	ahead := min(most-again-back, portRange/by-back+1)
	all := []series{after(port, step, by/2, by, ahead), after(port, step, by/2-by, -by, back), after(port, step, by/2, by, again)}
	for i := range all {
		all[i].next = sweepFrom
	}
	all[0].burst, all[1].burst = seriesBurst-1, 1
	all[2].next += sweepAgain
	return all
}

// Where both NATs count, a path is where either has sent from the port that the other has sent to. One side's t-th flow leaves
// from the t-th port after its observed one and d more, where d is how many flows of others came first, the other side's
// u-th from the u-th and e more. The controlling side's t-th flow is for port 2t-slack, the other's u-th for port u. So flow
// t=d+e+slack fits flow u=2d+e+slack, whatever d and e are, and the fewer came first the sooner: with a number of flows that
// grows as they do, and not as their square. Flows of others that come in between only make it a later one.
const (
	slack     = 8 // flows that may get lost before they reach the NAT
	gridFirst = 150 * time.Millisecond
)

// noise is how many flows of others either NAT may have begun since its port was observed, for a number of datagrams.
func noise(probes int) int { return max(0, probes-2*slack) / 5 }

// grid is the flows that a side begins, all of them by its first socket, and how it asks by them: the controlling side, whose t-th flow
// fits a later one, at half the speed. A flow of the other side fits an earlier one.
func grid(p *Plan) (all []series) {
	n := noise(p.Probes)
	flows := after(p.Observed.Port(), p.Peer.Step, 1, 1, min(3*n+slack, p.Probes))
	if p.Controlling {
		flows = after(p.Observed.Port(), p.Peer.Step, 2-slack, 2, min(2*n+slack, p.Probes))
	}
	asks := flows
	asks.next = p.Hold + patienceOf(p) + gridFirst
	if flows.opener = true; p.Controlling {
		asks.burst /= 2
	}
	asks.most = min(flows.most, p.Probes-flows.most)
	again := asks
	again.next += gridAgain
	again.most = min(again.most, p.Probes-flows.most-asks.most)
	return []series{flows, asks, again}
}

// gridAgain is how much later the controlling side asks once more.
const gridAgain = 600 * time.Millisecond
