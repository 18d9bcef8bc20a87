package dial

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"simplebit/wire/mse"
	"simplebit/wire/peer"
)

// errUnanswered: the connection ended before the peer said anything.
var errUnanswered = errors.New("peer hung up (it may lack the torrent, be full, or insist on encryption)")

// resetter is a connection that can end at once. Where Close goes on with what was written, as that of uTP does for up to
// 10 s, a peer that was refused would keep its place in the table of connections for so long.
type resetter interface{ Reset() error }

// Abort ends a connection of which nothing more is wanted, and leaves nothing of it behind: by Reset() error if it, or what
// encryption was laid over, has that method, else by Close. What was written may not arrive.
func Abort(c net.Conn) {
	for {
		switch over := c.(type) {
		case *Conn:
			c = over.Conn
		case *mse.Conn:
			c = over.Conn
		case resetter:
			over.Reset()
			return
		default:
			c.Close()
			return
		}
	}
}

// withContext runs handshake on c and cuts it short when ctx ends. Where that or the handshake fails it aborts c.
func withContext(ctx context.Context, c net.Conn, handshake func() error) error {
	if t, ok := c.(*net.TCPConn); ok {
		// The peer protocol has keepalives of its own, every two minutes; TCP's default of one every 15 seconds
		// would keep the radios and the NAT tables of idle devices busy.
		if err := t.SetKeepAlive(false); err != nil {
			Abort(c)
			return err
		}
	}
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	err := handshake()
	if !stop() && err == nil {
		err = ctx.Err() // the deadline is set or about to be: the connection cannot be used any more
	}
	if err != nil {
		Abort(c)
		return because(ctx, err)
	}
	return nil
}

// because prefers the end of the context, where that is why something failed, to the network's own account of it.
func because(ctx context.Context, err error) error {
	switch end := ctx.Err(); {
	case end == nil || !errors.Is(err, end) && !isTimeout(err):
		return err
	case context.Cause(ctx) != end:
		return fmt.Errorf("given up: %w", context.Cause(ctx))
	case end == context.DeadlineExceeded:
		return fmt.Errorf("no answer in time: %w", end)
	default:
		return fmt.Errorf("given up: %w", end)
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// greeting is how a connection starts.
type greeting [len(peer.Greeting)]byte

func (g *greeting) plain() bool { return string(g[:]) == peer.Greeting }

// readGreeting reads no more than that.
func readGreeting(c io.Reader) (g greeting, err error) {
	switch n, err := io.ReadFull(c, g[:]); {
	case n == 0 && err != nil:
		return g, unanswered(err)
	case err != nil:
		return g, hungUp(err)
	}
	return g, nil
}

// readHandshake reads exactly the bytes of a handshake, and refuses another protocol by its first bytes without waiting for
// more of it.
func readHandshake(c net.Conn) (peer.Handshake, error) {
	g, err := readGreeting(c)
	if err != nil {
		return peer.Handshake{}, err
	}
	return readRest(c, g)
}

// readRest reads what follows the greeting.
func readRest(c net.Conn, g greeting) (peer.Handshake, error) {
	if !g.plain() {
		return peer.Handshake{}, fmt.Errorf("%w: it starts with %q", peer.ErrHandshake, g)
	}
	var b [peer.HandshakeSize]byte
	if _, err := io.ReadFull(c, b[copy(b[:], g[:]):]); err != nil {
		return peer.Handshake{}, hungUp(err)
	}
	return peer.ParseHandshake(b[:])
}

// unanswered explains an error that came before the peer's first byte. A timeout says nothing of what the peer wants.
func unanswered(err error) error {
	if isTimeout(err) {
		return err
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%w: %w", errUnanswered, err)
}

func hungUp(err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("peer hung up in the middle of its handshake: %w", err)
}

// notEncrypted makes it an error of this package that the peer does not speak the encryption's protocol.
func notEncrypted(err error) error {
	if errors.Is(err, mse.ErrHandshake) {
		return fmt.Errorf("%w: %w", peer.ErrHandshake, err)
	}
	return err
}
