package utp

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"time"
)

// A SYN leaves nothing behind: whoever sends it may claim to be anybody, and what is kept for one is missing for the next
// (as in RFC 4987, 3.6). All that a connection needs comes back with the first packet after our answer, which is proof of
// its address because it acknowledges the answer's sequence number: a hash that only we can compute, plus that of the SYN.
// A SYN that comes again gets the same answer, and there is no time within which the first packet must come.
//
// It proves no more than 16 bits can: of 65,536 forged packets, one opens a connection.

// secret is what a socket's answers to SYNs are made with.
type secret [16]byte

func newSecret() (s secret) {
	_, _ = rand.Read(s[:]) // never fails, says its documentation
	return s
}

// sum is what the answer to a SYN with this id from there adds to its sequence number. What is hashed has one length and
// fits one block of SHA-256.
func (s *secret) sum(from netip.AddrPort, synID uint16) uint16 {
	var b [len(s) + 20]byte
	ip := from.Addr().As16()
	p := append(b[:0], s[:]...)
	p = append(p, ip[:]...)
	p = binary.BigEndian.AppendUint16(p, from.Port())
	p = binary.BigEndian.AppendUint16(p, synID)
	h := sha256.Sum256(p)
	return binary.BigEndian.Uint16(h[:])
}

// sinceSYN is how many packets after the SYN a packet of no connection was sent, if it acknowledges our answer to that. If
// not, it is any number.
func (s *secret) sinceSYN(from netip.AddrPort, p *packet) uint16 {
	synSeq := p.ack + 1 - s.sum(from, p.connID-1)
	return p.seq - synSeq
}

// answerSYN is the answer to a SYN: a header with this sequence number and window, no longer than the request.
func answerSYN(now time.Time, syn *packet, seq uint16, window int) packet {
	p := packet{
		typ: stState, connID: syn.connID, timestamp: uint32(now.UnixMicro()), window: uint32(window), seq: seq, ack: syn.seq,
	}
	if syn.timestamp != 0 {
		p.timestampDiff = p.timestamp - syn.timestamp
	}
	return p
}
