package mse

import (
	"errors"
	"fmt"
)

// Errors of a handshake that tell whose fault it was; wrapped with what happened. Anything else is the network's.
var (
	// ErrHandshake: the other end does not speak MSE, does not know the torrent's info-hash, or breaks the rules.
	ErrHandshake = errors.New("peer broke the encryption handshake")
	// ErrUnknownTorrent: an incoming peer asked for a torrent that find does not know.
	ErrUnknownTorrent = errors.New("peer asked for an encrypted torrent that is not here")
	// ErrPolicy: our own policy rules out what the peer wants; another policy would let it in.
	ErrPolicy = errors.New("the encryption policy rules this connection out")
)

// Policy says when connections are encrypted. The zero value is Prefer.
type Policy uint8

// The policies.
const (
	Prefer  Policy = iota // plaintext where the peer agrees, encryption with a peer that insists
	Require               // RC4 streams only
	Off                   // no encryption, not even the handshake
)

var policyNames = [...]string{Prefer: "prefer", Require: "require", Off: "off"}

// ParsePolicy reads "prefer", "require" or "off".
func ParsePolicy(s string) (Policy, error) {
	for p, name := range policyNames {
		if s == name {
			return Policy(p), nil
		}
	}
	return 0, fmt.Errorf("encryption policy %q: choose prefer, require or off", s)
}

// String returns the word that [ParsePolicy] reads.
func (p Policy) String() string {
	if int(p) < len(policyNames) {
		return policyNames[p]
	}
	return fmt.Sprintf("policy %d", uint8(p))
}

// MarshalText is String for the flag package; it fails for a value that is no policy.
func (p Policy) MarshalText() ([]byte, error) {
	if int(p) >= len(policyNames) {
		return nil, fmt.Errorf("%v is not an encryption policy", p)
	}
	return []byte(p.String()), nil
}

// UnmarshalText is [ParsePolicy] for the flag package; p stays as it is where that fails.
func (p *Policy) UnmarshalText(text []byte) error {
	parsed, err := ParsePolicy(string(text))
	if err == nil {
		*p = parsed
	}
	return err
}

// Method is a way to carry the payload, and a set of such ways where they are offered. The values are the bits of
// crypto_provide and crypto_select.
type Method uint8

// The methods.
const (
	Plaintext Method = 1
	RC4       Method = 2
)

// choose selects the method for a peer that offers some.
func (p Policy) choose(offered Method) (Method, error) {
	switch {
	case p == Off:
		return 0, fmt.Errorf("%w: it is off", ErrPolicy)
	case p == Prefer && offered&Plaintext != 0:
		return Plaintext, nil
	case offered&RC4 != 0:
		return RC4, nil
	case offered&Plaintext != 0:
		return 0, fmt.Errorf("%w: RC4 is required, the peer offers plaintext only", ErrPolicy)
	}
	return 0, fmt.Errorf("%w: it offers no method that is known", ErrHandshake)
}
