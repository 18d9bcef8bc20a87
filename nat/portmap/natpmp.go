package portmap

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// NAT-PMP (RFC 6886 section 3): a request for the external address is two zero bytes. A request for a mapping is
//
//	0, opcode, reserved (2), internal port (2), suggested external port (2), lifetime in seconds (4)
//
// and responses are, of 12 and 16 bytes,
//
//	0, 128 + opcode, result (2), epoch (4), external address (4)
//	0, 128 + opcode, result (2), epoch (4), internal port (2), external port (2), lifetime in seconds (4)
//
// of which refusals may be the first 8 bytes only.
const (
	natPMPVersion = 0

	opExternal = 0
	opMapUDP   = 1
	opMapTCP   = 2
)

// natPMPRequest asks for the external address, or for a mapping if it has a port.
type natPMPRequest struct {
	port     Port
	external uint16        // suggested; 0: any
	lifetime time.Duration // 0 removes
}

func (r natPMPRequest) appendMarshal(b []byte) []byte {
	b = append(b, natPMPVersion, natPMPOpcode(r.port))
	if r.port == (Port{}) {
		return b
	}
	b = append(b, 0, 0)
	b = binary.BigEndian.AppendUint16(b, r.port.Internal)
	b = binary.BigEndian.AppendUint16(b, r.external)
	return binary.BigEndian.AppendUint32(b, uint32(r.lifetime/time.Second))
}

func natPMPOpcode(p Port) byte {
	switch p.Protocol {
	case UDP:
		return opMapUDP
	case TCP:
		return opMapTCP
	}
	return opExternal
}

// natPMPResponse is a response; a refused one has neither address nor port.
type natPMPResponse struct {
	op       byte
	result   natPMPResult
	epoch    uint32
	address  netip.Addr // of opExternal
	port     Port       // of the others
	external uint16
	lifetime time.Duration
}

func parseNATPMP(b []byte) (r natPMPResponse, err error) {
	if len(b) < 8 || b[0] != natPMPVersion || b[1] < opResponse || b[1] > opResponse+opMapTCP {
		return r, errNotNATPMP
	}
	r.op = b[1] - opResponse
	r.result = natPMPResult(binary.BigEndian.Uint16(b[2:]))
	r.epoch = binary.BigEndian.Uint32(b[4:])
	switch {
	case r.result != 0:
	case r.op == opExternal && len(b) >= 12:
		r.address = netip.AddrFrom4([4]byte(b[8:12]))
	case r.op != opExternal && len(b) >= 16:
		r.port = Port{UDP, binary.BigEndian.Uint16(b[8:])}
		if r.op == opMapTCP {
			r.port.Protocol = TCP
		}
		r.external = binary.BigEndian.Uint16(b[10:])
		r.lifetime = time.Duration(binary.BigEndian.Uint32(b[12:])) * time.Second
	default:
		return natPMPResponse{}, errNotNATPMP
	}
	return r, nil
}

// natPMPResult is a result code (RFC 6886 section 3.5).
type natPMPResult uint16

const natPMPBadVersion natPMPResult = 1

var natPMPResults = [...]string{2: "not authorized", 3: "network failure", 4: "out of resources", 5: "unsupported opcode"}

// refusal is the error of a result, nil for success.
func (r natPMPResult) refusal() error {
	switch {
	case r == 0:
		return nil
	case r == natPMPBadVersion:
		return errVersion
	case int(r) < len(natPMPResults):
		return &resultError{natPMP, int(r), natPMPResults[r]}
	}
	return &resultError{by: natPMP, code: int(r)}
}
