package mse

import (
	"crypto/rc4"
	"crypto/sha1"
	"crypto/subtle"
	"fmt"
	"io"
	"math/big"
)

const (
	keySize     = 96   // of P, a public key and S, in bytes
	privateSize = 20   // "160 bits are recommended; more does not add security"
	dropped     = 1024 // of each key stream
	keyTries    = 4    // private keys that a responder draws at most
)

var (
	prime, _ = new(big.Int).SetString("FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22"+
		"514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A63A36210000000000090563", 16)
	generator = big.NewInt(2)
	one       = big.NewInt(1)
	minusOne  = new(big.Int).Sub(prime, one)
)

// exchange is our half of one Diffie-Hellman exchange.
type exchange struct {
	private *big.Int
	public  [keySize]byte
}

func newExchange(random io.Reader) (exchange, error) {
	var x [privateSize]byte
	if _, err := io.ReadFull(random, x[:]); err != nil {
		return exchange{}, fmt.Errorf("random bytes for a key: %w", err)
	}
	e := exchange{private: new(big.Int).SetBytes(x[:])}
	new(big.Int).Exp(generator, e.private, prime).FillBytes(e.public[:])
	return e, nil
}

// secret is S, which both ends know and nobody who only listens.
type secret [keySize]byte

// shared makes S of the peer's public key. Keys that give the same S to everybody are refused.
func (e exchange) shared(theirs []byte) (*secret, error) {
	y := new(big.Int).SetBytes(theirs)
	if y.Cmp(one) <= 0 || y.Cmp(minusOne) >= 0 {
		return nil, fmt.Errorf("%w: with its public key the secret is none", ErrHandshake)
	}
	s := new(secret)
	y.Exp(y, e.private, prime).FillBytes(s[:])
	return s, nil
}

// mark is HASH('req1', S), by which the responder finds the end of PadA.
func (s *secret) mark() [sha1.Size]byte { return hash("req1", s[:]) }

// veil hides HASH('req2', SKEY) under HASH('req3', S), and uncovers what is hidden.
func (s *secret) veil(req2 [sha1.Size]byte) [sha1.Size]byte {
	req3 := hash("req3", s[:])
	subtle.XORBytes(req2[:], req2[:], req3[:])
	return req2
}

// ciphers returns the key streams of the initiator (a) and the responder (b), ready for the first byte.
func (s *secret) ciphers(skey [20]byte) (a, b *rc4.Cipher, err error) {
	if a, err = newCipher(hash("keyA", s[:], skey[:])); err != nil {
		return nil, nil, err
	}
	b, err = newCipher(hash("keyB", s[:], skey[:]))
	return a, b, err
}

func newCipher(key [sha1.Size]byte) (*rc4.Cipher, error) {
	c, err := rc4.NewCipher(key[:])
	if err != nil {
		return nil, fmt.Errorf("no RC4 here, switch encryption off: %w", err)
	}
	var waste [dropped]byte
	c.XORKeyStream(waste[:], waste[:])
	return c, nil
}

// ReqHash is HASH('req2', SKEY), by which an incoming peer names the torrent: what find is asked for in [Accept].
func ReqHash(infoHash [20]byte) [20]byte { return hash("req2", infoHash[:]) }

// hash is SHA-1 over a label and what follows it.
func hash(label string, parts ...[]byte) (sum [sha1.Size]byte) {
	h := sha1.New()
	io.WriteString(h, label)
	for _, p := range parts {
		h.Write(p)
	}
	h.Sum(sum[:0])
	return sum
}
