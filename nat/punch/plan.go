package punch

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"simplebit/nat"
)

// Bounds of one attempt.
const (
	// MaxSockets is the most sockets of an attempt, the main one included: they are numbered from 0 to MaxSockets-1.
	MaxSockets = 128
	// MaxProbes is the most guessed ports that are tried.
	MaxProbes = 1024
	// MaxUnconfirmed is the most datagrams to an IPv4 address, or a /64 of IPv6, that has not answered under the key.
	MaxUnconfirmed = 64
	// MaxObserved is the same of Plan.Observed's address, where ports are guessed.
	MaxObserved = MaxProbes + MaxUnconfirmed
	// MaxHold is the longest Plan.Hold.
	MaxHold = 2 * time.Second
	// MaxDeadline is the longest Plan.Deadline.
	MaxDeadline = 30 * time.Second
)

// Plan is what one side is told of an attempt. Attempt and Key are needed; the rest may be left zero, but without any
// address an attempt is impossible. Both sides have the same Attempt, Key, Try, Sockets and Probes, the opposite Controlling, and Local and Peer exchanged.
type Plan struct {
	Attempt     [8]byte  // a name, never used again
	Key         [16]byte // minted for this attempt, known to both sides alone
	Controlling bool     // this side asks first and decides on the path

	Start    time.Time     // of this side's clock; zero: now. A peer that is heard earlier begins it.
	Deadline time.Duration // from Start on; 0: 3 s, or 4.5 s where ports are guessed
	Hold     time.Duration // for how long the controlling side opens before it asks; 0: 150 ms, after a failure 750 ms

	Remote   []nat.Candidate // of the peer, at most nat.MaxCandidates, of families that this side has. Private ones only of a peer behind the same public address.
	Observed netip.AddrPort  // where the surrogate sees the peer on its own session; its port is the newest mapping that was made of it. Zero: no port is guessed.
	Self     netip.Addr      // this side's own public address, as the surrogate sees it

	Local, Peer nat.Behaviour
	OpenerTTL   int // that passes the own NATs and not much more; 0: not known
	Try         int // attempts between the two that have failed before

	Sockets, Probes int // most that are used; 0: MaxSockets and MaxProbes
}

// Expect is the user name of the peer's messages, for udpmux.Routes.AddPunch.
func (p *Plan) Expect() string { return username(p.Attempt, !p.Controlling) }

// check fills in what is zero. Its errors are of who made the plan.
func (p *Plan) check(now time.Time) error {
	switch {
	case p.Key == [16]byte{}:
		return errors.New("punch: the plan has no key")
	case len(p.Remote) > nat.MaxCandidates:
		return fmt.Errorf("punch: the plan has %d addresses of the peer: want at most %d", len(p.Remote), nat.MaxCandidates)
	case p.Deadline < 0 || p.Deadline > MaxDeadline || p.Hold < 0 || p.Hold > MaxHold:
		return fmt.Errorf("punch: the plan has a deadline of %s and a hold of %s: want 0 to %s and 0 to %s", p.Deadline, p.Hold, MaxDeadline, MaxHold)
	case p.OpenerTTL < 0 || p.OpenerTTL > 255 || p.Try < 0:
		return fmt.Errorf("punch: the plan has TTL %d and try %d: want 0 to 255, and no negative try", p.OpenerTTL, p.Try)
	case p.Sockets < 0 || p.Sockets > MaxSockets || p.Probes < 0 || p.Probes > MaxProbes:
		return fmt.Errorf("punch: the plan has %d sockets and %d probes: want at most %d and %d", p.Sockets, p.Probes, MaxSockets, MaxProbes)
	}
	p.Observed = unmap(p.Observed)
	p.Self = p.Self.Unmap()
	if !usable(p.Observed) || !nat.Public(p.Observed.Addr()) {
		p.Observed = netip.AddrPort{}
	}
	if p.Start.IsZero() {
		p.Start = now
	}
	if p.Hold == 0 {
		p.Hold = 150 * time.Millisecond
		if p.Try > 0 {
			p.Hold *= 5
		}
	}
	if p.Sockets == 0 {
		p.Sockets = MaxSockets
	}
	if p.Probes == 0 {
		p.Probes = MaxProbes
	}
	if p.Deadline == 0 {
		p.Deadline = 3 * time.Second
		if p.Method() != Direct {
			p.Deadline = 4500 * time.Millisecond
		}
	}
	return nil
}

// usable reports whether a peer's socket can have the address.
func usable(a netip.AddrPort) bool {
	return a.Port() != 0 && a.Addr().IsGlobalUnicast() && a.Addr().Zone() == "" && !a.Addr().Is4In6()
}

// unmap gives an IPv4 address that is mapped into IPv6 its own form.
func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
