package punch

import "simplebit/nat"

// Method is what an attempt does beside asking at the addresses that are known.
type Method uint8

// The methods. Those of the two sides belong together: Direct with Direct, Predict with Row, Guess with Open, Grid with Grid.
const (
	Hopeless Method = iota // there is no way: a relay is needed
	Direct                 // nothing
	Predict                // the peer's NAT counts: its next ports are asked as well, and then some of all, for one of a row
	Guess                  // the peer's NAT takes random ports: many are asked, in the hope for one of those that it opens
	Open                   // the other side of Guess: many sockets open a port each
	Grid                   // both NATs count: errors of both predictions are covered
	Row                    // the other side of Predict: many sockets open a port each, one after another
)

// String returns a few words for a trace.
func (m Method) String() string {
	return [...]string{"hopeless", "known addresses", "predicted ports", "guessed ports", "many open ports", "predicted ports on both sides", "many ports in a row"}[m]
}

// Choose returns what a side does whose own network treats UDP as local says, and whose peer's does as peer says. Hopeless
// holds for public IPv4 addresses only: the two may still meet in a LAN, by IPv6, or at a port that a router opened.
//
// Random ports against ports that count are as hopeless as against random ones: with 128 sockets and 1,024 datagrams, 8
// predicted ports can be covered, which finds a path once in 60 attempts.
func Choose(local, peer nat.Behaviour) Method {
	switch {
	case local.Blocked || peer.Blocked:
		return Hopeless
	case open(local) || open(peer):
		return Direct
	}
	l, p := allocationOf(local), allocationOf(peer)
	switch {
	case l == steady && p == steady:
		return Direct
	case l == steady && local.Filtering == nat.AddressDependent, p == steady && peer.Filtering == nat.AddressDependent:
		// The one whose ports change is let in from whichever it has.
		return Direct
	case l == steady && p == counted:
		return Predict
	case l == counted && p == steady:
		return Row
	case l == steady && p == random:
		return Guess
	case l == random && p == steady:
		return Open
	case l == counted && p == counted:
		return Grid
	}
	return Hopeless
}

// Method is Choose's, unless the plan has addresses at which a hopeless pair can meet, or does not let ports be guessed.
func (p *Plan) Method() Method {
	m := Choose(p.Local, p.Peer)
	if len(p.Remote) == 0 && !p.Observed.IsValid() {
		return Hopeless
	}
	if m == Hopeless && !p.Local.Blocked && !p.Peer.Blocked {
		for _, c := range p.Remote {
			a := c.Addr.Addr().Unmap()
			if c.Kind == nat.MappedCandidate || a.Is6() || !nat.Public(a) {
				return Direct
			}
		}
	}
	if m > Direct && !p.Observed.IsValid() {
		return Direct
	}
	return m
}

// open reports whether strangers get through to one of the device's addresses.
func open(b nat.Behaviour) bool {
	return b.Reachable == nat.Yes || b.Mapping == nat.EndpointIndependent && b.Filtering == nat.EndpointIndependent
}

// allocation is how a NAT gives out ports to one socket.
type allocation uint8

const (
	steady  allocation = iota // one for all; also what is not known
	counted                   // another one for each endpoint, Step from the one before
	random                    // another one for each
)

func allocationOf(b nat.Behaviour) allocation {
	switch {
	case b.Mapping != nat.AddressDependent && b.Mapping != nat.AddressAndPortDependent:
		return steady
	case b.Step != 0:
		return counted
	}
	return random
}
