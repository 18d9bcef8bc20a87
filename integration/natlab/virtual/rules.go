package virtual

import (
	"net/netip"
	"time"

	"simplebit/integration/natlab"
)

// opening is for whom the port of a device is open beyond the flows that it began.
type opening uint8

const (
	nobody opening = iota
	everybody
	sameAddress
)

// rules is what a kind does with IPv4, in the terms of natlab's rule sets.
type rules struct {
	translated bool // else devices have public addresses, and all passes
	blocked    bool
	unguarded  bool // packets that nobody asked for are the router's own
	opening    opening
	hairpin    bool
	keep       bool // the endpoint of a device stays what it is, whoever it sends to next
	perAddress bool // …for each address that it sends to
	reserved   bool // a port that one device has is not given to another
	sequential bool
	ports      span // of new endpoints; its address is the router's
}

// kinds is all that natlab knows, with their IPv6 if they have it.
var kinds = map[natlab.Kind]struct {
	four rules
	six  natlab.Kind // IPv6Open, IPv6Firewalled or none
	only bool        // there is no IPv4
}{
	natlab.None:                  {},
	natlab.FullCone:              {four: rules{translated: true, opening: everybody, keep: true, reserved: true}},
	natlab.FullConeHairpin:       {four: rules{translated: true, opening: everybody, keep: true, reserved: true, hairpin: true}},
	natlab.AddressRestricted:     {four: rules{translated: true, opening: sameAddress, keep: true, reserved: true}},
	natlab.PortRestricted:        {four: rules{translated: true}},
	natlab.PortRestrictedHairpin: {four: rules{translated: true, hairpin: true}},
	natlab.Bare:                  {four: rules{translated: true, unguarded: true}},
	natlab.PortShifted:           {four: rules{translated: true, keep: true, ports: span{first: 20000, last: 29999, random: true}}},
	natlab.AddressDependent:      {four: rules{translated: true, keep: true, perAddress: true, ports: span{random: true}}},
	natlab.Sequential:            {four: rules{translated: true, sequential: true}},
	natlab.Symmetric:             {four: rules{translated: true, ports: span{random: true}}},
	natlab.Mapping:               {four: rules{translated: true}},
	natlab.DualStack:             {four: rules{translated: true}, six: natlab.IPv6Firewalled},
	natlab.IPv6Open:              {six: natlab.IPv6Open, only: true},
	natlab.IPv6Firewalled:        {six: natlab.IPv6Firewalled, only: true},
	natlab.UDPBlocked:            {four: rules{translated: true, blocked: true}},
	natlab.TCP443Only:            {four: rules{translated: true, blocked: true}},
}

// The ports of a sequential router, in turn.
const (
	sequenceFirst  = 20000
	sequenceLength = 4096
)

// Keys of what routers learn. A zero address or port stands for any.
type (
	// device is an endpoint of a device, and the address that it sends to.
	device struct {
		inside netip.AddrPort
		to     netip.Addr
	}
	// door is a port of the router's, and who may use it.
	door struct {
		port uint16
		from netip.Addr
	}
)

// memory is what the rules learned.
type memory struct {
	out      learned[device, netip.AddrPort] // endpoints outside
	in       learned[door, netip.AddrPort]   // endpoints inside
	reserved learned[uint16, struct{}]
	sequence int // ports given so far
}

func (r rules) device(inside, to netip.AddrPort) device {
	d := device{inside: inside}
	if r.perAddress {
		d.to = to.Addr()
	}
	return d
}

func (r rules) door(port uint16, from netip.Addr) door {
	d := door{port: port}
	if r.opening == sameAddress {
		d.from = from
	}
	return d
}

// redirect is where the first packet of a flow, which is for one of the router's ports, goes instead.
func (b *box) redirect(now time.Time, from Side, p Packet) (netip.AddrPort, bool) {
	if to, ok := b.forwards[p.To.Port()]; ok && from == Outside {
		return to, true
	}
	if from == Outside && b.rules.opening == nobody || from == Inside && !b.rules.hairpin {
		return netip.AddrPort{}, false
	}
	return b.learned.in.get(now, b.rules.door(p.To.Port(), p.From.Addr()))
}

// choose is what the source of a new flow to the internet may be translated to.
func (b *box) choose(now time.Time, f *flow) span {
	own := f.sent.From
	if b.rules.keep {
		if kept, ok := b.learned.out.get(now, b.rules.device(own, f.answer.From)); ok {
			return span{addr: kept.Addr(), first: kept.Port(), last: kept.Port()}
		}
	}
	s := b.rules.ports
	s.addr = b.external
	if b.rules.sequential {
		s.first = uint16(sequenceFirst + b.learned.sequence%sequenceLength*natlab.Step)
		s.last = s.first
		b.learned.sequence++
	}
	if _, taken := b.learned.reserved.get(now, own.Port()); taken && b.rules.reserved {
		s.random = true
	}
	if b.block != nil {
		s.first, s.last = b.block(own.Addr())
	}
	return s
}

// turn is the same of a flow that goes back inside.
func (b *box) turn(now time.Time, f *flow) span {
	switch {
	case b.block != nil:
		return b.choose(now, f)
	case b.rules.keep:
		if kept, ok := b.learned.out.get(now, b.rules.device(f.sent.From, f.answer.From)); ok {
			return span{addr: kept.Addr(), first: kept.Port(), last: kept.Port()}
		}
	}
	return span{addr: b.external}
}

// learn sees the packets of flows that devices began, after their translation.
func (b *box) learn(now time.Time, f *flow) {
	ends := now.Add(b.timeout)
	inside, outside, to := f.sent.From, f.answer.To, f.answer.From
	if b.rules.keep {
		b.learned.out.see(now, ends, b.rules.device(inside, to), outside)
	}
	if b.rules.reserved {
		b.learned.reserved.see(now, ends, outside.Port(), struct{}{})
	}
	if b.rules.opening != nobody || b.rules.hairpin {
		b.learned.in.see(now, ends, b.rules.door(outside.Port(), to.Addr()), inside)
	}
}
