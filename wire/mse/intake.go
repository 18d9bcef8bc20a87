package mse

import (
	"bytes"
	"crypto/rc4"
	"fmt"
	"io"
	"net"
)

// intakeSize is what a handshake reads ahead at most.
const intakeSize = 1 << 10

// intake reads the peer's side of a handshake: never more than limit unread bytes, so that what is waited for is
// bounded by what is legal at that point.
type intake struct {
	c      net.Conn
	prefix []byte // bytes of the stream that were read before; they come first
	limit  int
	unread []byte // in buf
	buf    [intakeSize]byte
}

// more waits for at least one more byte.
func (in *intake) more() error {
	n := copy(in.buf[:], in.unread)
	room := in.buf[n:in.limit]
	got := copy(room, in.prefix)
	in.prefix = in.prefix[got:]
	for got == 0 {
		var err error
		if got, err = in.c.Read(room); got == 0 && err != nil {
			in.unread = in.buf[:n]
			return hungUp(err)
		}
	}
	in.unread = in.buf[:n+got]
	return nil
}

// take returns the next n ≤ limit bytes. They are valid until the next call of any method, and the caller's to change.
func (in *intake) take(n int) ([]byte, error) {
	for len(in.unread) < n {
		if err := in.more(); err != nil {
			return nil, err
		}
	}
	b := in.unread[:n]
	in.unread = in.unread[n:]
	return b, nil
}

// skipTo drops a pad of up to maxPad bytes, up to mark and not including it.
func (in *intake) skipTo(mark []byte) error {
	in.limit = maxPad + len(mark)
	seen := 0
	for {
		if i := bytes.Index(in.unread[seen:], mark); i >= 0 && seen+i <= maxPad {
			in.unread = in.unread[seen+i:]
			in.limit = intakeSize
			return nil
		}
		if len(in.unread) >= in.limit {
			return fmt.Errorf("%w: it has another info-hash or is no MSE peer", ErrHandshake)
		}
		seen = max(0, len(in.unread)-len(mark)+1)
		if err := in.more(); err != nil {
			return err
		}
	}
}

// await waits for IA, which came with the request, where it fits. Over a connection that buffers nothing both ends would
// otherwise wait for each other: the initiator to be rid of its IA, the responder of its answer.
func (in *intake) await(initial int) error {
	for initial <= intakeSize && len(in.unread) < initial {
		if err := in.more(); err != nil {
			return err
		}
	}
	return nil
}

// rest returns what was read beyond the handshake, nil if nothing was.
func (in *intake) rest() []byte {
	if len(in.unread)+len(in.prefix) == 0 {
		return nil
	}
	return append(append([]byte(nil), in.unread...), in.prefix...)
}

func hungUp(err error) error {
	if err == io.EOF {
		return fmt.Errorf("peer hung up during the encryption handshake: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// head takes VC, the methods and the pad that follows them, decrypting with the peer's cipher.
func (in *intake) head(incoming *rc4.Cipher) (head, error) {
	b, err := in.take(headSize)
	if err != nil {
		return head{}, err
	}
	incoming.XORKeyStream(b, b)
	h, err := parseHead(b)
	if err != nil {
		return head{}, err
	}
	pad, err := in.take(h.pad)
	if err != nil {
		return head{}, err
	}
	incoming.XORKeyStream(pad, pad)
	return h, nil
}
