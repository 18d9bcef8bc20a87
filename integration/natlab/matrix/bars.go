//go:build linux

package matrix

import (
	"fmt"
	"strings"
	"time"
)

// Bar is what the tries of a pair must achieve. The zero value is met by all.
type Bar struct {
	// Direct asks that the surrogate carries none of the data, in the counted tries.
	Direct bool
	// LAN asks, beside Direct, that it stays within what the devices share, in the counted tries.
	LAN bool
	// Percent is how many of the tries must count: all, unless Direct.
	Percent float64
	// Within is when the first verified data must be there in a try that counts. 0: at any time.
	Within time.Duration
	// Median is what the median of the times to the first verified data must be below. 0: it may be anything.
	Median time.Duration
}

// String is the bar as the table has it.
func (b Bar) String() string {
	var parts []string
	if b.Percent > 0 {
		what := "data in every try"
		if b.LAN {
			what = fmt.Sprintf("lan ≥ %g %%", b.Percent)
		} else if b.Direct {
			what = fmt.Sprintf("direct ≥ %g %%", b.Percent)
		}
		if b.Within > 0 {
			what += fmt.Sprintf(" within %g s", b.Within.Seconds())
		}
		parts = append(parts, what)
	}
	if b.Median > 0 {
		parts = append(parts, fmt.Sprintf("median < %g s", b.Median.Seconds()))
	}
	return strings.Join(parts, ", ")
}

// Counts reports whether a try achieved what the bar asks of each.
func (b Bar) Counts(t Try) bool {
	switch t.Class {
	case None:
		return false
	case Relayed:
		if b.Direct {
			return false
		}
	case Direct:
		if b.LAN {
			return false
		}
	}
	return b.Within == 0 || t.First <= b.Within
}

// Met reports whether the tries of a pair achieve what the bar asks.
func (b Bar) Met(tries []Try) bool {
	n := 0
	for _, t := range tries {
		if b.Counts(t) {
			n++
		}
	}
	if float64(n)*100 < b.Percent*float64(len(tries)) {
		return false
	}
	median, ok := Quantile(tries, 0.5)
	return b.Median == 0 || ok && median < b.Median
}

// The bars.
var (
	easy     = Bar{Direct: true, Percent: 99, Median: time.Second}
	home     = Bar{Direct: true, LAN: true, Percent: 99, Median: time.Second}
	counted  = Bar{Direct: true, Percent: 95}
	guessed  = Bar{Direct: true, Percent: 99}
	lucky    = Bar{Direct: true, Percent: 95, Within: 10 * time.Second}
	both     = Bar{Direct: true, Percent: 80}
	hopeless = Bar{Percent: 100, Within: 2 * time.Second}
	noUDP    = Bar{Percent: 100, Within: 4 * time.Second}
	indoors  = Bar{Direct: true, LAN: true, Percent: 99, Within: 4 * time.Second}
	anyway   = Bar{Percent: 100}
)

// Bars returns what the tries of a pair must achieve. Devices in one home must use its network; behind one carrier that hairpins
// they are held to what cones are. Pairs without a common family of addresses are as hopeless as two random ports. Those that have no bar of their own
// must get the data. Without the relay nothing is asked of pairs that need it.
func Bars(p Pair) Bar {
	b := p.bar()
	switch {
	case p.NoRelay && !b.Direct:
		return Bar{}
	case !p.NoRelay && b == lucky:
		return anyway
	}
	return b
}

// late reports whether the path of a pair is often made only when the surrogate carries the data already.
func (p Pair) late() bool { return !p.NoRelay && p.bar() == lucky }

// bar is what must be achieved however long a path takes.
func (p Pair) bar() Bar {
	switch {
	case p.Shared == sharedHome && p.A.blocked():
		return indoors // from the start of an agent, as all without UDP
	case p.Shared == sharedHome:
		return home
	case p.A.blocked() || p.B.blocked():
		return noUDP
	case p.Shared == sharedCarrier && p.A == CGNAT:
		return anyway // what does not work there is not known before it is tried
	case p.A.ipv6() && p.B.ipv6():
		return easy
	case !p.A.ipv4() || !p.B.ipv4():
		return hopeless
	}
	a, b := p.A, p.B
	if a.mapping() < b.mapping() {
		a, b = b, a
	}
	switch [2]mapping{a.mapping(), b.mapping()} {
	case [2]mapping{cone, cone}:
		return easy
	case [2]mapping{sequential, cone}:
		return counted
	case [2]mapping{sequential, sequential}:
		return both
	case [2]mapping{random, cone}:
		if b.welcoming() {
			return guessed
		}
		return lucky
	case [2]mapping{random, random}:
		return hopeless
	}
	return anyway
}
