package dial

import (
	"context"
	"fmt"
	"net"

	"simplebit/wire/peer"
)

// Over does our part of the handshake, as the one who dials, on c, which the surrogate relays to the peer. by is what carries
// c: QUIC or TCP. It is in plaintext whatever the policy, since c is inside TLS already. Who is dialled calls [Accept] with the
// same in [Acceptor.Relayed].
//
// It returns within [DefaultTimeout], or when ctx ends, and aborts c (see [Abort]) unless it succeeds. c needs deadlines. The
// error wraps what that of [Dialer.Dial] wraps, but for [ErrAddress].
func Over(ctx context.Context, c net.Conn, by Transport, ours peer.Handshake) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, DefaultTimeout)
	defer cancel()
	conn := &Conn{Conn: c, Transport: by, Relayed: true, Outgoing: true}
	err := withContext(ctx, c, func() (err error) {
		if _, err = c.Write(ours.AppendMarshal(nil)); err != nil {
			return unanswered(err)
		}
		return conn.meet(ours)
	})
	if err != nil {
		return nil, fmt.Errorf("handshake with %s over the relay: %w", c.RemoteAddr(), err)
	}
	return conn, nil
}
