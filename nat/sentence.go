package nat

import "fmt"

// Sentence says in plain words what a device with this behaviour sits behind and what that means for connections from
// outside, for people who do not know RFC 4787. It is lower case, without a full stop, goes on from "the device is", and
// has at most 120 bytes.
func (b Behaviour) Sentence() string {
	switch {
	case b.Blocked:
		return "on a network that lets no UDP through, which most direct connections need"
	case b.Public == Yes:
		return "on the internet with an address of its own" + b.firewall()
	case b.Public == No && b.Double == Yes:
		return "behind two or more routers in a row that " + b.openness("")
	case b.Public == No:
		return "behind a home router that " + b.openness("s")
	}
	return "on a network that " + b.openness("s")
}

// everybody reports whether strangers get through to the device.
func (b Behaviour) everybody() bool {
	return b.Reachable == Yes || b.Reachable != No && b.Filtering == EndpointIndependent && b.Mapping == EndpointIndependent
}

// firewall is what stands in front of a device without address translation.
func (b Behaviour) firewall() string {
	switch {
	case b.everybody():
		return ": everybody can connect to it"
	case b.Filtering == AddressDependent, b.Filtering == AddressAndPortDependent, b.Reachable == No:
		return ", behind a firewall that allows direct connections"
	}
	return "; whether a firewall stands before it is not known"
}

// openness is what the translator does, after "that"; s ends its verbs.
func (b Behaviour) openness(s string) string {
	switch {
	case b.everybody():
		return fmt.Sprintf("let%s everybody connect to it", s)
	case b.Mapping == EndpointIndependent:
		return fmt.Sprintf("allow%s direct connections", s)
	case b.Mapping == Unknown && b.Preserved == Yes:
		return fmt.Sprintf("keep%s ports: direct connections probably work", s)
	case b.Mapping != AddressDependent && b.Mapping != AddressAndPortDependent:
		return fmt.Sprintf("show%s too little to tell whether direct connections work", s)
	case b.Step != 0:
		return fmt.Sprintf("change%s ports in a foreseeable way: most direct connections work", s)
	}
	return fmt.Sprintf("use%s another port for everyone: direct connections are hard", s)
}
