package peer

import (
	"fmt"
	"math"
)

// MetadataPieceSize is the length of every piece of the info dictionary but the last, in bytes (BEP 9).
const MetadataPieceSize = 16 << 10

// MetadataType is the kind of a ut_metadata message. Receivers ignore kinds they do not know (BEP 9).
type MetadataType uint8

// The kinds of BEP 9.
const (
	MetadataRequest MetadataType = 0
	MetadataData    MetadataType = 1
	MetadataReject  MetadataType = 2
)

// MetadataMessage is the payload of a ut_metadata message (BEP 9).
type MetadataMessage struct {
	Type      MetadataType
	Piece     uint32 // counted in [MetadataPieceSize]
	TotalSize int64  // in data messages: bytes of the whole info dictionary, 0 where the sender did not say; unchecked
	Data      []byte // in data messages: at most MetadataPieceSize bytes
}

// AppendMarshal appends the message to b. TotalSize and Data are written in data messages only.
func (m MetadataMessage) AppendMarshal(b []byte) []byte {
	b = appendInt(append(b, "d8:msg_type"...), int64(m.Type))
	b = appendInt(append(b, "5:piece"...), int64(m.Piece))
	if m.Type != MetadataData {
		return append(b, 'e')
	}
	b = appendInt(append(b, "10:total_size"...), m.TotalSize)
	return append(append(b, 'e'), m.Data...)
}

// ParseMetadataMessage reads a ut_metadata message. Data refers to payload; TotalSize and Data are left empty in anything
// but a data message. The error wraps [ErrBencode], or [ErrTooLarge] where there is more data than a piece has.
func ParseMetadataMessage(payload []byte) (MetadataMessage, error) {
	kind, piece, total := int64(-1), int64(-1), int64(0)
	d := decoder{payload}
	if err := d.open(); err != nil {
		return MetadataMessage{}, fmt.Errorf("peer sent a bad ut_metadata message: %w", err)
	}
	for {
		key, ok, err := d.key()
		if err == nil && ok {
			switch string(key) {
			case "msg_type":
				kind, err = d.intOr(0, math.MaxUint8, -1)
			case "piece":
				piece, err = d.intOr(0, math.MaxUint32, -1)
			case "total_size":
				total, err = d.intOr(0, math.MaxInt64, 0)
			default:
				err = d.skip()
			}
		}
		if err != nil {
			return MetadataMessage{}, fmt.Errorf("peer sent a bad ut_metadata message: %w", err)
		}
		if !ok {
			break
		}
	}
	if kind < 0 || piece < 0 {
		return MetadataMessage{}, fmt.Errorf("peer sent a bad ut_metadata message: %w: msg_type or piece is missing", ErrBencode)
	}
	m := MetadataMessage{Type: MetadataType(kind), Piece: uint32(piece)}
	if m.Type != MetadataData {
		return m, nil
	}
	if len(d.b) > MetadataPieceSize {
		return m, fmt.Errorf("peer sent %d bytes in a ut_metadata message: %w of %d", len(d.b), ErrTooLarge, MetadataPieceSize)
	}
	m.TotalSize, m.Data = total, d.b
	return m, nil
}
