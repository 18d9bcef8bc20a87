package peer

import (
	"errors"
	"fmt"
)

// HandshakeSize is the length of a handshake in bytes (BEP 3).
const HandshakeSize = 68

// Greeting is how every handshake starts: the length of the protocol name and the name (BEP 3). A connection that starts
// otherwise is encrypted or speaks another protocol.
const Greeting = "\x13BitTorrent protocol"

// ErrHandshake is wrapped by the error of [ParseHandshake]: the bytes are not a BitTorrent handshake, and nothing that
// follows on the connection can be trusted to be framed.
var ErrHandshake = errors.New("not a BitTorrent handshake")

// Handshake is the first thing either side of a peer connection sends (BEP 3).
type Handshake struct {
	Reserved [8]byte  // feature bits; make ours with [Reserved]
	InfoHash [20]byte // SHA-1 of the info dictionary
	PeerID   [20]byte // chosen by the sender, random but for a prefix that names the client (BEP 20)
}

// Reserved makes the feature bits of a handshake: fast is the fast extension (BEP 6), extended the extension protocol
// (BEP 10).
func Reserved(fast, extended bool) [8]byte {
	var r [8]byte
	if extended {
		r[5] |= 0x10
	}
	if fast {
		r[7] |= 0x04
	}
	return r
}

// WithDHT returns the feature bits r with that of a DHT node set (BEP 5).
func WithDHT(r [8]byte) [8]byte {
	r[7] |= 0x01
	return r
}

// Fast reports whether the sender speaks the fast extension (BEP 6). It is in force when both sides do.
func (h Handshake) Fast() bool { return h.Reserved[7]&0x04 != 0 }

// Extended reports whether the sender speaks the extension protocol (BEP 10). It is in force when both sides do.
func (h Handshake) Extended() bool { return h.Reserved[5]&0x10 != 0 }

// DHT reports whether the sender runs a DHT node and accepts PORT messages (BEP 5).
func (h Handshake) DHT() bool { return h.Reserved[7]&0x01 != 0 }

// AppendMarshal appends the [HandshakeSize] bytes of the handshake to b.
func (h Handshake) AppendMarshal(b []byte) []byte {
	b = append(b, Greeting...)
	b = append(b, h.Reserved[:]...)
	b = append(b, h.InfoHash[:]...)
	return append(b, h.PeerID[:]...)
}

// ParseHandshake reads a handshake of exactly [HandshakeSize] bytes. Its error wraps [ErrHandshake].
func ParseHandshake(b []byte) (Handshake, error) {
	var h Handshake
	if len(b) != HandshakeSize {
		return h, fmt.Errorf("%w: %d bytes instead of %d", ErrHandshake, len(b), HandshakeSize)
	}
	if string(b[:len(Greeting)]) != Greeting {
		return h, fmt.Errorf("%w: it starts with %q", ErrHandshake, b[:len(Greeting)])
	}
	copy(h.Reserved[:], b[20:28])
	copy(h.InfoHash[:], b[28:48])
	copy(h.PeerID[:], b[48:68])
	return h, nil
}
