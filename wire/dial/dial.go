// Package dial establishes peer connections in either direction up to and including the BitTorrent handshake (BEP 3). What
// it returns is ready for a [peer.Reader]. The transport is TCP.
package dial

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"simplebit/wire/peer"
)

// DefaultTimeout is the time that connecting and the handshake may take together.
const DefaultTimeout = 10 * time.Second

// Errors that tell a caller not to try the same address again; wrapped with the address.
var (
	// ErrInfoHash: the peer answered with the info-hash of another torrent.
	ErrInfoHash = errors.New("peer answered for another torrent")
	// ErrAddress: nobody can have this address, because it has no port or is unspecified or multicast.
	ErrAddress = errors.New("not the address of a peer")
	// ErrSelf: the other end has our own peer id, so we have met ourselves.
	ErrSelf = errors.New("the other end is this client itself")
	// ErrUnwanted: an incoming peer asked for a torrent that the answer function declined.
	ErrUnwanted = errors.New("peer asked for a torrent that is not here")
)

// ContextDialer opens transport connections, as *net.Dialer does. Its Control hook is the place to refuse addresses
// after they are resolved.
type ContextDialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// Dialer makes outgoing peer connections. The zero value works. It keeps no state: any number of goroutines may use one.
type Dialer struct {
	Net     ContextDialer // default: a plain *net.Dialer
	Timeout time.Duration // for connect and handshake together; default DefaultTimeout
	Connect time.Duration // for the connect alone; default: as long as Timeout permits
}

// Conn is a connection on which both handshakes are done. Reads begin with the first message. For writev, hand
// net.Buffers to the embedded Conn rather than to this one: net.Buffers looks for the concrete *net.TCPConn.
type Conn struct {
	net.Conn
	Peer      peer.Handshake // theirs
	Transport string         // "tcp"
	Outgoing  bool           // we dialled
}

// Dial connects to addr, sends our handshake and reads the peer's. It returns within the timeout, or when ctx ends.
//
// The error wraps [ErrAddress], [ErrInfoHash], [ErrSelf], [peer.ErrHandshake] where the other end speaks another protocol or
// wants encryption, context.DeadlineExceeded after the timeout, the error of ctx, or that of the network.
func (d *Dialer) Dial(ctx context.Context, addr netip.AddrPort, ours peer.Handshake) (*Conn, error) {
	addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	if !addr.IsValid() || addr.Port() == 0 || addr.Addr().IsUnspecified() || addr.Addr().IsMulticast() {
		return nil, fmt.Errorf("dial %s: %w", addr, ErrAddress)
	}
	timeout := d.Timeout
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var open ContextDialer = &net.Dialer{}
	if d.Net != nil {
		open = d.Net
	}
	connecting := ctx
	if d.Connect > 0 {
		var connected context.CancelFunc
		connecting, connected = context.WithTimeout(ctx, d.Connect)
		defer connected()
	}
	c, err := open.DialContext(connecting, "tcp", addr.String())
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, because(connecting, err))
	}
	conn := &Conn{Conn: c, Transport: "tcp", Outgoing: true}
	err = withContext(ctx, c, func() error {
		if _, err := c.Write(ours.AppendMarshal(nil)); err != nil {
			return err
		}
		if conn.Peer, err = readHandshake(c); err != nil {
			return err
		}
		switch {
		case conn.Peer.InfoHash != ours.InfoHash:
			return fmt.Errorf("%w: %x instead of %x", ErrInfoHash, conn.Peer.InfoHash, ours.InfoHash)
		case conn.Peer.PeerID == ours.PeerID:
			return ErrSelf
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("handshake with %s: %w", addr, err)
	}
	return conn, nil
}

// Accept takes over the incoming connection c: it reads the peer's handshake, asks answer for ours, which says ok false
// for a torrent that is not served, and sends it. It returns within [DefaultTimeout], or when ctx ends, and closes c unless
// it succeeds. answer runs on the calling goroutine.
//
// The error wraps [ErrUnwanted], [ErrSelf], [peer.ErrHandshake], context.DeadlineExceeded after the timeout, the error of
// ctx, or that of the network.
func Accept(ctx context.Context, c net.Conn, answer func(infoHash [20]byte) (ours peer.Handshake, ok bool)) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, DefaultTimeout)
	defer cancel()
	conn := &Conn{Conn: c, Transport: "tcp"}
	err := withContext(ctx, c, func() error {
		var err error
		if conn.Peer, err = readHandshake(c); err != nil {
			return err
		}
		ours, ok := answer(conn.Peer.InfoHash)
		switch {
		case !ok:
			return fmt.Errorf("%w: %x", ErrUnwanted, conn.Peer.InfoHash)
		case conn.Peer.PeerID == ours.PeerID:
			return ErrSelf
		}
		_, err = c.Write(ours.AppendMarshal(nil))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("handshake from %s: %w", c.RemoteAddr(), err)
	}
	return conn, nil
}

// withContext runs handshake on c and cuts it short when ctx ends. Where that or the handshake fails it closes c.
func withContext(ctx context.Context, c net.Conn, handshake func() error) error {
	if t, ok := c.(*net.TCPConn); ok {
		// The peer protocol has keepalives of its own, every two minutes; TCP's default of one every 15 seconds
		// would keep the radios and the NAT tables of idle devices busy.
		if err := t.SetKeepAlive(false); err != nil {
			c.Close()
			return err
		}
	}
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	err := handshake()
	if !stop() && err == nil {
		err = ctx.Err() // the deadline is set or about to be: the connection cannot be used any more
	}
	if err != nil {
		c.Close()
		return because(ctx, err)
	}
	return nil
}

// because prefers the end of the context, where that is why something failed, to the network's own account of it.
func because(ctx context.Context, err error) error {
	var timeout net.Error
	switch end := ctx.Err(); {
	case end == nil || !errors.Is(err, end) && !(errors.As(err, &timeout) && timeout.Timeout()):
		return err
	case end == context.DeadlineExceeded:
		return fmt.Errorf("no answer in time: %w", end)
	default:
		return fmt.Errorf("given up: %w", end)
	}
}

// readHandshake reads exactly the bytes of a handshake, and refuses another protocol by its first bytes without waiting for
// more of it.
func readHandshake(c net.Conn) (peer.Handshake, error) {
	var b [peer.HandshakeSize]byte
	n, err := io.ReadAtLeast(c, b[:], len(peer.Greeting))
	if err != nil {
		return peer.Handshake{}, hungUp(err)
	}
	if got := b[:len(peer.Greeting)]; string(got) != peer.Greeting {
		return peer.Handshake{}, fmt.Errorf("%w: it starts with %q", peer.ErrHandshake, got)
	}
	if _, err := io.ReadFull(c, b[n:]); err != nil {
		return peer.Handshake{}, hungUp(err)
	}
	return peer.ParseHandshake(b[:])
}

func hungUp(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("peer hung up (it may lack the torrent, be full, or insist on encryption): %w", io.ErrUnexpectedEOF)
	}
	return err
}
