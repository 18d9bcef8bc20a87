package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
)

// Sizes in bytes that bound what a peer may send.
const (
	BlockSize      = 16 << 10  // the data of a PIECE message, and what a REQUEST should ask for (BEP 3)
	MaxBitfield    = 512 << 10 // the bits of a BITFIELD message: 4 Mi pieces
	MaxExtended    = 1 << 20   // the body of an EXTENDED message with its id
	MaxUnknown     = 64 << 10  // the body of a message of a type unknown here
	pieceHeaderLen = 9         // type, index and begin, before the data
)

// Errors of [Parse] and [Reader.Next], wrapped with the details. After either of them the connection must be closed:
// the peer does not speak the protocol.
var (
	ErrLength   = errors.New("wrong length for its type")
	ErrTooLarge = errors.New("longer than the limit")
)

// Type is the type of a message: the byte after the length prefix.
type Type uint8

// Message types of BEP 3, of BEP 5 (TypePort), of BEP 6 (TypeSuggest to TypeAllowedFast) and of BEP 10 (TypeExtended).
const (
	TypeChoke         Type = 0
	TypeUnchoke       Type = 1
	TypeInterested    Type = 2
	TypeNotInterested Type = 3
	TypeHave          Type = 4
	TypeBitfield      Type = 5
	TypeRequest       Type = 6
	TypePiece         Type = 7
	TypeCancel        Type = 8
	TypePort          Type = 9
	TypeSuggest       Type = 13
	TypeHaveAll       Type = 14
	TypeHaveNone      Type = 15
	TypeReject        Type = 16
	TypeAllowedFast   Type = 17
	TypeExtended      Type = 20
)

var typeNames = [...]string{
	TypeChoke: "choke", TypeUnchoke: "unchoke", TypeInterested: "interested", TypeNotInterested: "not interested",
	TypeHave: "have", TypeBitfield: "bitfield", TypeRequest: "request", TypePiece: "piece", TypeCancel: "cancel",
	TypePort: "port", TypeSuggest: "suggest", TypeHaveAll: "have all", TypeHaveNone: "have none",
	TypeReject: "reject", TypeAllowedFast: "allowed fast", TypeExtended: "extended",
}

// String names the type as the BEPs do.
func (t Type) String() string {
	if int(t) < len(typeNames) && typeNames[t] != "" {
		return typeNames[t]
	}
	return "type " + strconv.Itoa(int(t))
}

// Message is one message of the peer protocol. Which fields mean something depends on Type:
//
//	have, suggest, allowed fast   Index
//	request, cancel, reject       Index, Begin, Length
//	piece                         Index, Begin, Length, and Payload where the whole message is at hand
//	bitfield                      Payload, the bits
//	port                          Port
//	extended                      ExtID, Payload
//	unknown types                 Payload
type Message struct {
	Type      Type
	KeepAlive bool   // the message of length 0, which has no type
	Index     uint32 // piece
	Begin     uint32 // offset in the piece, bytes
	Length    uint32 // of the block, bytes; in a piece message always the length of its data
	ExtID     uint8  // extended message id; [ExtHandshake] or one that the receiver gave out
	Payload   []byte
	Port      uint16 // of the sender's DHT node, UDP
}

// Append appends the message with its length prefix to b. In a piece message Payload is the data and Length is ignored.
func (m Message) Append(b []byte) []byte {
	if m.KeepAlive {
		return append(b, 0, 0, 0, 0)
	}
	start := len(b)
	b = append(b, 0, 0, 0, 0, byte(m.Type))
	switch m.Type {
	case TypeChoke, TypeUnchoke, TypeInterested, TypeNotInterested, TypeHaveAll, TypeHaveNone:
	case TypeHave, TypeSuggest, TypeAllowedFast:
		b = binary.BigEndian.AppendUint32(b, m.Index)
	case TypeRequest, TypeCancel, TypeReject:
		b = binary.BigEndian.AppendUint32(b, m.Index)
		b = binary.BigEndian.AppendUint32(b, m.Begin)
		b = binary.BigEndian.AppendUint32(b, m.Length)
	case TypePiece:
		b = binary.BigEndian.AppendUint32(b, m.Index)
		b = binary.BigEndian.AppendUint32(b, m.Begin)
		b = append(b, m.Payload...)
	case TypePort:
		b = binary.BigEndian.AppendUint16(b, m.Port)
	case TypeExtended:
		b = append(b, m.ExtID)
		b = append(b, m.Payload...)
	default:
		b = append(b, m.Payload...)
	}
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-4))
	return b
}

