package swarm

import "net/netip"

// A Verdict says that an address is of no use.
type Verdict struct {
	Addr   netip.AddrPort
	Reason VerdictReason
}

// VerdictReason is why an address is of no use. The numbers are those of control.UnusableReason.
type VerdictReason uint8

// The reasons of a Verdict.
const (
	Unreachable VerdictReason = 1 // no handshake came about
	Useless     VerdictReason = 2 // it broke the protocol, has another torrent, or is this client itself
	Lied        VerdictReason = 3 // it sent corrupt data
)
