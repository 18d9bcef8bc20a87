package punch

import (
	"math/rand/v2"
	"time"
)

const (
	// ahead is how many ports of a NAT that counts are predicted: its device's next one, and as many others may come first.
	// After a failure it is twice as many.
	ahead = 16
	// noise is how many flows of others each NAT may have begun since its port was observed, less one, for Grid.
	noise = 12

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

// cell is one flow of a grid: how many mappings the peer's NAT is expected to have made since it was observed.
type cell struct{ socket, ahead int }

// grid returns the flows that a side begins, in this order, where both NATs count. A path is where either has sent from the
// port that the other has sent to. The controlling side's t-th flow leaves from the port d+t after its observed one, where
// d is how many flows of others came first, and the other side's u-th from e+u. The controlling side begins blocks of
// flows to one port each, the u-th block to port 2u-1, and the other side begins its u-th flow to the port of the last of
// the u-th block, if nothing came first. So for all d and e below the noise, the (e+1)-th block holds a flow that
// fits the other side's (e+1)-th: it is for port 2(e+1)-1 = e+(e+1), and one of them leaves from where that expects.
func grid(controlling bool) (cells []cell) {
	for u := 1; u <= noise; u++ {
		if !controlling {
			cells = append(cells, cell{0, noise * u})
			continue
		}
		for socket := range noise {
			cells = append(cells, cell{socket, 2*u - 1})
		}
	}
	return cells
}

// Guesses go out in small bursts, so that 1,024 of them take 2 s.
const (
	guessFrom  = 300 * time.Millisecond // by then the other side has opened its ports
	guessEvery = 8 * time.Millisecond
	guessBurst = 4
)

// guesses are random ports, each another one.
type guesses struct {
	first, stride int
	made, most    int
	next          time.Duration // since the start
}

// newGuesses takes ports by a stride that has no factor in common with their number.
func newGuesses(r *rand.Rand, most int, from time.Duration) guesses {
	g := guesses{first: r.IntN(portRange), most: most, next: max(from, guessFrom)}
	for g.stride = 0; g.stride%2 == 0 || g.stride%3 == 0 || g.stride%7 == 0; {
		g.stride = r.IntN(portRange)
	}
	return g
}

func (g *guesses) port(n int) uint16 { return uint16(firstPort + (g.first+n*g.stride)%portRange) }

func (g *guesses) over() bool { return g.made == g.most }
