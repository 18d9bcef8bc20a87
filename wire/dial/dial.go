// Package dial establishes peer connections in either direction, up to and including the BitTorrent handshake (BEP 3): by TCP or
// uTP (BEP 29), in plaintext or by message stream encryption. What it returns is ready for a [peer.Reader].
package dial

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"time"

	"simplebit/wire/mse"
	"simplebit/wire/peer"
)

// DefaultTimeout is the time that connecting and the handshake may take together, in all tries.
const DefaultTimeout = 10 * time.Second

// Errors that tell a caller not to try the same address again; wrapped with the address.
var (
	// ErrInfoHash: the peer answered with the info-hash of another torrent.
	ErrInfoHash = errors.New("peer answered for another torrent")
	// ErrAddress: nobody can have this address, because it has no port or is unspecified or multicast.
	ErrAddress = errors.New("not the address of a peer")
	// ErrSelf: the other end has our own peer id, so we have met ourselves.
	ErrSelf = errors.New("the other end is this client itself")
	// ErrUnwanted: an incoming peer asked for a torrent that is not served.
	ErrUnwanted = errors.New("peer asked for a torrent that is not here")
)

// errTransports: there is nothing to dial with.
var errTransports = errors.New("neither TCP nor uTP is available: allow one of them")

// Transport is what carries a peer connection.
type Transport uint8

const (
	Any  Transport = iota // not known
	TCP                   // a TCP connection; of a relayed one: our connection to the surrogate is one
	UTP                   // a uTP connection (BEP 29)
	QUIC                  // only of a relayed connection: our connection to the surrogate is one
)

// String returns "tcp", "utp" or "quic", and "any" where it is not known.
func (t Transport) String() string {
	switch t {
	case TCP:
		return "tcp"
	case UTP:
		return "utp"
	case QUIC:
		return "quic"
	}
	return "any"
}

// HungUp reports whether an error of [Dialer.Dial] says that somebody took the connection and ended it before the handshake was
// done: peers do so that are full, lack the torrent, are just starting, or still hold a dead connection of ours.
func HungUp(err error) bool {
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, syscall.ECONNRESET)
}

// Way is what is known of how a peer at some address can be reached. The zero value: nothing.
type Way struct {
	Transport Transport // that worked before, to be tried alone first
	Encrypted bool      // the peer takes message stream encryption, which is to be tried before plaintext
}

// ContextDialer opens transport connections, as *net.Dialer does: it returns soon when ctx ends, which has no influence on a
// connection that it has returned. It is the place to refuse addresses, for TCP by the Control hook.
type ContextDialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// Dialer makes outgoing peer connections. The zero value works, by TCP alone. It keeps no state: any number of goroutines may
// use one.
type Dialer struct {
	TCP        ContextDialer // asked for network "tcp"; default: a plain *net.Dialer
	UTP        ContextDialer // asked for network "utp"; default: uTP is not tried
	NoTCP      bool          // TCP is not tried
	Encryption mse.Policy    // default mse.Prefer: plaintext, and encryption with who insists
	Timeout    time.Duration // for connect and handshake in all tries together; default DefaultTimeout
	Connect    time.Duration // for connecting alone, in each try; default: as long as Timeout permits
}

// Conn is a connection on which all handshakes are done. Reads begin with the first message. To write several buffers at once,
// see whether the embedded Conn has a method WriteBuffers(*net.Buffers) (int64, error), as uTP and encrypted connections do,
// and else hand net.Buffers to it, which looks for the concrete *net.TCPConn.
type Conn struct {
	net.Conn
	Peer      peer.Handshake // theirs
	Transport Transport      // TCP or UTP; TCP or QUIC where it is relayed
	Encrypted bool           // message stream encryption was spoken, be it only to agree on plaintext
	Relayed   bool           // the surrogate passes on what is sent, so the peer may be reachable nowhere
	Outgoing  bool           // we dialled, or did our part of the handshake first where it is relayed
}

// Way is how the connection came about, and how the peer may be reached once more if it can be dialled. A relayed one says
// nothing of that.
func (c *Conn) Way() Way {
	if c.Relayed {
		return Way{}
	}
	return Way{c.Transport, c.Encrypted}
}

