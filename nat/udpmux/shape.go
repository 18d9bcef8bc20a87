package udpmux

import "encoding/binary"

const (
	utpHeader    = 20
	utpVersion   = 1
	utpLastType  = 4 // ST_SYN
	utpLastExt   = 3 // 1 selective ack, 2 extension bits, 3 close reason: libtorrent's
	stunHeader   = 20
	stunCookie   = 0x2112A442
	stunUsername = 0x0006
)

// looksUTP says whether b has the shape of a uTP packet (BEP 29).
func looksUTP(b []byte) bool {
	return len(b) >= utpHeader && b[0]&15 == utpVersion && b[0]>>4 <= utpLastType && b[1] <= utpLastExt
}

// looksDHT says whether b can be a DHT message: a bencoded dictionary (BEP 5).
func looksDHT(b []byte) bool { return len(b) > 0 && b[0] == 'd' }

// looksSTUN says whether b is framed as a STUN message (RFC 5389 section 6). A uTP packet with a selective ack begins
// as a success response does, so the cookie and the length must both fit.
func looksSTUN(b []byte) bool {
	return framedSTUN(b) && binary.BigEndian.Uint32(b[4:]) == stunCookie
}

// framedSTUN is looksSTUN for messages from before RFC 5389 as well, which have no cookie. QUIC, whose packets have their
// second bit set (RFC 9000 section 17), is the only protocol that it tells STUN from.
func framedSTUN(b []byte) bool {
	return len(b) >= stunHeader && b[0]&0xc0 == 0 &&
		int(binary.BigEndian.Uint16(b[2:])) == len(b)-stunHeader && len(b)%4 == 0
}

// username is the first USERNAME attribute of the STUN message b (RFC 5389 section 15), nil where there is none or an
// attribute before it does not fit.
func username(b []byte) []byte {
	for b = b[stunHeader:]; len(b) >= 4; {
		kind, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		b = b[4:]
		padded := (n + 3) &^ 3
		if padded > len(b) {
			return nil
		}
		if kind == stunUsername {
			return b[:n]
		}
		b = b[padded:]
	}
	return nil
}
