package link

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/hashicorp/yamux"
	"golang.org/x/sys/unix"
)

// How many streams each side may have open at once over TCP. yamux lets the other side send 256 KiB into each before any are
// read, for which a buffer of twice that may grow; as many streams again may wait to be accepted. So a device that does its
// worst makes a surrogate hold 1 MiB; a surrogate that opens four relayed streams and a layout makes a device hold 3 MiB,
// and one that does its worst 8 MiB.
const (
	agentStreams     = 1
	surrogateStreams = 8
)

// unsent is how many bytes may wait in the kernel: what waits there delays all streams.
const unsent = 32 << 10

// timing is how long either side waits for the other.
type timing struct {
	shake time.Duration // for the surrogate, until a connection is accepted
	ping  time.Duration // between the agent's pings; 0: it sends none
	idle  time.Duration // without a byte from the other side
	stall time.Duration // for the other side to take what is sent
	queue time.Duration // for a frame to be sent after those before it
}

func agentTiming() timing {
	return timing{ping: 25 * time.Second, idle: 75 * time.Second, stall: 15 * time.Second, queue: time.Minute}
}

func surrogateTiming() timing {
	t := agentTiming()
	t.shake, t.ping = 10*time.Second, 0
	return t
}

// DialTCP connects to a surrogate within ctx, and keeps the connection alive. That the surrogate takes the device's key is
// known only when it has answered on a stream. Errors are those of package net and of the TLS configuration.
func DialTCP(ctx context.Context, to netip.AddrPort, t *tls.Config) (Conn, error) {
	d := net.Dialer{KeepAlive: -1} // the link's own pings do that
	raw, err := d.DialContext(ctx, "tcp", to.String())
	if err != nil {
		return nil, err
	}
	return clientTCP(ctx, raw, t, agentTiming())
}

// clientTCP does the agent's handshake.
func clientTCP(ctx context.Context, raw net.Conn, t *tls.Config, timing timing) (Conn, error) {
	c := tls.Client(raw, t)
	if err := c.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, err
	}
	return newTCP(raw, c, true, timing)
}

// tcpConn is a link over yamux.
type tcpConn struct {
	tls     *tls.Conn
	frames  *frames
	mux     *yamux.Session
	out, in chan struct{} // one for each stream that was opened here, or there
}

// newTCP takes a connection after its handshake, and closes it when it fails.
func newTCP(raw net.Conn, c *tls.Conn, agent bool, t timing) (*tcpConn, error) {
	limitUnsent(raw)
	f := newFrames(c, raw, agent, t)
	cfg := &yamux.Config{
		AcceptBacklog:          agentStreams,
		KeepAliveInterval:      time.Hour, // has to be set, and is not used
		ConnectionWriteTimeout: t.queue,
		MaxStreamWindowSize:    256 << 10, // the least that yamux takes
		LogOutput:              io.Discard,
	}
	link := &tcpConn{tls: c, frames: f, out: make(chan struct{}, surrogateStreams), in: make(chan struct{}, agentStreams)}
	role := yamux.Server
	if agent {
		role = yamux.Client
		cfg.AcceptBacklog = surrogateStreams
		link.out, link.in = link.in, link.out
	}
	var err error
	if link.mux, err = role(f, cfg); err != nil {
		raw.Close()
		return nil, err
	}
	if t.ping > 0 {
		go link.keepAlive(t.ping)
	}
	return link, nil
}

// keepAlive has the surrogate answer, which keeps both ends and every router between them from giving up.
func (c *tcpConn) keepAlive(every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			c.mux.Ping() // without an answer the connection is silent, and ends
		case <-c.Done():
			return
		}
	}
}

func (c *tcpConn) Open(ctx context.Context) (Stream, error) {
	if err := c.place(ctx, c.out); err != nil {
		return nil, err
	}
	opened, failed := make(chan Stream), make(chan struct{})
	go func() { // yamux waits, without a context, for the stream before to be accepted
		y, err := c.mux.OpenStream()
		if err != nil {
			<-c.out
			close(failed)
			return
		}
		s := &tcpStream{conn: c, mux: y, place: c.out}
		select {
		case opened <- s:
		case <-ctx.Done():
			s.Cancel()
		}
	}()
	select {
	case s := <-opened:
		return s, nil
	case <-failed:
		return nil, c.frames.lost()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *tcpConn) Accept(ctx context.Context) (Stream, error) {
	if err := c.place(ctx, c.in); err != nil {
		return nil, err
	}
	y, err := c.mux.AcceptStreamWithContext(ctx)
	if err != nil {
		<-c.in
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, c.frames.lost()
	}
	return &tcpStream{conn: c, mux: y, place: c.in}, nil
}

// place waits until another stream may be opened.
func (c *tcpConn) place(ctx context.Context, places chan struct{}) error {
	select {
	case <-c.Done():
		return c.frames.lost()
	default:
	}
	select {
	case places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.Done():
		return c.frames.lost()
	}
}

func (c *tcpConn) Close(Code, string) {
	c.frames.fail(errHere)
	c.mux.Close()
}

func (c *tcpConn) Done() <-chan struct{}    { return c.mux.CloseChan() }
func (c *tcpConn) TLS() tls.ConnectionState { return c.tls.ConnectionState() }
func (c *tcpConn) Local() netip.AddrPort    { return addrPort(c.tls.LocalAddr()) }
func (c *tcpConn) Remote() netip.AddrPort   { return addrPort(c.tls.RemoteAddr()) }
func (c *tcpConn) Transport() Transport     { return TCP }

// RTT is the kernel's, as long as nothing on the way ends the TCP connection and opens another.
func (c *tcpConn) RTT() (rtt time.Duration) {
	onSocket(c.frames.raw, func(fd int) {
		if info, err := unix.GetsockoptTCPInfo(fd, unix.SOL_TCP, unix.TCP_INFO); err == nil {
			rtt = time.Duration(info.Rtt) * time.Microsecond
		}
	})
	return rtt
}

func limitUnsent(c net.Conn) {
	// A kernel that cannot only delays small messages behind large ones.
	onSocket(c, func(fd int) { unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsent) })
}

func onSocket(c net.Conn, f func(fd int)) {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	if s, err := t.SyscallConn(); err == nil {
		s.Control(func(fd uintptr) { f(int(fd)) })
	}
}