// Heard is when a packet of the peer last came, be it only an acknowledgement; zero: the connection has failed. known is false where
// that cannot be told, as by TCP. Any goroutine may call it.
func (c *Conn) Heard() (at time.Time, known bool) {
	under := c.Conn
	if e, ok := under.(*mse.Conn); ok {
		under = e.Conn
	}
	u, known := under.(interface{ Heard() time.Time })
	if !known {
		return time.Time{}, false
	}
	return u.Heard(), true
}

// Dial connects to addr, sends our handshake and reads the peer's. It returns within the timeout, or when ctx ends; nothing of
// a try that has failed or lost is left behind then.
//
// Where both transports are there, uTP is tried at once and TCP 250 ms later, or as soon as uTP has failed. A transport
// that is known to work has half of the time for connecting to itself before the other one joins. The first that connects
// wins: there is no going back to the other if the handshake fails.
//
// With mse.Prefer a peer that hangs up without an answer may insist on encryption: it is dialled once more, over the
// same transport, with encryption or, where it was known to take that, without. The second try has the time that is left.
//
// The error wraps [ErrAddress], [ErrInfoHash], [ErrSelf], [peer.ErrHandshake] where the other end speaks another protocol or
// not within it, context.DeadlineExceeded after the timeout, the error of ctx, or that of the network.
func (d *Dialer) Dial(ctx context.Context, addr netip.AddrPort, ours peer.Handshake, known Way) (*Conn, error) {
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

	encrypted := d.Encryption == mse.Require || d.Encryption == mse.Prefer && known.Encrypted
	conn, by, err := d.try(ctx, addr, ours, d.routes(known.Transport), encrypted)
	if d.Encryption == mse.Prefer && errors.Is(err, errUnanswered) {
		var again error
		if conn, _, again = d.try(ctx, addr, ours, routes{first: by}, !encrypted); again != nil {
			again = fmt.Errorf("%w; then %s: %w", err, manner(!encrypted), again)
		}
		err = again
	}
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	return conn, nil
}

func manner(encrypted bool) string {
	if encrypted {
		return "encrypted"
	}
	return "in plaintext"
}

// try connects and does the handshakes in one manner. by is the route that connected.
func (d *Dialer) try(ctx context.Context, addr netip.AddrPort, ours peer.Handshake, r routes, encrypted bool) (_ *Conn, by route, _ error) {
	c, by, err := d.connect(ctx, addr, r)
	if err != nil {
		return nil, by, err
	}
	conn := &Conn{Conn: c, Transport: by.transport, Encrypted: encrypted, Outgoing: true}
	err = withContext(ctx, c, func() error {
		if conn.Conn, err = d.say(c, ours, encrypted); err != nil {
			return err
		}
		return conn.meet(ours)
	})
	if err != nil {
		return nil, by, fmt.Errorf("handshake: %w", err)
	}
	return conn, by, nil
}

// meet reads the answer to our handshake.
func (c *Conn) meet(ours peer.Handshake) (err error) {
	if c.Peer, err = readHandshake(c.Conn); err != nil {
		return err
	}
	switch {
	case c.Peer.InfoHash != ours.InfoHash:
		return fmt.Errorf("%w: %x instead of %x", ErrInfoHash, c.Peer.InfoHash, ours.InfoHash)
	case c.Peer.PeerID == ours.PeerID:
		return ErrSelf
	}
	return nil
}

// say sends our handshake, and returns the connection from which the peer's is to be read.
func (d *Dialer) say(c net.Conn, ours peer.Handshake, encrypted bool) (net.Conn, error) {
	if !encrypted {
		if _, err := c.Write(ours.AppendMarshal(nil)); err != nil {
			return nil, unanswered(err)
		}
		return c, nil
	}
	methods := mse.Plaintext | mse.RC4
	if d.Encryption == mse.Require {
		methods = mse.RC4
	}
	e, err := mse.Dial(c, ours.InfoHash, methods, ours.AppendMarshal(nil))
	switch {
	case errors.Is(err, mse.ErrHandshake):
		return nil, notEncrypted(err)
	case err != nil:
		return nil, unanswered(err) // or it has said so little that it may not have understood
	}
	return e, nil
}
