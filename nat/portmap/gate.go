package portmap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// gate is the gateway of a search and what was found out about it: the only host that anything is sent to, beside SSDP's
// group. It does not change; a search makes another one.
type gate struct {
	addr   netip.Addr
	nonces map[Port]nonce
	dialer func(ctx context.Context, network, address string) (net.Conn, error)
	listen func(network, address string) (net.PacketConn, error)
}

// mostDatagrams bounds how many datagrams are looked at while one is waited for.
const mostDatagrams = 32

// waits are for how long answers to a datagram are waited for before it is sent again: NAT-PMP's (RFC 6886 section 3.1), of
// which four are enough on one link. PCP's of 3 s and more are for servers further away.
var waits = [...]time.Duration{250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second}

var (
	errSilent   = errors.New("the gateway does not answer")
	errNoSource = errors.New("the connection does not say from which address it is")
)

// dial connects to a port of the gateway. The connection ends with the context: whatever it waits for then fails.
func (g *gate) dial(ctx context.Context, network string, port uint16) (net.Conn, error) {
	c, err := g.dialer(ctx, network, netip.AddrPortFrom(g.addr, port).String())
	if err != nil {
		return nil, err
	}
	return &bounded{c, context.AfterFunc(ctx, func() { c.SetDeadline(past) })}, nil
}

// past is a deadline that ends what waits.
var past = time.Unix(1, 0)

// bounded is a connection that forgets its context when it is closed.
type bounded struct {
	net.Conn
	forget func() bool
}

func (b *bounded) Close() error {
	b.forget()
	return b.Conn.Close()
}

// source is the local address of a connection.
func source(a net.Addr) netip.Addr {
	ap, _ := netip.ParseAddrPort(a.String())
	return ap.Addr().Unmap().WithZone("")
}

// exchange sends a request until an answer to it comes. make gets the address that it is sent from; take says whether a
// datagram from the gateway is the answer, and with which error.
func (g *gate) exchange(ctx context.Context, makeRequest func(from netip.Addr) []byte, take func(b []byte) (mine bool, err error)) error {
	c, err := g.dial(ctx, "udp", gatewayPort)
	if err != nil {
		return err
	}
	defer c.Close()
	from := source(c.LocalAddr())
	if !from.IsValid() {
		return errNoSource
	}
	request := makeRequest(from)
	buf := make([]byte, pcpMost+1)
	left := mostDatagrams
	for _, wait := range waits {
		c.SetDeadline(time.Now().Add(wait))
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if _, err := c.Write(request); err != nil {
			return unreachable(ctx, err)
		}
		for {
			n, err := c.Read(buf)
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() && ctx.Err() == nil {
				break
			}
			if err != nil {
				return unreachable(ctx, err)
			}
			if mine, err := take(buf[:n]); mine {
				return err
			}
			if left--; left == 0 {
				return errSilent
			}
		}
	}
	return errSilent
}

// unreachable is the error of a connection: the context's, where that ended it.
func unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("the gateway cannot be reached: %w", err)
}

// pcp carries out one request and returns its response if that grants it.
func (g *gate) pcp(ctx context.Context, r pcpRequest) (got pcpResponse, err error) {
	err = g.exchange(ctx, func(from netip.Addr) []byte {
		r.client = from
		return r.appendMarshal(nil)
	}, func(b []byte) (bool, error) {
		got, err = parsePCP(b)
		switch {
		case errors.Is(err, errVersion):
			return true, err
		case err != nil:
			return false, nil
		case got.result == pcpBadVersion:
			return true, errVersion
		case r.port == (Port{}):
			return got.op == opAnnounce, got.refusal()
		}
		// RFC 6887 section 11.4: a response that differs in these is somebody else's.
		return got.op == opMAP && got.port == r.port && got.nonce == r.nonce, got.refusal()
	})
	return got, err
}

// natPMP carries out one request and returns its response if that grants it.
func (g *gate) natPMP(ctx context.Context, r natPMPRequest) (got natPMPResponse, err error) {
	err = g.exchange(ctx, func(netip.Addr) []byte {
		return r.appendMarshal(nil)
	}, func(b []byte) (bool, error) {
		got, err = parseNATPMP(b)
		mine := err == nil && got.op == natPMPOpcode(r.port) && (got.result != 0 || got.port == r.port)
		return mine, got.result.refusal()
	})
	return got, err
}
