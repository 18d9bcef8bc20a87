package mse

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"io"
	"math/big"
	"net"
	"os"
	"slices"
)

// What follows is the specification once more, from its formulas and with none of the package's code: the other end of
// the tests.

var specPrime, _ = new(big.Int).SetString("0xFFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A0879"+
	"8E3404DDEF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A63A36210000000000090563", 0)

// specPower is base^exponent mod P by squaring, in 96 bytes.
func specPower(base *big.Int, exponent []byte) []byte {
	r := big.NewInt(1)
	for _, b := range exponent {
		for bit := 7; bit >= 0; bit-- {
			r.Mul(r, r).Mod(r, specPrime)
			if b>>bit&1 == 1 {
				r.Mul(r, base).Mod(r, specPrime)
			}
		}
	}
	return r.FillBytes(make([]byte, 96))
}

func specPublic(private []byte) []byte { return specPower(big.NewInt(2), private) }

func specSecret(private, theirs []byte) []byte {
	return specPower(new(big.Int).SetBytes(theirs), private)
}

func specHash(parts ...[]byte) []byte {
	sum := sha1.Sum(bytes.Join(parts, nil))
	return sum[:]
}

// specRC4 is the key stream of RC4 after its first 1024 bytes.
type specRC4 struct {
	s    [256]byte
	i, j byte
}

func newSpecRC4(name string, secret, skey []byte) *specRC4 {
	c := new(specRC4)
	key := specHash([]byte(name), secret, skey)
	for i := range c.s {
		c.s[i] = byte(i)
	}
	var j byte
	for i := range c.s {
		j += c.s[i] + key[i%len(key)]
		c.s[i], c.s[j] = c.s[j], c.s[i]
	}
	c.crypt(make([]byte, 1024))
	return c
}

// crypt returns b encrypted or decrypted.
func (c *specRC4) crypt(b []byte) []byte {
	out := make([]byte, len(b))
	for k := range b {
		c.i++
		c.j += c.s[c.i]
		c.s[c.i], c.s[c.j] = c.s[c.j], c.s[c.i]
		out[k] = b[k] ^ c.s[c.s[c.i]+c.s[c.j]]
	}
	return out
}

// specHead is VC, the methods, and a pad whose length may be a lie.
func specHead(methods uint32, length int, pad []byte) []byte {
	b := make([]byte, 8, 14+len(pad))
	b = binary.BigEndian.AppendUint32(b, methods)
	b = binary.BigEndian.AppendUint16(b, uint16(length))
	return append(b, pad...)
}

func specInitial(ia []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(ia))), ia...)
}

// The fixed parties of the tests: both private keys, all that follows from them, and the torrent.
var (
	testSkey = [20]byte(sequence(0xa0, 20))
	xA, xB   = sequence(1, 20), sequence(0x80, 20)
	yA, yB   = specPublic(xA), specPublic(xB)
	testS    = specSecret(xA, yB)
)

// sequence is n bytes counting up from first.
func sequence(first byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

// specRequest is what the initiator sends after its hello, with encrypted as its encrypted part.
func specRequest(encrypted []byte) []byte {
	name := specHash([]byte("req2"), testSkey[:])
	for i, b := range specHash([]byte("req3"), testS) {
		name[i] ^= b
	}
	return slices.Concat(specHash([]byte("req1"), testS), name, encrypted)
}

// dice are the random bytes of one end: its private key, a pad of the given bytes, and the length of the second pad.
func dice(private, pad []byte, second int) io.Reader {
	b := binary.BigEndian.AppendUint16(slices.Clone(private), uint16(len(pad)))
	b = append(b, pad...)
	return bytes.NewReader(binary.BigEndian.AppendUint16(b, uint16(second)))
}

func findTest(req2 [20]byte) ([20]byte, bool) {
	return testSkey, bytes.Equal(req2[:], specHash([]byte("req2"), testSkey[:]))
}

// script is a connection whose other end says fixed chunks and then hangs up, whatever it is told.
type script struct {
	net.Conn
	chunks [][]byte
	read   int // bytes handed out
	wrote  bytes.Buffer
}

func (s *script) Read(p []byte) (int, error) {
	for len(s.chunks) > 0 && len(s.chunks[0]) == 0 {
		s.chunks = s.chunks[1:]
	}
	if len(s.chunks) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.chunks[0])
	s.chunks[0] = s.chunks[0][n:]
	s.read += n
	return n, nil
}

func (s *script) Write(p []byte) (int, error) { return s.wrote.Write(p) }

// endless is a connection whose other end says the same byte for ever.
type endless struct {
	net.Conn
	say  byte
	read int
}

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = e.say
	}
	e.read += len(p)
	return len(p), nil
}

func (e *endless) Write(p []byte) (int, error) { return len(p), nil }

// choppy hands out what comes in pieces of at most most bytes.
type choppy struct {
	net.Conn
	most int
}

func (c choppy) Read(p []byte) (int, error) { return c.Conn.Read(p[:min(len(p), c.most)]) }

// weak writes at most room bytes and then times out until it is given room again.
type weak struct {
	net.Conn
	room  int
	wrote bytes.Buffer
}

func (w *weak) Write(p []byte) (int, error) {
	n := min(len(p), w.room)
	w.room -= n
	w.wrote.Write(p[:n])
	if n < len(p) {
		return n, os.ErrDeadlineExceeded
	}
	return n, nil
}
