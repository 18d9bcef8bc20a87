package mse

import (
	"crypto/rc4"
	"encoding/binary"
	"fmt"
	"io"
)

const (
	maxPad     = 512
	maxInitial = 1<<16 - 1
	vcSize     = 8
	headSize   = vcSize + 4 + 2 // VC, crypto_provide or crypto_select, length of a pad
)

// head is what both encrypted parts of the handshake begin with, in the clear.
type head struct {
	methods uint32 // crypto_provide or crypto_select
	pad     int    // bytes of PadC or PadD that follow
}

// parseHead reads VC and the rest of a head from the headSize bytes of b.
func parseHead(b []byte) (head, error) {
	if len(b) != headSize {
		return head{}, fmt.Errorf("%w: its encrypted part is cut short", ErrHandshake)
	}
	if [vcSize]byte(b) != [vcSize]byte{} {
		return head{}, fmt.Errorf("%w: it has another info-hash or is no MSE peer", ErrHandshake)
	}
	h := head{methods: binary.BigEndian.Uint32(b[vcSize:]), pad: int(binary.BigEndian.Uint16(b[vcSize+4:]))}
	if h.pad > maxPad {
		return head{}, fmt.Errorf("%w: a pad of %d bytes", ErrHandshake, h.pad)
	}
	return h, nil
}

// appendMarshal appends the head and its pad, of zeros as the specification asks.
func (h head) appendMarshal(b []byte) []byte {
	b = append(b, make([]byte, vcSize)...)
	b = binary.BigEndian.AppendUint32(b, h.methods)
	b = binary.BigEndian.AppendUint16(b, uint16(h.pad))
	return append(b, make([]byte, h.pad)...)
}

// appendRequest appends all that the initiator sends after the keys were exchanged. initial is only read.
func appendRequest(b []byte, s *secret, skey [20]byte, a *rc4.Cipher, h head, initial []byte) []byte {
	mark, name := s.mark(), s.veil(ReqHash(skey))
	b = append(append(b, mark[:]...), name[:]...)
	start := len(b)
	b = h.appendMarshal(b)
	b = binary.BigEndian.AppendUint16(b, uint16(len(initial)))
	b = append(b, initial...)
	a.XORKeyStream(b[start:], b[start:])
	return b
}

// selected is the method that crypto_select names, which must be one of those that were provided.
func (h head) selected(provided Method) (Method, error) {
	m := Method(h.methods & uint32(Plaintext|RC4))
	if uint32(m) != h.methods || m&provided != m || m != Plaintext && m != RC4 {
		return 0, fmt.Errorf("%w: it selects method %#x where %#x is provided", ErrHandshake, h.methods, uint8(provided))
	}
	return m, nil
}

// padLength is a random length of a pad, 0..maxPad.
func padLength(random io.Reader) (int, error) {
	var b [2]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return 0, fmt.Errorf("random bytes for a pad: %w", err)
	}
	return int(binary.BigEndian.Uint16(b[:])) % (maxPad + 1), nil
}

// hello is our public key and a pad of random bytes: the first thing each end sends.
func hello(random io.Reader, e exchange) ([]byte, error) {
	n, err := padLength(random)
	if err != nil {
		return nil, err
	}
	b := make([]byte, keySize+n)
	copy(b, e.public[:])
	if _, err := io.ReadFull(random, b[keySize:]); err != nil {
		return nil, fmt.Errorf("random bytes for a pad: %w", err)
	}
	return b, nil
}
