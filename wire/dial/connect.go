package dial

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// headStart is how long uTP is tried alone where nothing is known of an address.
const headStart = 250 * time.Millisecond

// A route is a transport and who opens its connections.
type route struct {
	transport Transport
	dialer    ContextDialer // nil: there is no such route
}

// routes are what to connect by.
type routes struct {
	first, second route
	sure          bool // the first is known to work
}

// routes returns in which order to try what there is.
func (d *Dialer) routes(known Transport) routes {
	tcp, utp := route{TCP, d.TCP}, route{UTP, d.UTP}
	switch {
	case d.NoTCP:
		tcp.dialer = nil
	case d.TCP == nil:
		tcp.dialer = &net.Dialer{}
	}
	r := routes{first: utp, second: tcp, sure: known != Any}
	if known == TCP || utp.dialer == nil {
		r.first, r.second = tcp, utp
	}
	if r.first.dialer == nil {
		r.first, r.second = r.second, r.first
	}
	return r
}

// An outcome is how a route ended.
type outcome struct {
	c   net.Conn
	by  route
	err error
}

// connect opens a connection by the first route, or by the second, which joins when the first has failed or had its time
// alone. It returns when both have ended.
func (d *Dialer) connect(ctx context.Context, addr netip.AddrPort, r routes) (net.Conn, route, error) {
	if r.first.dialer == nil {
		return nil, route{}, errTransports
	}
	var connecting context.Context
	var cancel context.CancelFunc
	if d.Connect > 0 {
		connecting, cancel = context.WithTimeout(ctx, d.Connect)
	} else {
		connecting, cancel = context.WithCancel(ctx)
	}
	defer cancel()
	if r.second.dialer == nil {
		o := r.first.open(connecting, addr)
		return o.c, o.by, o.err
	}
	outcomes := make(chan outcome)
	begin := func(by route) { go func() { outcomes <- by.open(connecting, addr) }() }
	begin(r.first)
	alone := time.NewTimer(r.alone(connecting))
	defer alone.Stop()
	var o outcome
	select {
	case o = <-outcomes:
		if o.err == nil {
			return o.c, o.by, nil
		}
		last := r.second.open(connecting, addr)
		return last.c, last.by, bothFailed(o.err, last.err)
	case <-alone.C:
	}
	begin(r.second)
	if o = <-outcomes; o.err != nil {
		last := <-outcomes
		return last.c, last.by, bothFailed(o.err, last.err)
	}
	cancel()
	if lost := <-outcomes; lost.err == nil {
		Abort(lost.c)
	}
	return o.c, o.by, nil
}

// alone is how long the first route is tried alone.
func (r routes) alone(ctx context.Context) time.Duration {
	if end, ok := ctx.Deadline(); ok && r.sure {
		return time.Until(end) / 2
	}
	return headStart
}

// bothFailed is the error where the first route failed with one error and the last one, if it did, with another.
func bothFailed(first, last error) error {
	if last == nil {
		return nil
	}
	return fmt.Errorf("%w; %w", first, last)
}

func (r route) open(ctx context.Context, addr netip.AddrPort) outcome {
	c, err := r.dialer.DialContext(ctx, r.transport.String(), addr.String())
	if err != nil {
		return outcome{by: r, err: fmt.Errorf("%s: %w", r.transport, because(ctx, err))}
	}
	return outcome{c, r, nil}
}
