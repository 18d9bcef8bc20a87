package classify

import (
	"bytes"
	"encoding/binary"
	"net/netip"
)

// The protocol: a question is "who am I, and answer by that server", and optionally "tell it to that endpoint", which need
// not be who asks. The answer has the question's number and the endpoint that asked, as its server sees it.
//
//	question: "natlab?" number(8) server(1) endpoint as text, or nothing
//	answer:   "natlab!" number(8) endpoint as text
const (
	questionMark = "natlab?"
	answerMark   = "natlab!"
	headerSize   = len(questionMark) + 8
	maxDatagram  = 128
)

// question asks one of the servers.
type question struct {
	number uint64
	at     int            // the server that is asked
	by     int            // the one that is to answer
	to     netip.AddrPort // whom; the zero one: who asks
}

func (q question) marshal() []byte {
	b := append([]byte(questionMark), binary.BigEndian.AppendUint64(nil, q.number)...)
	b = append(b, byte(q.by))
	if q.to.IsValid() {
		b = q.to.AppendTo(b)
	}
	return b
}

// respond is what a server does: the answer to a datagram, which server sends it, and where to.
func respond(from netip.AddrPort, b []byte) (answer []byte, by int, to netip.AddrPort, ok bool) {
	if len(b) <= headerSize || !bytes.HasPrefix(b, []byte(questionMark)) || b[headerSize] >= servers {
		return nil, 0, to, false
	}
	to = from
	if text := b[headerSize+1:]; len(text) > 0 {
		var err error
		if to, err = netip.ParseAddrPort(string(text)); err != nil || to.Port() == 0 {
			return nil, 0, to, false
		}
	}
	answer = append([]byte(answerMark), b[len(questionMark):headerSize]...)
	return from.AppendTo(answer), int(b[headerSize]), to, true
}

// parseAnswer reads an answer's number and endpoint.
func parseAnswer(b []byte) (number uint64, seen netip.AddrPort, ok bool) {
	if len(b) <= headerSize || !bytes.HasPrefix(b, []byte(answerMark)) {
		return 0, seen, false
	}
	seen, err := netip.ParseAddrPort(string(b[headerSize:]))
	return binary.BigEndian.Uint64(b[len(answerMark):]), seen, err == nil
}
