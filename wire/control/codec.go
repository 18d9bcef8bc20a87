package control

import (
	"github.com/fxamacker/cbor/v2"
)

// The type numbers: map key 0 of every frame.
const (
	typeHello        = 1
	typeWelcome      = 2
	typeRefused      = 3
	typeProgress     = 4
	typeSynced       = 5
	typeGone         = 6
	typeAssign       = 7
	typeUnassign     = 8
	typeCandidates   = 9
	typeLayoutHeader = 10
	typeLayoutFiles  = 11
	typeUnusable     = 12
	typeNetwork      = 13
	typePunch        = 14
	typePunched      = 15
	typeObserved     = 16
	typeRelay        = 17
)

// The codec's settings never change, and building them costs more than a message does.
var (
	encoding = must(cbor.EncOptions{
		Sort:        cbor.SortCoreDeterministic,
		IndefLength: cbor.IndefLengthForbidden,
		TagsMd:      cbor.TagsForbidden,
	}.EncMode())

	decoding = must(decOptions(cbor.DupMapKeyEnforcedAPF).DecMode())

	// The type is looked up before the message is decoded; remembering keys for duplicates would only cost memory there.
	peeking = must(decOptions(cbor.DupMapKeyQuiet).DecMode())
)

func decOptions(duplicates cbor.DupMapKeyMode) cbor.DecOptions {
	return cbor.DecOptions{
		DupMapKey:         duplicates,
		MaxNestedLevels:   maxNesting,
		MaxArrayElements:  maxArray,
		MaxMapPairs:       maxPairs,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		UTF8:              cbor.UTF8RejectInvalid,
		FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
		BignumTag:         cbor.BignumTagForbidden,
	}
}

func must[M any](mode M, err error) M {
	if err != nil {
		panic("control: codec settings: " + err.Error())
	}
	return mode
}

// AppendMessage appends m's map, without the frame's length, to b. The error is ErrUnsendable and names the field.
func AppendMessage(b []byte, m Message) ([]byte, error) {
	w, err := m.wire()
	if err != nil {
		return b, unsendable("%T: %v", m, err)
	}
	body, err := encoding.Marshal(w)
	if err != nil {
		return b, unsendable("%T: %v", m, err)
	}
	if len(body) > MaxFrame {
		return b, unsendable("%T of %d bytes is longer than a frame", m, len(body))
	}
	return append(b, body...), nil
}

// ParseMessage is the inverse of AppendMessage. It keeps no reference to b. The errors are ErrMalformed and
// ErrUnknownType.
func ParseMessage(b []byte) (Message, error) {
	if len(b) > MaxFrame {
		return nil, ErrFrameTooLarge
	}
	var head struct {
		Type uint64 `cbor:"0,keyasint"`
	}
	if err := peeking.Unmarshal(b, &head); err != nil {
		return nil, malformed("%v", err)
	}
	switch head.Type {
	case 0:
		return nil, malformed("no type")
	case typeHello:
		return parse[helloWire](head.Type, b)
	case typeWelcome:
		return parse[welcomeWire](head.Type, b)
	case typeRefused:
		return parse[refusedWire](head.Type, b)
	case typeProgress:
		return parse[progressWire](head.Type, b)
	case typeSynced:
		return parse[syncedWire](head.Type, b)
	case typeGone:
		return parse[goneWire](head.Type, b)
	case typeAssign:
		return parse[assignWire](head.Type, b)
	case typeUnassign:
		return parse[unassignWire](head.Type, b)
	case typeCandidates:
		return parse[candidatesWire](head.Type, b)
	case typeLayoutHeader:
		return parse[layoutHeaderWire](head.Type, b)
	case typeLayoutFiles:
		return parse[layoutFilesWire](head.Type, b)
	case typeUnusable:
		return parse[unusableWire](head.Type, b)
	case typeNetwork:
		return parse[networkWire](head.Type, b)
	case typePunch:
		return parse[punchWire](head.Type, b)
	case typePunched:
		return parse[punchedWire](head.Type, b)
	case typeObserved:
		return parse[observedWire](head.Type, b)
	case typeRelay:
		return parse[relayWire](head.Type, b)
	default:
		return nil, ErrUnknownType
	}
}

func parse[W interface{ message() (Message, error) }](number uint64, b []byte) (Message, error) {
	var w W
	if err := decoding.Unmarshal(b, &w); err != nil {
		return nil, malformed("type %d: %v", number, err)
	}
	m, err := w.message()
	if err != nil {
		return nil, malformed("type %d: %v", number, err)
	}
	return m, nil
}
