package nat

import "time"

// Dependence is what a NAT's mapping or filtering depends on (RFC 4787 sections 4.1 and 5).
type Dependence uint8

// The kinds of dependence. Unknown: it was not found out, or cannot be.
const (
	Unknown Dependence = iota
	EndpointIndependent
	AddressDependent
	AddressAndPortDependent
)

// String returns RFC 4787's words, in lower case.
func (d Dependence) String() string {
	switch d {
	case EndpointIndependent:
		return "endpoint-independent"
	case AddressDependent:
		return "address-dependent"
	case AddressAndPortDependent:
		return "address and port-dependent"
	}
	return "unknown"
}

// Answer is yes or no, where it may also be unknown.
type Answer uint8

// The answers.
const (
	Unsure Answer = iota
	No
	Yes
)

// String returns "yes", "no" or "unknown".
func (a Answer) String() string {
	switch a {
	case Yes:
		return "yes"
	case No:
		return "no"
	}
	return "unknown"
}

// Behaviour is how the network that a device sits behind treats its UDP (RFC 4787, 5780). The zero value knows nothing.
type Behaviour struct {
	Blocked   bool   // no UDP comes back at all; the rest means nothing then
	Public    Answer // the device's own address is the one that the internet sees: no address translation
	Mapping   Dependence
	Filtering Dependence
	Preserved Answer        // the external port is the internal one
	Step      int           // external ports of successive mappings differ by this; 0: not sequential, or unknown
	Hairpin   Answer        // what is sent to the external endpoint from inside comes back in (RFC 4787 section 6)
	Double    Answer        // more than one NAT
	Lifetime  time.Duration // of a mapping without traffic, a lower bound; 0: unknown
	Reachable Answer        // somebody whom the device had never sent to got through
}
