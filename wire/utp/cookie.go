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
// its address because it acknowledges the answer's sequence number: a hash that only we can compute. A SYN that comes
// again gets the same answer, and there is no time within which the first packet must come.
//
// It proves no more than 16 bits can: of 65,536 forged packets, one opens a connection.

// secret is what a socket's answers to SYNs are made with.
type secret [16]byte

func newSecret() (s secret) {
	_, _ = rand.Read(s[:]) // never fails, says its documentation
	return s
}

// firstFlight is how many packets after the SYN one may be that gets no RESET: the first was lost, and will be sent again.
// More than that a peer does not say before it is answered.
const firstFlight = 16

// seq is the sequence number of the answer to the SYN with this id and sequence number from there. What is hashed has one
// length and fits one block of SHA-256.
func (s *secret) seq(from netip.AddrPort, synID, synSeq uint16) uint16 {
	var b [len(s) + 22]byte
	ip := from.Addr().As16()
	p := append(b[:0], s[:]...)
	p = append(p, ip[:]...)
	p = binary.BigEndian.AppendUint16(p, from.Port())
	p = binary.BigEndian.AppendUint16(p, synID)
	p = binary.BigEndian.AppendUint16(p, synSeq)
	h := sha256.Sum256(p)
	return binary.BigEndian.Uint16(h[:])
}

// opens reports whether a packet of no connection is the first after a SYN that we answered.
func (s *secret) opens(from netip.AddrPort, p *packet) bool { return s.follows(from, p, 1) }

// follows reports whether it is the nth.
func (s *secret) follows(from netip.AddrPort, p *packet, n uint16) bool {
	return p.ack+1 == s.seq(from, p.connID-1, p.seq-n)
}

// overtook reports whether it is one of the next.
func (s *secret) overtook(from netip.AddrPort, p *packet) bool {
	for n := uint16(2); n <= firstFlight; n++ {
		if s.follows(from, p, n) {
			return true
		}
	}
	return false
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
