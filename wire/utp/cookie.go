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
// again gets the same answer for a while, and the first packet has two minutes at least.
//
// It proves no more than 15 bits can: of 32,768 forged packets, one opens a connection.

// secret is what answers to SYNs are made with.
type secret [16]byte

func newSecret() (s secret) {
	_, _ = rand.Read(s[:]) // never fails, says its documentation
	return s
}

// secretTime is how long one secret is used. Its answers are good for as long again.
const secretTime = 2 * time.Minute

// secrets are the one in use and the one before. The last bit of an answer says which it was made with, so that to look at what
// comes back takes one hash; to try both would make a guess as much easier as one bit less does.
type secrets struct {
	pair    [2]secret
	current uint16
	since   time.Time
}

func newSecrets(now time.Time) secrets {
	return secrets{pair: [2]secret{newSecret(), newSecret()}, since: now}
}

// renew is to be called now and then.
func (s *secrets) renew(now time.Time) {
	switch age := now.Sub(s.since); {
	case age >= 2*secretTime:
		*s = newSecrets(now)
	case age >= secretTime:
		s.current ^= 1
		s.pair[s.current] = newSecret()
		s.since = s.since.Add(secretTime)
	}
}

// seq is the sequence number of the answer to the SYN with this id and sequence number from there.
func (s *secrets) seq(from netip.AddrPort, synID, synSeq uint16) uint16 {
	return s.pair[s.current].hash(from, synID).of(synSeq)&^1 | s.current
}

// firstFlight is how many packets after the SYN one may be that gets no RESET: the first was lost, and will be sent again.
// More than that a peer does not say before it is answered.
const firstFlight = 16

// follows says which packet after a SYN that we answered one of no connection is: the first, which opens it, or one of the next, which
// overtook that. 0: none of these.
func (s *secrets) follows(from netip.AddrPort, p *packet) uint16 {
	seq := p.ack + 1
	which := seq & 1
	h := s.pair[which].hash(from, p.connID-1)
	for n := uint16(1); n <= firstFlight; n++ {
		if h.of(p.seq-n)&^1|which == seq {
			return n
		}
	}
	return 0
}

// proof is a hash of 16 bits that is cheap for many numbers: of two, neither says anything about the other
// (multiply-shift: Dietzfelbinger, 1996).
type proof struct{ a, b uint64 }

func (p proof) of(x uint16) uint16 { return uint16((p.a*uint64(x) + p.b) >> 48) }

// hash is for the numbers of SYNs with this id from there. What is hashed has one length and fits one block of SHA-256.
func (s *secret) hash(from netip.AddrPort, synID uint16) proof {
	var b [len(s) + 20]byte
	ip := from.Addr().As16()
	p := append(b[:0], s[:]...)
	p = append(p, ip[:]...)
	p = binary.BigEndian.AppendUint16(p, from.Port())
	p = binary.BigEndian.AppendUint16(p, synID)
	h := sha256.Sum256(p)
	return proof{binary.BigEndian.Uint64(h[:]), binary.BigEndian.Uint64(h[8:])}
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
