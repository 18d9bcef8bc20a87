package edgeagent

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/sys/unix"

	"simplebit/wire/control"
	"simplebit/wire/link"
)

const (
	welcomeTime = 10 * time.Second // from dialling to Welcome
	silentTime  = 5 * time.Second  // without any answer to dialling
	frameTime   = 15 * time.Second // for one frame to be taken by the transport, or to come
)

// connection is a session stream after Welcome.
type connection struct {
	conn    link.Conn
	at      netip.AddrPort // where the surrogate is by UDP
	stream  link.Stream
	frames  *control.Reader
	welcome control.Welcome
}

func (c *connection) close() { c.conn.Close(0, "") }

// byTCP reports whether UDP did not work.
func (c *connection) byTCP() bool { return c.conn.Transport() == link.TCP }

func (c *connection) send(m control.Message) error {
	c.stream.SetWriteDeadline(time.Now().Add(frameTime))
	return control.WriteMessage(c.stream, m)
}

// sendPunched tells what became of attempts at paths to other devices.
func (c *connection) sendPunched(list []control.Punched) error {
	for _, m := range list {
		if err := c.send(m); err != nil {
			return err
		}
	}
	return nil
}

// greeting is what the surrogate said about the network.
func (c *connection) greeting() greeting {
	return greeting{surrogate: c.at, byTCP: c.byTCP(), stun: slices.Clone(c.welcome.STUN), observed: c.welcome.Observed}
}

// road is how the surrogate is reached.
type road struct {
	transport *quic.Transport
	know      func(netip.AddrPort) error // is told where the surrogate is by UDP before it is dialled
}

// connect dials the surrogate, by TCP too where home has a port for that, and says hello. It returns a control.Refused when the
// surrogate refuses the device.
func connect(ctx context.Context, by road, home surrogate, key ed25519.PrivateKey, hello control.Hello) (*connection, error) {
	pin, err := control.ParsePin(home.Pin)
	if err != nil {
		return nil, err
	}
	tlsConfig, err := control.AgentTLS(key, pin)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, welcomeTime)
	defer cancel()
	addr, err := resolve(ctx, home.Addr)
	if err != nil {
		return nil, err
	}
	if err := by.know(addr); err != nil {
		return nil, err
	}
	conn, why := by.ways(addr, home.TCP, tlsConfig).choose(ctx, home.haste())
	if conn == nil {
		return nil, unreachedByAny(home, addr, why)
	}
	c := &connection{conn: conn, at: addr}
	if err := c.greet(ctx, hello); err != nil {
		c.close()
		if errors.As(err, new(control.Refused)) {
			return nil, err
		}
		if c.byTCP() {
			return nil, unwelcomeByTCP(home, err)
		}
		return nil, unreached(home.Addr, addr, err)
	}
	return c, nil
}

// ways are those to a surrogate at an address, with TCP to another port, if any.
func (r road) ways(at netip.AddrPort, tcp uint16, c *tls.Config) (w ways) {
	w[link.QUIC] = func(ctx context.Context) (link.Conn, error) {
		return link.DialQUIC(ctx, r.transport, at, c, quicConfig())
	}
	if tcp != 0 {
		w[link.TCP] = func(ctx context.Context) (link.Conn, error) {
			ctx, cancel := context.WithTimeoutCause(ctx, silentTime, errSilent)
			defer cancel()
			conn, err := link.DialTCP(ctx, netip.AddrPortFrom(at.Addr(), tcp), c)
			if err != nil {
				return nil, cmp.Or(because(ctx), err)
			}
			return conn, nil
		}
	}
	return w
}

var errSilent = fmt.Errorf("no answer in %v", silentTime)

// because is errSilent where that is why ctx ended.
func because(ctx context.Context) error {
	if cause := context.Cause(ctx); errors.Is(cause, errSilent) {
		return cause
	}
	return nil
}

// unreachedByAny says why no way led to the surrogate.
func unreachedByAny(home surrogate, at netip.AddrPort, why [2]error) error {
	err := unreached(home.Addr, at, why[link.QUIC])
	tcp := why[link.TCP]
	if tcp == nil {
		return err
	}
	if reason := syscall.Errno(0); errors.As(tcp, &reason) {
		tcp = reason // the rest names the address once more
	}
	return fmt.Errorf("%w; by TCP to port %d: %w", err, home.TCP, tcp)
}

