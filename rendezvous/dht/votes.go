package dht

import "net/netip"

// Bounds of what others say about our own address.
const (
	maxVoters = 64
	leastVote = 5 // hosts that must agree
)

// votes are what others say is our address (BEP 42: key ip), one voice for each of the last maxVoters networks.
type votes struct {
	voices map[netip.Prefix]netip.Addr
}

// vote notes what a node says.
func (v *votes) vote(from, seen netip.Addr) {
	if v.voices == nil {
		v.voices = make(map[netip.Prefix]netip.Addr)
	}
	n := network(from)
	if _, ok := v.voices[n]; !ok && len(v.voices) >= maxVoters {
		for old := range v.voices {
			delete(v.voices, old)
			break
		}
	}
	v.voices[n] = seen
}

// elected returns the address that more than half of all name, and at least leastVote; the zero value if there is none.
func (v *votes) elected() netip.Addr {
	counts := make(map[netip.Addr]int)
	for _, a := range v.voices {
		counts[a]++
	}
	for a, n := range counts {
		if n >= leastVote && 2*n > len(v.voices) {
			return a
		}
	}
	return netip.Addr{}
}
