package mse

import (
	"crypto/rand"
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"io"
	"net"
)

// Dial does the handshake as initiator on c, for the torrent with info-hash skey. provide is the set of methods offered,
// at least one; initial, at most 65535 bytes, is sent as IA within the handshake: the BitTorrent handshake belongs there,
// as it saves a round trip. The stream of the Conn begins with the peer's first byte of payload.
//
// One handshake in 256 with a libtorrent or rtorrent of before mid-2026 ends in a hang-up, and an initiator cannot help it
// (see answerKey): another try is worth it.
//
// It waits as long as the deadlines of c let it. On an error c is of no further use, and the caller's to close. The error
// wraps [ErrHandshake], [ErrPolicy] where provide holds no method, io.ErrUnexpectedEOF where the peer hung up, or is that
// of the network.
func Dial(c net.Conn, skey [20]byte, provide Method, initial []byte) (*Conn, error) {
	return dial(rand.Reader, c, skey, provide, initial)
}

// Accept does the handshake as responder on c, of which prefix was read already: as a rule the 20 bytes that turned out
// not to be the greeting of BEP 3. find returns the info-hash whose [ReqHash] it is given; it runs on the calling goroutine.
// policy chooses the method: with [Prefer] plaintext if it is offered and else RC4, with [Require] RC4. The stream of the Conn
// begins with IA; one of up to a KiB is there when Accept returns, a longer one may still be on its way.
//
// It waits as long as the deadlines of c let it. On an error c is of no further use, and the caller's to close. The error
// wraps [ErrHandshake], [ErrUnknownTorrent], [ErrPolicy], which comes at once with [Off], io.ErrUnexpectedEOF where the
// peer hung up, or is that of the network.
func Accept(c net.Conn, prefix []byte, find func(req2 [20]byte) (skey [20]byte, ok bool), policy Policy) (*Conn, error) {
	return accept(rand.Reader, c, prefix, find, policy, nil)
}

// AcceptInTurn is [Accept] for who has to economise on arithmetic, which anybody's 96 bytes cause: two modular exponentiations,
// 0.2 ms on a desktop and, by its clock and its 32 bits, some ten on a router. turn is called when the peer's public key is there, and done
// once the secret is made, before anything else is waited for. An error of turn refuses the peer, and is returned.
func AcceptInTurn(
	c net.Conn, prefix []byte, find func(req2 [20]byte) (skey [20]byte, ok bool), policy Policy, turn func() (done func(), err error),
) (*Conn, error) {
	return accept(rand.Reader, c, prefix, find, policy, turn)
}

func dial(random io.Reader, c net.Conn, skey [20]byte, provide Method, initial []byte) (*Conn, error) {
	provide &= Plaintext | RC4
	switch {
	case provide == 0:
		return nil, fmt.Errorf("%w: there is no method to offer", ErrPolicy)
	case len(initial) > maxInitial:
		return nil, fmt.Errorf("%d bytes of initial payload, at most %d fit", len(initial), maxInitial)
	}
	in := &intake{c: c}
	s, err := agreeFirst(random, in)
	if err != nil {
		return nil, err
	}
	out, incoming, err := s.ciphers(skey)
	if err != nil {
		return nil, err
	}
	pad, err := padLength(random)
	if err != nil {
		return nil, err
	}
	if _, err := c.Write(appendRequest(nil, s, skey, out, head{uint32(provide), pad}, initial)); err != nil {
		return nil, err
	}
	// The mark is the encrypted VC. The copy of the cipher makes it, so that the head is read from its beginning.
	var mark [vcSize]byte
	ahead := *incoming
	ahead.XORKeyStream(mark[:], mark[:])
	if err := in.skipTo(mark[:]); err != nil {
		return nil, err
	}
	h, err := in.head(incoming)
	if err != nil {
		return nil, err
	}
	method, err := h.selected(provide)
	if err != nil {
		return nil, err
	}
	return newConn(c, method, incoming, out, in.rest(), 0), nil
}

func accept(
	random io.Reader, c net.Conn, prefix []byte, find func([20]byte) ([20]byte, bool), policy Policy, turn func() (func(), error),
) (*Conn, error) {
	if policy == Off {
		return nil, fmt.Errorf("%w: it is off", ErrPolicy)
	}
	in := &intake{c: c, prefix: prefix}
	s, err := agreeSecond(random, in, turn)
	if err != nil {
		return nil, err
	}
	mark := s.mark()
	if err := in.skipTo(mark[:]); err != nil {
		return nil, err
	}
	b, err := in.take(2 * sha1.Size)
	if err != nil {
		return nil, err
	}
	skey, ok := find(s.veil([sha1.Size]byte(b[sha1.Size:])))
	if !ok {
		return nil, ErrUnknownTorrent
	}
	incoming, out, err := s.ciphers(skey)
	if err != nil {
		return nil, err
	}
	h, err := in.head(incoming)
	if err != nil {
		return nil, err
	}
	if b, err = in.take(2); err != nil {
		return nil, err
	}
	incoming.XORKeyStream(b, b)
	initial := int(binary.BigEndian.Uint16(b))
	method, err := policy.choose(Method(h.methods & uint32(Plaintext|RC4)))
	if err != nil {
		return nil, err
	}
	if err := in.await(initial); err != nil {
		return nil, err
	}
	pad, err := padLength(random)
	if err != nil {
		return nil, err
	}
	answer := head{uint32(method), pad}.appendMarshal(nil)
	out.XORKeyStream(answer, answer)
	if _, err := c.Write(answer); err != nil {
		return nil, err
	}
	return newConn(c, method, incoming, out, in.rest(), initial), nil
}

// agreeSecond exchanges public keys as responder. It makes its own only when it has the peer's, so that a connection
// which says less than that costs no arithmetic.
func agreeSecond(random io.Reader, in *intake, turn func() (func(), error)) (*secret, error) {
	in.limit = keySize + maxPad + sha1.Size
	theirs, err := in.take(keySize)
	if err != nil {
		return nil, err
	}
	done := func() {}
	if turn != nil {
		if done, err = turn(); err != nil {
			return nil, err
		}
	}
	ours, s, err := answerKey(random, theirs)
	done()
	if err != nil {
		return nil, err
	}
	return s, sendHello(random, in.c, ours)
}

// agreeFirst exchanges public keys as initiator.
func agreeFirst(random io.Reader, in *intake) (*secret, error) {
	in.limit = keySize + maxPad + vcSize
	ours, err := newExchange(random)
	if err != nil {
		return nil, err
	}
	if err := sendHello(random, in.c, ours); err != nil {
		return nil, err
	}
	theirs, err := in.take(keySize)
	if err != nil {
		return nil, err
	}
	return ours.shared(theirs)
}

// answerKey makes a key for a peer whose own is known, and the secret. Where that begins with a zero byte, which is one
// time in 256, libtorrent before its pull request 8434 (2026) and rtorrent before rakshasa/libtorrent 894 (2026) hash fewer
// bytes and get lost. The responder can see that coming and takes another key.
func answerKey(random io.Reader, theirs []byte) (ours exchange, s *secret, err error) {
	for range keyTries {
		if ours, err = newExchange(random); err != nil {
			return exchange{}, nil, err
		}
		if s, err = ours.shared(theirs); err != nil || s[0] != 0 {
			break
		}
	}
	return ours, s, err
}

func sendHello(random io.Reader, c net.Conn, ours exchange) error {
	b, err := hello(random, ours)
	if err == nil {
		_, err = c.Write(b)
	}
	return err
}