// unreached says why the surrogate, which was looked up to be at, was not reached, and what to do about it.
func unreached(home string, at netip.AddrPort, err error) error {
	switch {
	case errors.As(err, new(*quic.IdleTimeoutError)):
		return fmt.Errorf("surrogate %s: no answer in %v: check that it runs, and that UDP to port %d passes the firewalls on the way", home, silentTime, at.Port())
	case errors.As(err, new(*quic.HandshakeTimeoutError)), errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("surrogate %s: not connected in %v: check that it has not too much to do, and that UDP to port %d passes the way there and back in packets of 1280 bytes (MTU)", home, welcomeTime, at.Port())
	case failedWith(err, unix.ENETUNREACH), failedWith(err, unix.EHOSTUNREACH):
		return fmt.Errorf("surrogate %s: this device has no route to %v: check its network", home, at.Addr())
	case failedWith(err, unix.EPERM), failedWith(err, unix.EACCES):
		return fmt.Errorf("surrogate %s: this device's firewall forbids UDP to port %d: allow it", home, at.Port())
	}
	return fmt.Errorf("surrogate %s: %w", home, err)
}

// unwelcomeByTCP says why a surrogate that was reached by TCP gave no Welcome.
func unwelcomeByTCP(home surrogate, err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("surrogate %s: by TCP to port %d: no welcome in %v: check that it has not too much to do", home.Addr, home.TCP, welcomeTime)
	}
	return fmt.Errorf("surrogate %s: by TCP to port %d: %w", home.Addr, home.TCP, err)
}

func (c *connection) greet(ctx context.Context, hello control.Hello) (err error) {
	if c.stream, err = c.conn.Open(ctx); err != nil {
		return err
	}
	deadline, _ := ctx.Deadline()
	c.stream.SetDeadline(deadline)
	if err := control.WriteMessage(c.stream, hello); err != nil {
		return err
	}
	c.frames = control.NewReader(c.stream)
	first, err := c.frames.Next()
	if err != nil {
		return err
	}
	switch m := first.(type) {
	case control.Welcome:
		c.welcome = m
		return c.stream.SetDeadline(time.Time{})
	case control.Refused:
		return m
	}
	return fmt.Errorf("answered hello with %T", first)
}

// failedWith says whether sending failed so. Of an error of the socket quic-go hands on no more than the text.
func failedWith(err error, reason syscall.Errno) bool {
	local := (*quic.TransportError)(nil)
	return errors.Is(err, reason) ||
		errors.As(err, &local) && !local.Remote && local.ErrorCode == quic.InternalError && strings.HasSuffix(local.ErrorMessage, ": "+reason.Error())
}

// resolve looks up the surrogate's UDP address.
func resolve(ctx context.Context, hostPort string) (addr netip.AddrPort, err error) {
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		return addr, fmt.Errorf("surrogate address %q: %w", hostPort, err)
	}
	number, err := net.DefaultResolver.LookupPort(ctx, "udp", port)
	if err != nil {
		return addr, fmt.Errorf("surrogate address %q: %w", hostPort, err)
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return addr, fmt.Errorf("surrogate %s cannot be looked up: %w", hostPort, err)
	}
	return netip.AddrPortFrom(addrs[rand.N(len(addrs))].Unmap(), uint16(number)), nil
}

// quicConfig caps what the surrogate can make this device buffer. Relayed connections that stand still take no more than
// maxRelayed windows of streams, so that the session goes on.
func quicConfig() *quic.Config {
	return &quic.Config{
		HandshakeIdleTimeout:           silentTime,
		MaxIdleTimeout:                 75 * time.Second,
		KeepAlivePeriod:                25 * time.Second,
		MaxIncomingStreams:             maxStreams,
		MaxIncomingUniStreams:          -1,
		InitialStreamReceiveWindow:     96 << 10,
		MaxStreamReceiveWindow:         96 << 10,
		InitialConnectionReceiveWindow: 512 << 10,
		MaxConnectionReceiveWindow:     512 << 10,
		InitialPacketSize:              1200, // the shared socket forbids fragments, and quic-go does not search for the MTU here
	}
}
