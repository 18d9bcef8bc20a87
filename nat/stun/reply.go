package stun

import (
	"encoding/binary"
	"net/netip"

	"github.com/pion/stun/v2"
)

// How the answering endpoint differs from the one that was asked, as bits.
const (
	changeOfPort = 1
	changeOfIP   = 2
	changeBoth   = changeOfPort | changeOfIP
)

// maxUnknown is the most attributes that a refusal names.
const maxUnknown = 8

// query is what matters of a Binding request.
type query struct {
	classic      bool // of RFC 3489, before the magic cookie
	fingerprint  bool
	change       int
	responsePort uint16
	unknown      [maxUnknown]stun.AttrType // what must be understood and is not
	unknowns     int
}

// parseQuery reads a framed Binding request into m. Malformed ones get no answer, since 400 (Bad Request) would tell
// nothing to a stranger who has no use for it.
func parseQuery(m *stun.Message, b []byte) (q query, ok bool) {
	if !decode(m, b) {
		return q, false
	}
	q.classic = !hasCookie(b)
	for i := len(m.Attributes) - 1; i >= 0; i-- { // the first of a type counts (RFC 5389 section 15)
		switch a := m.Attributes[i]; a.Type {
		case stun.AttrChangeRequest:
			if len(a.Value) != 4 {
				return q, false
			}
			q.change = 0
			if a.Value[3]&changePort != 0 {
				q.change |= changeOfPort
			}
			if a.Value[3]&changeIP != 0 {
				q.change |= changeOfIP
			}
		case stun.AttrResponsePort: // with or without its padding
			if len(a.Value) != 2 && len(a.Value) != 4 || a.Value[0] == 0 && a.Value[1] == 0 {
				return q, false
			}
			q.responsePort = binary.BigEndian.Uint16(a.Value)
		case stun.AttrFingerprint:
			q.fingerprint = true
		case stun.AttrUsername, stun.AttrMessageIntegrity, stun.AttrRealm, stun.AttrNonce: // nobody needs to prove anything
		case stun.AttrPadding: // answers are not padded: a server sends no fragments
		default:
			if a.Type.Required() {
				q.refuse(a.Type)
			}
		}
	}
	return q, true
}

func (q *query) refuse(t stun.AttrType) {
	if q.unknowns < maxUnknown {
		q.unknown[q.unknowns] = t
		q.unknowns++
	}
}

// reply is what an answer says.
type reply struct {
	query
	mapped, origin, other netip.AddrPort // other is not valid where there is none
}

// write makes m the answer, of at most room bytes. What is less important is left out; it returns false where the answer
// would be none.
func (r *reply) write(m *stun.Message, transaction id, room int) bool {
	if r.unknowns > 0 {
		return r.writeRefusal(m, transaction, room)
	}
	start(m, bindingSuccess, transaction)
	if r.fingerprint {
		room -= 8
	}
	mapped, origin, other := stun.AttrXORMappedAddress, stun.AttrResponseOrigin, stun.AttrOtherAddress
	if r.classic {
		mapped, origin, other = stun.AttrMappedAddress, stun.AttrSourceAddress, stun.AttrChangedAddress
	}
	whole := r.add(m, mapped, r.mapped, room)
	r.add(m, other, r.other, room)
	r.add(m, origin, r.origin, room)
	r.finish(m)
	return whole
}

// writeRefusal makes m an answer with the code for unknown attributes, and what there is room for of their list.
func (r *reply) writeRefusal(m *stun.Message, transaction id, room int) bool {
	start(m, bindingError, transaction)
	if r.fingerprint {
		room -= 8
	}
	m.Add(stun.AttrErrorCode, []byte{0, 0, unknownAttribute / 100, unknownAttribute % 100})
	var list []byte
	for _, t := range r.unknown[:r.unknowns] {
		if len(m.Raw)+4+(len(list)+2+3)&^3 <= room {
			list = binary.BigEndian.AppendUint16(list, uint16(t))
		}
	}
	m.Add(stun.AttrUnknownAttributes, list)
	r.finish(m)
	return len(list) > 0
}

func (r *reply) add(m *stun.Message, t stun.AttrType, a netip.AddrPort, room int) bool {
	if !a.IsValid() || len(m.Raw)+addressSize(a) > room {
		return false
	}
	addAddress(m, t, a)
	return true
}

func (r *reply) finish(m *stun.Message) {
	if r.fingerprint {
		// It fails only where there is one already.
		_ = stun.Fingerprint.AddTo(m)
	}
}
