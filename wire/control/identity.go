package control

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base32"
	"encoding/base64"
	"encoding/pem"
	"errors"
)

// DeviceID names an agent by its key: SHA-256 of the key's SubjectPublicKeyInfo (RFC 8410) in lower-case base32 without
// padding, 52 characters.
type DeviceID string

// Pin names a deployment key: SHA-256 of its SubjectPublicKeyInfo (RFC 8410). An invite carries it to the agent.
type Pin [sha256.Size]byte

// ErrKey is a private key that cannot be read.
var ErrKey = errors.New("control: not an Ed25519 private key in PEM (PKCS #8): restore the file from a backup, or remove it and join again")

// ErrPin is a pin that cannot be read.
var ErrPin = errors.New("control: not a pin (43 characters of base64url): copy the whole invite")

// spkiHead is what precedes the 32 bytes of every Ed25519 SubjectPublicKeyInfo.
const spkiHead = "\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00"

const keyBlock = "PRIVATE KEY"

var idEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// NewKey makes an Ed25519 key.
func NewKey() (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(nil)
	return key, err
}

// MarshalKey returns key as PEM (PKCS #8), for a file that only its owner may read.
func MarshalKey(key ed25519.PrivateKey) ([]byte, error) {
	if len(key) != ed25519.PrivateKeySize {
		return nil, ErrKey
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der}), nil
}

// ParseKey is the inverse of MarshalKey. The error is ErrKey and never shows any of b.
func ParseKey(b []byte) (ed25519.PrivateKey, error) {
	block, _ := pem.Decode(b)
	if block == nil || block.Type != keyBlock {
		return nil, ErrKey
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, ErrKey
	}
	k, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, ErrKey
	}
	return k, nil
}

func hashKey(pub ed25519.PublicKey) [sha256.Size]byte {
	return sha256.Sum256(append([]byte(spkiHead), pub...))
}

// DeviceIDOf returns the id of the agent with the public key pub.
func DeviceIDOf(pub ed25519.PublicKey) DeviceID {
	h := hashKey(pub)
	return DeviceID(idEncoding.EncodeToString(h[:]))
}

// PinOf returns the pin of a deployment with the public key pub.
func PinOf(pub ed25519.PublicKey) Pin { return hashKey(pub) }

// String returns the pin in base64url without padding, 43 characters.
func (p Pin) String() string { return base64.RawURLEncoding.EncodeToString(p[:]) }

// ParsePin is the inverse of Pin.String. The error is ErrPin.
func ParsePin(s string) (Pin, error) {
	var p Pin
	if len(s) != base64.RawURLEncoding.EncodedLen(len(p)) {
		return Pin{}, ErrPin
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != len(p) {
		return Pin{}, ErrPin
	}
	copy(p[:], b)
	return p, nil
}
