package dht

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"time"
)

// tokenTime is how long a token is given out; it is taken for as long again (BEP 5: tokens up to ten minutes old).
const tokenTime = 5 * time.Minute

// tokenSize is a token's length in bytes.
const tokenSize = 8

// tokens issues what a node must show when it announces a peer, to prove that it has got an answer at its address.
type tokens struct {
	secret [32]byte
}

func newTokens() tokens {
	var t tokens
	rand.Read(t.secret[:])
	return t
}

// issue returns the token that a source is given now.
func (t *tokens) issue(a netip.Addr, now time.Time) string {
	mac := hmac.New(sha256.New, t.secret[:])
	mac.Write(binary.BigEndian.AppendUint64(a.AsSlice(), uint64(now.UnixNano()/int64(tokenTime))))
	return string(mac.Sum(nil)[:tokenSize])
}

// valid reports whether a source was given the token lately.
func (t *tokens) valid(token string, a netip.Addr, now time.Time) bool {
	return hmac.Equal([]byte(token), []byte(t.issue(a, now))) || hmac.Equal([]byte(token), []byte(t.issue(a, now.Add(-tokenTime))))
}
