package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"simplebit/wire/mse"
	"simplebit/wire/peer"
)

// Acceptor is what [Accept] needs to know. Its functions run on the goroutine that calls Accept.
type Acceptor struct {
	// Answer returns our handshake for a torrent; ok is false where the torrent is not served.
	Answer func(infoHash [20]byte) (ours peer.Handshake, ok bool)
	// Admit says why a peer that has sent its handshake, for a torrent that is served, is not to be answered. Default: all are.
	Admit func(theirs peer.Handshake) error
	// Relayed is what carries the connection where the surrogate relays it: QUIC or TCP. Default Any: it is not relayed.
	Relayed Transport
	// Find returns the info-hash of the torrent whose mse.ReqHash it is given: encrypted connections name theirs like that.
	// Nil finds none.
	Find func(req2 [20]byte) (infoHash [20]byte, ok bool)
	// Any reports whether there is any torrent that Find could find: where there is none, encryption is refused before it costs
	// arithmetic. Default: Find is asked, if there is one.
	Any func() bool
	// Exchanges bounds the arithmetic. Several Acceptors may share them. Default: there is no bound.
	Exchanges *Exchanges
	// Encryption is what is accepted; default mse.Prefer: plaintext, and encryption with who speaks it.
	Encryption mse.Policy
}

// FirstByte is how long an incoming peer may say nothing at all, by either transport, unless it is relayed. Who dials speaks first: aria2 and rtorrent
// do so at once and Transmission within half a second, so this leaves time for two packets that get lost.
const FirstByte = 3 * time.Second

var errSilent = fmt.Errorf("the peer said nothing for %v: %w", FirstByte, context.DeadlineExceeded)

// Accept takes over the incoming connection c: it reads the peer's handshake, asks for ours and sends it. It returns within
// [DefaultTimeout], within [FirstByte] if nothing comes, or when ctx ends, and aborts c (see [Abort]) unless it succeeds. The
// transport is uTP if c says that its network is "utp" or "udp". A connection that is relayed needs deadlines and an Acceptor
// of its own; the other end calls [Over], and has [DefaultTimeout] to begin.
//
// The error wraps what Admit returned, [ErrUnwanted], [ErrSelf], [ErrInfoHash] where the encryption was for another torrent,
// mse.ErrPolicy where the policy rules out what the peer wants, [peer.ErrHandshake] where it speaks another protocol, which
// encryption is with mse.Off, [ErrBusy] where too many others want encryption, context.DeadlineExceeded after either timeout,
// the cause of the end of ctx, or the error of the network.
func Accept(ctx context.Context, c net.Conn, a Acceptor) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, DefaultTimeout)
	defer cancel()
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	silence := time.AfterFunc(FirstByte, func() { giveUp(errSilent) })
	defer silence.Stop()
	conn := &Conn{Conn: c, Transport: TCP}
	if a.Relayed != Any {
		conn.Transport, conn.Relayed = a.Relayed, true
		silence.Stop()
	} else if network := c.LocalAddr().Network(); network == "utp" || network == "udp" {
		conn.Transport = UTP
	}
	err := withContext(ctx, c, func() error {
		g, err := readGreeting(heard{c, func() { silence.Stop() }})
		if err != nil {
			return err
		}
		return a.greet(ctx, conn, g)
	})
	if err != nil {
		return nil, fmt.Errorf("handshake from %s: %w", c.RemoteAddr(), err)
	}
	return conn, nil
}

// heard is a connection that tells when something comes.
type heard struct {
	net.Conn
	tell func()
}

func (h heard) Read(b []byte) (int, error) {
	n, err := h.Conn.Read(b)
	if n > 0 {
		h.tell()
	}
	return n, err
}

// greet does the handshakes on conn, which the encryption takes over where it is spoken. g has been read of it.
func (a *Acceptor) greet(ctx context.Context, conn *Conn, g greeting) (err error) {
	under := conn.Conn
	var named [20]byte // the torrent that the encryption was for
	switch encrypted := !g.plain(); {
	case encrypted && a.Encryption != mse.Off:
		if named, err = a.decrypt(ctx, conn, g); err != nil {
			return err
		}
		if g, err = readGreeting(conn.Conn); err != nil {
			return err
		}
	case !encrypted && a.Encryption == mse.Require:
		return fmt.Errorf("%w: it speaks plaintext", mse.ErrPolicy)
	}
	if conn.Peer, err = readRest(conn.Conn, g); err != nil {
		return err
	}
	if conn.Encrypted && conn.Peer.InfoHash != named {
		return fmt.Errorf("%w: encrypted for %x, but then it is %x", ErrInfoHash, named, conn.Peer.InfoHash)
	}
	ours, ok := a.Answer(conn.Peer.InfoHash)
	switch {
	case !ok:
		return fmt.Errorf("%w: %x", ErrUnwanted, conn.Peer.InfoHash)
	case conn.Peer.PeerID == ours.PeerID:
		return ErrSelf
	case a.Admit != nil:
		if err := a.Admit(conn.Peer); err != nil {
			return err
		}
	}
	if _, err = conn.Write(ours.AppendMarshal(nil)); err != nil {
		return err
	}
	if p, ok := under.(interface{ EndPacket() }); ok {
		p.EndPacket() // for Transmission; see utp.Conn.EndPacket
	}
	return nil
}

// decrypt lets the encryption take over conn, of which g has been read.
func (a *Acceptor) decrypt(ctx context.Context, conn *Conn, g greeting) (infoHash [20]byte, err error) {
	if a.Find == nil || a.Any != nil && !a.Any() {
		return infoHash, fmt.Errorf("%w: there is none", ErrUnwanted)
	}
	find := func(req2 [20]byte) (_ [20]byte, ok bool) {
		infoHash, ok = a.Find(req2)
		return infoHash, ok
	}
	var turn func() (func(), error)
	if a.Exchanges != nil {
		turn = func() (func(), error) { return a.Exchanges.turn(ctx, Remote(conn).Addr()) }
	}
	e, err := mse.AcceptInTurn(conn.Conn, g[:], find, a.Encryption, turn)
	switch {
	case errors.Is(err, mse.ErrUnknownTorrent):
		return infoHash, fmt.Errorf("%w: %w", ErrUnwanted, err)
	case err != nil:
		return infoHash, notEncrypted(err)
	}
	conn.Conn, conn.Encrypted = e, true
	return infoHash, nil
}
