package link

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/quic-go/quic-go"
)

// cancelCode is what a cancelled QUIC stream says; there is no more than one reason.
const cancelCode quic.StreamErrorCode = 1

// FromQUIC returns a QUIC connection as a link. How much it may make this side buffer, and how many streams it lets the
// other side open, its quic.Config has said.
func FromQUIC(c *quic.Conn) Conn { return quicConn{c} }

// DialQUIC connects to a surrogate within ctx. Errors are quic-go's.
func DialQUIC(ctx context.Context, from *quic.Transport, to netip.AddrPort, t *tls.Config, q *quic.Config) (Conn, error) {
	c, err := from.Dial(ctx, net.UDPAddrFromAddrPort(to), t, q)
	if err != nil {
		return nil, err
	}
	return quicConn{c}, nil
}

type quicConn struct{ *quic.Conn }

func (c quicConn) Open(ctx context.Context) (Stream, error) {
	s, err := c.OpenStreamSync(ctx)
	if err != nil {
		return nil, err
	}
	return quicStream{s}, nil
}

func (c quicConn) Accept(ctx context.Context) (Stream, error) {
	s, err := c.AcceptStream(ctx)
	if err != nil {
		return nil, err
	}
	return quicStream{s}, nil
}

func (c quicConn) Close(code Code, reason string) {
	c.CloseWithError(quic.ApplicationErrorCode(code), reason)
}

func (c quicConn) Done() <-chan struct{}    { return c.Context().Done() }
func (c quicConn) TLS() tls.ConnectionState { return c.ConnectionState().TLS }
func (c quicConn) Local() netip.AddrPort    { return addrPort(c.LocalAddr()) }
func (c quicConn) Remote() netip.AddrPort   { return addrPort(c.RemoteAddr()) }
func (c quicConn) RTT() time.Duration       { return c.ConnectionStats().SmoothedRTT }
func (c quicConn) Transport() Transport     { return QUIC }

type quicStream struct{ *quic.Stream }

func (s quicStream) Read(b []byte) (int, error) {
	n, err := s.Stream.Read(b)
	return n, s.failed(err)
}

func (s quicStream) Write(b []byte) (int, error) {
	n, err := s.Stream.Write(b)
	return n, s.failed(err)
}

// failed returns what an error of quic-go means. The other side cancels the two directions one after the other, and who
// learned of one must not end the other well.
func (s quicStream) failed(err error) error {
	err = streamError(err)
	if errors.Is(err, ErrCancelled) {
		s.Cancel()
	}
	return err
}

func (s quicStream) CloseWrite() error {
	err := s.Close() // of a cancelled stream quic-go says no more than a text, and that once
	if cause := streamError(context.Cause(s.Context())); errors.Is(cause, ErrCancelled) {
		return ErrCancelled
	}
	return err
}

func (s quicStream) Cancel() {
	s.CancelRead(cancelCode)
	s.CancelWrite(cancelCode)
}

func streamError(err error) error {
	if errors.As(err, new(*quic.StreamError)) {
		return ErrCancelled
	}
	return err
}

// addrPort is an address of a socket, IPv4 as IPv4.
func addrPort(a net.Addr) netip.AddrPort {
	var p netip.AddrPort
	switch a := a.(type) {
	case *net.UDPAddr:
		p = a.AddrPort()
	case *net.TCPAddr:
		p = a.AddrPort()
	default:
		p, _ = netip.ParseAddrPort(a.String())
	}
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}
