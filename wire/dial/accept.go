package dial

import (
	"context"
	"errors"
	"fmt"
	"net"

	"simplebit/wire/mse"
	"simplebit/wire/peer"
)

// Acceptor is what [Accept] needs to know. Its functions run on the goroutine that calls Accept.
type Acceptor struct {
	// Answer returns our handshake for a torrent; ok is false where the torrent is not served.
	Answer func(infoHash [20]byte) (ours peer.Handshake, ok bool)
	// Find returns the info-hash of the torrent whose mse.ReqHash it is given: encrypted connections name theirs like that.
	// Nil finds none.
	Find func(req2 [20]byte) (infoHash [20]byte, ok bool)
	// Encryption is what is accepted; default mse.Prefer: plaintext, and encryption with who speaks it.
	Encryption mse.Policy
}

// Accept takes over the incoming connection c: it reads the peer's handshake, asks for ours and sends it. It returns within
// [DefaultTimeout], or when ctx ends, and closes c unless it succeeds. The transport is uTP if c says that its network
// is "utp" or "udp".
//
// The error wraps [ErrUnwanted], [ErrSelf], [ErrInfoHash] where the encryption was for another torrent, mse.ErrPolicy where
// the policy rules out what the peer wants, [peer.ErrHandshake] where it speaks another protocol, which encryption is with
// mse.Off, context.DeadlineExceeded after the timeout, the error of ctx, or that of the network.
func Accept(ctx context.Context, c net.Conn, a Acceptor) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, DefaultTimeout)
	defer cancel()
	conn := &Conn{Conn: c, Transport: TCP}
	if network := c.LocalAddr().Network(); network == "utp" || network == "udp" {
		conn.Transport = UTP
	}
	err := withContext(ctx, c, func() error { return a.greet(conn) })
	if err != nil {
		return nil, fmt.Errorf("handshake from %s: %w", c.RemoteAddr(), err)
	}
	return conn, nil
}

// greet does the handshakes on conn, which the encryption takes over where it is spoken.
func (a *Acceptor) greet(conn *Conn) error {
	under := conn.Conn
	g, err := readGreeting(conn.Conn)
	if err != nil {
		return err
	}
	var named [20]byte // the torrent that the encryption was for
	switch encrypted := !g.plain(); {
	case encrypted && a.Encryption != mse.Off:
		if named, err = a.decrypt(conn, g); err != nil {
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
func (a *Acceptor) decrypt(conn *Conn, g greeting) (infoHash [20]byte, err error) {
	find := func(req2 [20]byte) (_ [20]byte, ok bool) {
		if a.Find != nil {
			infoHash, ok = a.Find(req2)
		}
		return infoHash, ok
	}
	e, err := mse.Accept(conn.Conn, g[:], find, a.Encryption)
	switch {
	case errors.Is(err, mse.ErrUnknownTorrent):
		return infoHash, fmt.Errorf("%w: %w", ErrUnwanted, err)
	case err != nil:
		return infoHash, notEncrypted(err)
	}
	conn.Conn, conn.Encrypted = e, true
	return infoHash, nil
}
