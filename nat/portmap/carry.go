package portmap

import (
	"context"
	"fmt"
	"net/netip"
	"time"
)

// carry carries out an action; at is the UPnP service that an earlier search found.
func (g *gate) carry(ctx context.Context, a action, at wanService) (outcome, wanService) {
	var o outcome
	switch a.by {
	case pcp:
		o = g.carryPCP(ctx, a)
	case natPMP:
		o = g.carryNATPMP(ctx, a)
	case upnp:
		if a.kind == search {
			at, o.err = g.findService(ctx)
			break
		}
		o = g.carryUPnP(ctx, a, at)
	}
	return o, at
}

func (g *gate) carryPCP(ctx context.Context, a action) outcome {
	r := pcpRequest{}
	if a.kind != search {
		r = pcpRequest{port: a.port, nonce: g.nonces[a.port], external: a.external, lifetime: a.lifetime}
	}
	switch {
	case a.kind == ask && !a.external.IsValid():
		// Peers that know our address guess this one, and many ask for it behind other gateways.
		r.external = netip.AddrPortFrom(netip.Addr{}, a.port.Internal)
	case a.kind == remove:
		r.external = netip.AddrPort{} // zeros (RFC 6887 section 15)
	}
	got, err := g.pcp(ctx, r)
	if a.kind == search && got.op == opAnnounce && got.result > pcpBadVersion {
		err = nil // a server all the same: this one wants to answer MAP only
	}
	if err != nil {
		return outcome{err: err}
	}
	return outcome{external: got.external, lifetime: finite(got.lifetime), epoch: got.epoch, hasEpoch: true}
}

func (g *gate) carryNATPMP(ctx context.Context, a action) outcome {
	var o outcome
	if a.kind != remove {
		got, err := g.natPMP(ctx, natPMPRequest{})
		o = outcome{err: err, epoch: got.epoch, hasEpoch: err == nil, external: netip.AddrPortFrom(got.address, 0)}
	}
	if a.kind == search || o.err != nil {
		return o
	}
	r := natPMPRequest{port: a.port, lifetime: a.lifetime}
	if a.kind == ask {
		r.external = wished(a)
	}
	got, err := g.natPMP(ctx, r)
	if err != nil {
		return outcome{err: err}
	}
	return outcome{
		external: netip.AddrPortFrom(o.external.Addr(), got.external), lifetime: finite(got.lifetime), epoch: got.epoch, hasEpoch: true,
	}
}

// wished is the external port to ask for: what was granted before, or else the internal port's number.
func wished(a action) uint16 {
	if p := a.external.Port(); p != 0 {
		return p
	}
	return a.port.Internal
}

// finite keeps a lifetime of 0, which PCP and NAT-PMP do not grant, from reading as one without end.
func finite(d time.Duration) time.Duration { return max(d, time.Nanosecond) }

func (g *gate) carryUPnP(ctx context.Context, a action, at wanService) outcome {
	if a.kind == remove {
		_, err := g.soap(ctx, at, "DeletePortMapping", at.deletePortMapping(a.port, a.external.Port()), "")
		return outcome{err: err}
	}
	address, err := g.externalAddress(ctx, at)
	if err != nil {
		return outcome{err: err}
	}
	port, lifetime, err := g.addPortMapping(ctx, a, at)
	return outcome{err: err, external: netip.AddrPortFrom(address, port), lifetime: lifetime}
}

// externalAddress asks for the address of a service's connection; a gateway whose connection is down has none.
func (g *gate) externalAddress(ctx context.Context, at wanService) (netip.Addr, error) {
	text, err := g.soap(ctx, at, "GetExternalIPAddress", at.envelope("GetExternalIPAddress"), "NewExternalIPAddress")
	if err != nil {
		return netip.Addr{}, err
	}
	a, err := netip.ParseAddr(text)
	if err != nil || a.IsUnspecified() {
		return netip.Addr{}, fmt.Errorf("the gateway names no external address: %.40q", text)
	}
	return a, nil
}
