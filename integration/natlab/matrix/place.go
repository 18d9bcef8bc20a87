//go:build linux

package matrix

import (
	"fmt"
	"slices"
	"strings"

	"simplebit/integration/natlab"
	"simplebit/nat"
)

// Place is where a device is: behind a router of a natlab.Kind, by its name, or [CGNAT] or [CGNATHairpin].
type Place string

// The places beside the kinds: behind a port-restricted router that is itself behind a carrier's NAT.
const (
	CGNAT        Place = "cgnat"
	CGNATHairpin Place = "cgnat-hairpin" // the carrier leads packets back to its homes
)

// Places returns all, in the order of the documentation.
func Places() (all []Place) {
	for _, k := range natlab.Kinds() {
		all = append(all, Place(k))
	}
	return append(all, CGNAT, CGNATHairpin)
}

func parsePlace(name string) (Place, error) {
	if !slices.Contains(Places(), Place(name)) {
		return "", fmt.Errorf("there is no NAT of kind %q; `natlab list` prints the kinds", name)
	}
	return Place(name), nil
}

// kind is that of the home's router.
func (p Place) kind() natlab.Kind {
	if p.carrier() {
		return natlab.PortRestricted
	}
	return natlab.Kind(p)
}

func (p Place) carrier() bool { return p == CGNAT || p == CGNATHairpin }

// ipv4 reports whether the home has IPv4, and ipv6 whether it has IPv6.
func (p Place) ipv4() bool { return !p.only6() }
func (p Place) ipv6() bool { return p.only6() || p.kind() == natlab.DualStack }

func (p Place) only6() bool {
	return p.kind() == natlab.IPv6Open || p.kind() == natlab.IPv6Firewalled
}

// blocked reports whether UDP goes nowhere.
func (p Place) blocked() bool { return p.kind().Expect().Blocked }

// mapping is how the home's external ports for another device are found, in the words of the bars.
type mapping uint8

const (
	cone       mapping = iota // by asking a server
	sequential                // by counting on
	random                    // by luck: another port for each address, or for each endpoint
)

func (p Place) mapping() mapping {
	switch b := p.kind().Expect(); {
	case b.Mapping == nat.EndpointIndependent:
		return cone
	case b.Step != 0:
		return sequential
	}
	return random
}

// welcoming reports whether packets of an address that the device has sent to are let in from every port of it: the home is a
// full or address-restricted cone, or has opened its port on request.
func (p Place) welcoming() bool {
	b := p.kind().Expect()
	return !p.carrier() && (b.Filtering != nat.AddressAndPortDependent || p.kind() == natlab.Mapping)
}

// Pair is two places, or one that two devices share.
type Pair struct {
	A, B Place
	// Shared is what the devices share: "home", "carrier", or nothing.
	Shared string
	// NoRelay has the surrogate carry nothing, so that it is never sooner than a path.
	NoRelay bool
}

// What two devices can share.
const (
	sharedHome    = "home"
	sharedCarrier = "carrier"
)

// String is the pair as ParsePair reads it.
func (p Pair) String() string {
	text := string(p.A) + ":" + string(p.B)
	if p.Shared != "" {
		text = string(p.A) + ":same-" + p.Shared
	}
	if p.NoRelay {
		text += noRelay
	}
	return text
}

// noRelay ends the names of pairs for which the surrogate carries nothing.
const noRelay = ":no-relay"

// ParsePair reads "KIND:KIND", "KIND:same-home" or "cgnat:same-carrier", any of them with ":no-relay" behind. Which of two kinds is
// named first does not matter.
func ParsePair(text string) (p Pair, err error) {
	places, alone := strings.CutSuffix(text, noRelay)
	p.NoRelay = alone
	first, second, two := strings.Cut(places, ":")
	if !two {
		return p, fmt.Errorf("pair %q: want KIND:KIND, KIND:same-home or cgnat:same-carrier", text)
	}
	if p.A, err = parsePlace(first); err != nil {
		return p, err
	}
	if shared, same := strings.CutPrefix(second, "same-"); same {
		p.B, p.Shared = p.A, shared
		if shared != sharedHome && (shared != sharedCarrier || !p.A.carrier()) {
			return p, fmt.Errorf("pair %q: want KIND:same-home, or same-carrier for %s and %s", text, CGNAT, CGNATHairpin)
		}
		return p, nil
	}
	if p.B, err = parsePlace(second); err != nil {
		return p, err
	}
	if all := Places(); slices.Index(all, p.A) > slices.Index(all, p.B) {
		p.A, p.B = p.B, p.A
	}
	return p, nil
}

// Missing returns what this machine lacks for the pair.
func (p Pair) Missing() error {
	for _, place := range []Place{p.A, p.B} {
		if err := place.kind().Missing(); err != nil {
			return err
		}
	}
	return nil
}

// Row is a pair with the number of tries.
type Row struct {
	Pair
	Tries int
}

// closely are the pairs that are tried most often.
var closely = []Pair{
	{A: Place(natlab.PortRestricted), B: Place(natlab.PortRestricted)},
	{A: Place(natlab.Bare), B: Place(natlab.Bare)},
	{A: Place(natlab.PortRestricted), B: CGNAT},
	{A: Place(natlab.PortRestricted), B: Place(natlab.Sequential)},
	{A: Place(natlab.AddressRestricted), B: Place(natlab.Symmetric)},
	{A: Place(natlab.PortRestricted), B: Place(natlab.Symmetric)},
}

// Rows returns every pair, the six that are looked at most closely first, with so many tries for those and for the others. Where a
// path takes longer than the relay waits for it there is a second row without the relay, of four times as many tries, and no more than
// the six have: where luck decides, few tries say nothing.
func Rows(close, other int) (rows []Row) {
	add := func(tries int, p Pair) {
		if !slices.ContainsFunc(rows, func(r Row) bool { return r.Pair == p }) {
			rows = append(rows, Row{p, tries})
			if p.late() {
				p.NoRelay = true
				rows = append(rows, Row{p, min(close, 4*tries)})
			}
		}
	}
	for _, p := range closely {
		add(close, p)
	}
	all := Places()
	for i, a := range all {
		for _, b := range all[i:] {
			add(other, Pair{A: a, B: b})
		}
	}
	for _, p := range []Place{Place(natlab.PortRestricted), Place(natlab.Symmetric)} {
		add(other, Pair{A: p, B: p, Shared: sharedHome})
	}
	for _, p := range []Place{CGNAT, CGNATHairpin} {
		add(other, Pair{A: p, B: p, Shared: sharedCarrier})
	}
	return rows
}
