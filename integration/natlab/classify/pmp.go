package classify

import "encoding/binary"

// NAT-PMP, RFC 6886 sections 3.3 and 3.5: as much as it takes to ask for a port, and to be asked for one in virtual time.
const (
	portPMP       = 5351
	mapUDP        = 1
	answeredPMP   = 128
	requestPMPLen = 12
	answerPMPLen  = 16
)

func requestPMP(port uint16, seconds uint32) []byte {
	b := []byte{0, mapUDP, 0, 0}
	b = binary.BigEndian.AppendUint16(b, port)
	b = binary.BigEndian.AppendUint16(b, port) // the same outside, if it is free
	return binary.BigEndian.AppendUint32(b, seconds)
}

// parsePMP reads which port was opened for the device's own; 0: none.
func parsePMP(b []byte, port uint16) (opened uint16, ok bool) {
	if len(b) < 4 || b[0] != 0 || b[1] != answeredPMP+mapUDP {
		return 0, false
	}
	if result := binary.BigEndian.Uint16(b[2:]); result != 0 {
		return 0, true
	}
	if len(b) < answerPMPLen || binary.BigEndian.Uint16(b[8:]) != port {
		return 0, false
	}
	return binary.BigEndian.Uint16(b[10:]), true
}

// respondPMP is what a router does that opens ports: it opens the one that is asked for, and answers.
func respondPMP(b []byte, open func(port uint16) error) (answer []byte, ok bool) {
	if len(b) != requestPMPLen || b[0] != 0 || b[1] != mapUDP {
		return nil, false
	}
	port := binary.BigEndian.Uint16(b[4:])
	if open(port) != nil {
		return nil, false
	}
	answer = append([]byte{0, answeredPMP + mapUDP, 0, 0, 0, 0, 0, 0}, b[4:6]...)
	return append(append(answer, b[4:6]...), b[8:]...), true
}
