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
	idleTime    = 75 * time.Second // without anything by QUIC
)

// connection is one with the surrogate, and after Welcome a session stream.
type connection struct {
	conn    link.Conn
	at      netip.AddrPort // where the surrogate is by UDP
	hello   control.Hello
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
	tcpFirst  bool                       // QUIC is dialled only where there is no way by TCP
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
	c, why := by.reach(ctx, by.ways(addr, home.TCP, tlsConfig, hello), home.haste())
	if c == nil {
		return nil, unreachedByAny(home, addr, why)
	}
	return c, nil
}

// reach is choose, by TCP alone before QUIC is tried where that is wanted.
func (r road) reach(ctx context.Context, w ways[*connection], h haste) (c *connection, why [2]error) {
	if !r.tcpFirst || w[link.TCP] == nil {
		return w.choose(ctx, h)
	}
	second := w[link.QUIC]
	if c, why = (ways[*connection]{link.TCP: w[link.TCP]}).choose(ctx, h); c != nil || declined(why[link.TCP]) {
		return c, why
	}
	c, last := ways[*connection]{link.QUIC: second}.choose(ctx, h)
	why[link.QUIC] = last[link.QUIC]
	return c, why
}

// ways are those to a surrogate at an address, with TCP to another port, if any.
func (r road) ways(at netip.AddrPort, tcp uint16, c *tls.Config, hello control.Hello) (w ways[*connection]) {
	w[link.QUIC] = func(ctx context.Context) (*connection, error) {
		conn, err := link.DialQUIC(ctx, r.transport, at, c, quicConfig())
		if err != nil {
			return nil, err
		}
		return &connection{conn: conn, at: at, hello: hello}, nil
	}
	if tcp != 0 {
		w[link.TCP] = func(ctx context.Context) (*connection, error) {
			ctx, cancel := context.WithTimeoutCause(ctx, silentTime, errSilent)
			defer cancel()
			conn, err := link.DialTCP(ctx, netip.AddrPortFrom(at.Addr(), tcp), c)
			if err != nil {
				return nil, cmp.Or(because(ctx), err)
			}
			return &connection{conn: conn, at: at, hello: hello}, nil
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

// unreachedByAny says why no way led to the surrogate, or what it has said.
func unreachedByAny(home surrogate, at netip.AddrPort, why [2]error) error {
	tcp := why[link.TCP]
	for _, err := range why {
		if no := (control.Refused{}); errors.As(err, &no) {
			return no
		}
	}
	err := unreached(home.Addr, at, why[link.QUIC])
	reason := syscall.Errno(0)
	switch {
	case tcp == nil || declined(why[link.QUIC]):
		return err
	case errors.Is(tcp, os.ErrDeadlineExceeded), errors.Is(tcp, context.DeadlineExceeded):
		tcp = fmt.Errorf("no welcome in %v: check that it has not too much to do", welcomeTime)
	case errors.As(tcp, &reason):
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

// greet says Hello and waits for Welcome. It returns a control.Refused when the surrogate refuses the device. Who gives it up
// closes the connection.
func (c *connection) greet(ctx context.Context) (err error) {
	if c.stream, err = c.conn.Open(ctx); err != nil {
		return err
	}
	if err := control.WriteMessage(c.stream, c.hello); err != nil {
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
		return nil
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
		MaxIdleTimeout:                 idleTime,
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
