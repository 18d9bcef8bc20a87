package punch

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"

	"github.com/pion/stun/v2"
)

const (
	headerSize     = 20
	bindingRequest = 0x0001
	bindingSuccess = 0x0101
	cookie         = 0x2112A442 // RFC 5389 section 6

	attrUseCandidate = stun.AttrUseCandidate // RFC 8445 section 7.1.2
	attrPadding      = stun.AttrPadding      // RFC 5780 section 7.6

	userSize  = 2*8 + 2
	probeSize = headerSize + (4 + 20) + (4 + 20) + (4 + 4) // of a request with nothing in it: user name, integrity, fingerprint

	maxMessage = 1500
)

// id is a transaction's: a nonce of the side that asks, and a number that counts its requests.
type id = [stun.TransactionIDSize]byte

const nonceSize = 8

func newID(nonce [nonceSize]byte, n uint32) (x id) {
	copy(x[:], nonce[:])
	binary.BigEndian.PutUint32(x[nonceSize:], n)
	return x
}

// number is the count in an id.
func number(x id) uint32 { return binary.BigEndian.Uint32(x[nonceSize:]) }

// username is that of messages of one side.
func username(attempt [8]byte, controlling bool) string {
	if controlling {
		return hex.EncodeToString(attempt[:]) + ":a"
	}
	return hex.EncodeToString(attempt[:]) + ":b"
}

// message is a request or an answer.
type message struct {
	id       id
	answer   bool
	nominate bool // USE-CANDIDATE
}

// codec writes messages of one side and reads those of the other.
type codec struct {
	ours, theirs string
	key          stun.MessageIntegrity
	m            stun.Message
}

func newCodec(p *Plan) codec {
	return codec{ours: username(p.Attempt, p.Controlling), theirs: username(p.Attempt, !p.Controlling), key: bytes.Clone(p.Key[:])}
}

// marshal makes a message of exactly size bytes, a multiple of 4, and at least probeSize. What nominates has 4 more than that
// at least, and does not nominate where they are missing.
func (c *codec) marshal(x message, size int) []byte {
	kind := uint16(bindingRequest)
	if x.answer {
		kind = bindingSuccess
	}
	c.m.Reset()
	c.m.Type.ReadValue(kind)
	c.m.TransactionID = x.id
	c.m.WriteHeader()
	c.m.Add(stun.AttrUsername, []byte(c.ours))
	rest := size - probeSize
	if x.nominate && rest >= 4 {
		c.m.Add(attrUseCandidate, nil)
		rest -= 4
	}
	if rest >= 4 {
		c.m.Add(attrPadding, make([]byte, rest-4))
	}
	// These fail only where there is a fingerprint already.
	_ = c.key.AddTo(&c.m)
	_ = stun.Fingerprint.AddTo(&c.m)
	return append([]byte(nil), c.m.Raw...)
}

// parse reads a message of the other side. It is not ok if anything is different from what marshal writes there, whatever
// its bytes of padding.
func (c *codec) parse(b []byte) (x message, ok bool) {
	if len(b) < probeSize || len(b) > maxMessage || len(b)%4 != 0 || binary.BigEndian.Uint32(b[4:]) != cookie ||
		int(binary.BigEndian.Uint16(b[2:])) != len(b)-headerSize {
		return x, false
	}
	switch binary.BigEndian.Uint16(b) {
	case bindingRequest:
	case bindingSuccess:
		x.answer = true
	default:
		return x, false
	}
	c.m.Raw = append(c.m.Raw[:0], b...)
	if c.m.Decode() != nil {
		return x, false
	}
	x.id = c.m.TransactionID
	rest := c.m.Attributes
	next := func(t stun.AttrType) (v []byte, found bool) {
		if len(rest) == 0 || rest[0].Type != t {
			return nil, false
		}
		v, rest = rest[0].Value, rest[1:]
		return v, true
	}
	if user, found := next(stun.AttrUsername); !found || string(user) != c.theirs {
		return x, false
	}
	var v []byte
	if v, x.nominate = next(attrUseCandidate); len(v) != 0 {
		return x, false
	}
	next(attrPadding)
	if _, found := next(stun.AttrMessageIntegrity); !found {
		return x, false
	}
	if _, found := next(stun.AttrFingerprint); !found || len(rest) != 0 {
		return x, false
	}
	return x, stun.Fingerprint.Check(&c.m) == nil && c.key.Check(&c.m) == nil
}
