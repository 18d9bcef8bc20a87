package utp

import (
	"encoding/binary"
	"errors"
	"strconv"
)

// packetType is the upper half of a packet's first byte; the lower half is the version, 1.
type packetType uint8

// Packet types of BEP 29.
const (
	stData  packetType = 0 // bytes of the stream
	stFin   packetType = 1 // the last packet of a direction, without bytes
	stState packetType = 2 // an acknowledgement; takes no sequence number
	stReset packetType = 3
	stSyn   packetType = 4
)

var packetTypeNames = [...]string{stData: "data", stFin: "fin", stState: "state", stReset: "reset", stSyn: "syn"}

// String names the type as the transcripts do.
func (t packetType) String() string {
	if int(t) < len(packetTypeNames) {
		return packetTypeNames[t]
	}
	return "type " + strconv.Itoa(int(t))
}

// Layout of a packet.
const (
	version       = 1
	headerLen     = 20
	extHeaderLen  = 2   // next extension, length
	maxExtension  = 255 // bytes of one extension
	extSACK       = 1   // BEP 29
	extBits       = 2   // 8 bytes, from µTorrent; libutp refuses any other length
	extBitsLen    = 8
	extPadding    = 0xf0 // ours: unknown to everybody and therefore skipped; see mtu.go
	offConnID     = 2
	offTimestamp  = 4
	offDifference = 8
	offWindow     = 12
	offSeq        = 16
	offAck        = 18
)

// Errors of parsePacket.
var (
	errShort     = errors.New("utp: packet shorter than its headers")
	errVersion   = errors.New("utp: not a packet of version 1")
	errExtension = errors.New("utp: extension longer than its packet")
)

// packet is one datagram. sack and payload are views of the bytes it was parsed from.
type packet struct {
	typ           packetType
	connID        uint16
	timestamp     uint32 // µs of the sender's clock when it was sent
	timestampDiff uint32 // µs between the last packet's timestamp and the arrival of that packet; 0: none arrived yet
	window        uint32 // bytes that the sender of this packet has room for
	seq           uint16
	ack           uint16 // the last packet before which none is missing
	sack          []byte // bit i (least significant first) is packet ack+2+i; nil if none
	payload       []byte
}

// parsePacket reads one datagram. It follows the chain of extensions to its end, skips those it does not know and takes
// the first selective acknowledgement.
func parsePacket(b []byte) (packet, error) {
	if len(b) < headerLen {
		return packet{}, errShort
	}
	typ := packetType(b[0] >> 4)
	if b[0]&15 != version || typ > stSyn {
		return packet{}, errVersion
	}
	p := packet{
		typ:           typ,
		connID:        binary.BigEndian.Uint16(b[offConnID:]),
		timestamp:     binary.BigEndian.Uint32(b[offTimestamp:]),
		timestampDiff: binary.BigEndian.Uint32(b[offDifference:]),
		window:        binary.BigEndian.Uint32(b[offWindow:]),
		seq:           binary.BigEndian.Uint16(b[offSeq:]),
		ack:           binary.BigEndian.Uint16(b[offAck:]),
	}
	ext := b[1]
	b = b[headerLen:]
	for ext != 0 {
		if len(b) < extHeaderLen || len(b) < extHeaderLen+int(b[1]) {
			return packet{}, errExtension
		}
		end := extHeaderLen + int(b[1])
		if ext == extSACK && p.sack == nil {
			p.sack = b[extHeaderLen:end:end]
		}
		ext, b = b[0], b[end:]
	}
	p.payload = b
	return p, nil
}

// appendMarshal appends the packet to b, with at most 255 bytes of sack.
func (p *packet) appendMarshal(b []byte) []byte {
	b = p.appendHeader(b)
	if p.sack != nil {
		b[len(b)-headerLen+1] = extSACK
		b = append(b, 0, byte(len(p.sack)))
		b = append(b, p.sack...)
	}
	return append(b, p.payload...)
}

// appendHeader appends the 20 bytes before extensions and payload, with no extension announced.
func (p *packet) appendHeader(b []byte) []byte {
	b = append(b, byte(p.typ)<<4|version, 0)
	b = binary.BigEndian.AppendUint16(b, p.connID)
	b = binary.BigEndian.AppendUint32(b, p.timestamp)
	b = binary.BigEndian.AppendUint32(b, p.timestampDiff)
	b = binary.BigEndian.AppendUint32(b, p.window)
	b = binary.BigEndian.AppendUint16(b, p.seq)
	return binary.BigEndian.AppendUint16(b, p.ack)
}
