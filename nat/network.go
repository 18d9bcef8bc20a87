package nat

import "net/netip"

// CandidateKind is how an address of a device came to be known (RFC 8445 section 4: host, server and peer reflexive; the
// others say more).
type CandidateKind uint8

// The kinds of candidates, the most direct ones first.
const (
	HostCandidate      CandidateKind = 1 // an address of an interface of the device
	MappedCandidate    CandidateKind = 2 // what a router forwards on request (PCP, NAT-PMP, UPnP)
	ReflexiveCandidate CandidateKind = 3 // where a STUN server sees the device's socket
)

// String returns the kind's name in the API: "host", "mapped", "reflexive", else "unknown".
func (k CandidateKind) String() string {
	switch k {
	case HostCandidate:
		return "host"
	case MappedCandidate:
		return "mapped"
	case ReflexiveCandidate:
		return "reflexive"
	}
	return "unknown"
}

// Candidate is an address at which the device's UDP socket may be reached.
type Candidate struct {
	Kind CandidateKind
	Addr netip.AddrPort // never IPv4 mapped into IPv6, no zone
	TCP  bool           // peers are accepted there by TCP too
}

// MaxCandidates is the most candidates of one device.
const MaxCandidates = 16

// Network is what a device found out about the network that it sits in.
type Network struct {
	Behaviour  Behaviour   // of its IPv4 where it has that, else of its IPv6
	Candidates []Candidate // at most MaxCandidates, without duplicates
}