// AppendPieceHeader appends the 13 bytes that go before the data of a piece message: length is that of the data, which
// the caller sends right behind, from its own buffer (writev).
func AppendPieceHeader(b []byte, index, begin, length uint32) []byte {
	b = binary.BigEndian.AppendUint32(b, pieceHeaderLen+length)
	b = append(b, byte(TypePiece))
	b = binary.BigEndian.AppendUint32(b, index)
	return binary.BigEndian.AppendUint32(b, begin)
}

// checkLength says whether a message of this type may have n bytes after the length prefix (n ≥ 1, the type included).
func checkLength(t Type, n uint32) error {
	least, most := n, n
	switch t {
	case TypeChoke, TypeUnchoke, TypeInterested, TypeNotInterested, TypeHaveAll, TypeHaveNone:
		least, most = 1, 1
	case TypeHave, TypeSuggest, TypeAllowedFast:
		least, most = 5, 5
	case TypeRequest, TypeCancel, TypeReject:
		least, most = 13, 13
	case TypePort:
		least, most = 3, 3
	case TypePiece:
		least, most = pieceHeaderLen+1, pieceHeaderLen+BlockSize
	case TypeBitfield:
		// The right length is known only to those who know the torrent; a peer that itself lacks the metadata may
		// send no bits at all.
		least, most = 1, 1+MaxBitfield
	case TypeExtended:
		least, most = 2, 1+MaxExtended
	default:
		least, most = 1, 1+MaxUnknown
	}
	switch {
	case n > most && least != most:
		return fmt.Errorf("peer sent a %s message of %d bytes: %w of %d", t, n, ErrTooLarge, most)
	case n < least || n > most:
		return fmt.Errorf("peer sent a %s message of %d bytes: %w", t, n, ErrLength)
	}
	return nil
}

// Parse reads one whole message without its length prefix; an empty frame is a keepalive. Payload refers to frame. The
// error wraps [ErrLength] or [ErrTooLarge].
func Parse(frame []byte) (Message, error) {
	if len(frame) == 0 {
		return Message{KeepAlive: true}, nil
	}
	t := Type(frame[0])
	if err := checkLength(t, uint32(min(uint64(len(frame)), 1<<32-1))); err != nil {
		return Message{}, err
	}
	m, body := Message{Type: t}, frame[1:]
	switch t {
	case TypeChoke, TypeUnchoke, TypeInterested, TypeNotInterested, TypeHaveAll, TypeHaveNone:
	case TypeHave, TypeSuggest, TypeAllowedFast:
		m.Index = binary.BigEndian.Uint32(body)
	case TypeRequest, TypeCancel, TypeReject:
		m.Index = binary.BigEndian.Uint32(body)
		m.Begin = binary.BigEndian.Uint32(body[4:])
		m.Length = binary.BigEndian.Uint32(body[8:])
	case TypePiece:
		m.Index = binary.BigEndian.Uint32(body)
		m.Begin = binary.BigEndian.Uint32(body[4:])
		m.Payload = body[8:]
		m.Length = uint32(len(m.Payload))
	case TypePort:
		m.Port = binary.BigEndian.Uint16(body)
	case TypeExtended:
		m.ExtID, m.Payload = body[0], body[1:]
	default:
		m.Payload = body
	}
	return m, nil
}
