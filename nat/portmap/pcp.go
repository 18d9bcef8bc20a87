package portmap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// PCP (RFC 6887 section 7): requests and responses begin with
//
//	 0                   1                   2                   3
//	+---------------+-+-------------+-------------------------------+
//	| version = 2   |R| opcode      | reserved      | result (of R) |
//	+---------------+-+-------------+-------------------------------+
//	| requested lifetime, or lifetime in seconds                    |
//	+---------------------------------------------------------------+
//	| request: client's address   | response: epoch, then 12 zeros  |
//	+---------------------------------------------------------------+
//
// in 24 bytes, and MAP's part (section 11.1) follows: nonce (12 bytes), protocol (1), reserved (3), internal port (2),
// external port (2), external address (16). Options may follow; we send and need none.
const (
	pcpVersion = 2
	pcpHeader  = 24
	pcpMAP     = 36
	pcpMost    = 1100 // longest message (section 7)

	opAnnounce = 0
	opMAP      = 1
	opResponse = 0x80

	// gatewayPort is where PCP and NAT-PMP servers listen, announcePort where clients hear announcements.
	gatewayPort  = 5351
	announcePort = 5350
)

// nonce tells our mapping from those of other clients (RFC 6887 section 11.2). It stays the same for renewals.
type nonce [12]byte

// pcpRequest is an ANNOUNCE, or a MAP if it has a port.
type pcpRequest struct {
	client   netip.Addr // the address that it is sent from
	port     Port
	nonce    nonce
	external netip.AddrPort // suggested; zero: any
	lifetime time.Duration  // 0 removes
}

func (r pcpRequest) appendMarshal(b []byte) []byte {
	op := byte(opMAP)
	if r.port == (Port{}) {
		op = opAnnounce
	}
	b = append(b, pcpVersion, op, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(r.lifetime/time.Second))
	client := r.client.As16() // IPv4 as ::ffff:a.b.c.d (section 5)
	b = append(b, client[:]...)
	if op == opAnnounce {
		return b
	}
	b = append(b, r.nonce[:]...)
	b = append(b, byte(r.port.Protocol), 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, r.port.Internal)
	b = binary.BigEndian.AppendUint16(b, r.external.Port())
	external := r.external.Addr()
	if !external.IsValid() {
		// Any address of this family (section 11.1).
		external = netip.IPv4Unspecified()
		if r.client.Is6() {
			external = netip.IPv6Unspecified()
		}
	}
	address := external.As16()
	return append(b, address[:]...)
}

// pcpResponse is a response to ANNOUNCE or MAP; the fields from port on are MAP's.
type pcpResponse struct {
	op       byte
	result   uint8
	lifetime time.Duration // of the mapping, or for how long the error is to last
	epoch    uint32
	port     Port
	nonce    nonce
	external netip.AddrPort // IPv4 is unmapped
}

var (
	errNotPCP    = errors.New("not a PCP response")
	errNotNATPMP = errors.New("not a NAT-PMP response")
	// errVersion is a server's that does not know the version of the request.
	errVersion = errors.New("the gateway does not know this version")
)

// parsePCP decodes a response. A NAT-PMP server answers with version 0 (RFC 6887 section 9): that is errVersion.
func parsePCP(b []byte) (r pcpResponse, err error) {
	if len(b) >= 8 && b[0] == natPMPVersion && b[1]&opResponse != 0 && binary.BigEndian.Uint16(b[2:]) == uint16(natPMPBadVersion) {
		return r, errVersion
	}
	if len(b) < pcpHeader || len(b) > pcpMost || len(b)%4 != 0 || b[0] != pcpVersion || b[1]&opResponse == 0 {
		return r, errNotPCP
	}
	r.op, r.result = b[1]&^opResponse, b[3]
	r.lifetime = time.Duration(binary.BigEndian.Uint32(b[4:])) * time.Second
	r.epoch = binary.BigEndian.Uint32(b[8:])
	if r.op != opMAP {
		return r, nil
	}
	if len(b) < pcpHeader+pcpMAP {
		return pcpResponse{}, errNotPCP
	}
	m := b[pcpHeader:]
	copy(r.nonce[:], m)
	r.port = Port{Protocol(m[12]), binary.BigEndian.Uint16(m[16:])}
	r.external = netip.AddrPortFrom(netip.AddrFrom16([16]byte(m[20:36])).Unmap(), binary.BigEndian.Uint16(m[18:]))
	return r, nil
}

// resultError is a refusal by its number.
type resultError struct {
	by   method
	code int
	text string
}

func (e *resultError) Error() string {
	if e.text == "" {
		return fmt.Sprintf("the gateway refuses: error %d", e.code)
	}
	return fmt.Sprintf("the gateway refuses: error %d, %s", e.code, e.text)
}

// Result codes (RFC 6887 section 7.4).
const pcpBadVersion = 1

var pcpResults = [...]string{
	2: "not authorized", 3: "malformed request", 4: "unsupported opcode", 5: "unsupported option", 6: "malformed option",
	7: "network failure", 8: "no resources", 9: "unsupported protocol", 10: "quota exceeded",
	11: "cannot provide external address", 12: "address mismatch: there is a NAT on the way to it", 13: "too many remote peers",
}

// refusal is the error of a response, nil for success.
func (r pcpResponse) refusal() error {
	switch {
	case r.result == 0:
		return nil
	case r.result == pcpBadVersion:
		return errVersion
	case int(r.result) < len(pcpResults):
		return &resultError{pcp, int(r.result), pcpResults[r.result]}
	}
	return &resultError{by: pcp, code: int(r.result)}
}
