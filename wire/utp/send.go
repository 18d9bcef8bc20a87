package utp

import "time"

// Bounds of packets in flight.
const (
	maxInFlight = 16 << 10 // packets, half of what sequence numbers tell apart
	fewRecords  = 16       // that need no memory of the budget
	maxPartial  = 4        // packets in flight that are shorter than they could be; further bytes wait for them (RFC 896, made milder)
	recordBytes = 24
	leastFlight = 16   // packets that every peer holds while one before them is missing
	peerPacket  = 1100 // bytes of window for which libtorrent holds one packet
)

// Flags of a record.
const (
	recSacked   = 1 << iota // arrived, says a selective acknowledgement
	recLost                 // to be sent again
	recFin                  // the FIN
	recPartial              // shorter than it could have been
	recFragment             // sent again, it may be fragmented
)

// record is a packet in flight. Its bytes never change once it was sent.
type record struct {
	sent  time.Duration // last
	pos   uint32        // of its first byte in the stream; wraps
	size  uint16        // bytes of payload
	flags uint8
	tries uint8 // times sent, at most 255
}

// sender cuts the stream into packets and remembers those that are not acknowledged.
type sender struct {
	ring     ring     // bytes of packets in flight, then bytes not sent
	base     uint32   // position of the ring's first byte in the stream
	cut      int      // bytes of the ring that are in packets
	fence    int      // bytes after those that must not share a packet with the ones behind them; 0: there is no such bound
	limit    int      // most bytes to hold
	recs     []record // a power of two, by sequence number
	few      [fewRecords]record
	una      uint16 // first packet that is not acknowledged
	next     uint16 // sequence number of the next packet
	flight   int    // bytes under way: neither acknowledged nor lost
	held     int    // bytes not acknowledged, lost or not
	lost     int    // packets to be sent again
	lostFrom uint16 // none before it is lost
	partials int    // packets in flight with recPartial
	sacks    int    // packets in flight with recSacked
	highest  uint16 // the furthest of them
	dupAcks  int
	cutAt    uint16 // packets before it were sent before the window was halved
	window   int    // bytes that the peer has room for
	roomiest int    // the most that it ever had room for
	roundAt  uint16 // when it is acknowledged, a round trip has passed
	resent   uint64 // packets
	dropped  uint64 // packets held to be lost
	newest   time.Duration
	grow     func(int) bool
}

func (s *sender) outstanding() int     { return int(s.next - s.una) }
func (s *sender) pending() int         { return s.ring.n - s.cut }
func (s *sender) rec(q uint16) *record { return &s.recs[int(q)&(len(s.recs)-1)] }

// write takes what fits.
func (s *sender) write(b []byte) int {
	n := min(len(b), s.limit-s.ring.n)
	if n <= 0 {
		return 0
	}
	for free := len(s.ring.buf) - s.ring.n; n > free && !s.ring.reserve(n, s.limit, s.grow); {
		n = max(n/2, free) // the budget may have less
	}
	s.ring.write(b[:n])
	return n
}

// mostPackets is how many packets may be in flight: libtorrent drops what is too far ahead, however short it is.
func (s *sender) mostPackets() int {
	return min(max(s.roomiest/peerPacket, leastFlight), maxInFlight)
}

// ready is the bytes that the next packet may be made of.
func (s *sender) ready() int {
	if s.fence > 0 {
		return s.fence
	}
	return s.pending()
}

// widen makes room for one more record.
func (s *sender) widen() bool {
	n := s.outstanding()
	if n < len(s.recs) {
		return true
	}
	if n >= maxInFlight {
		return false
	}
	size := 2 * n
	if !s.grow(size*recordBytes - s.recordMemory()) {
		return false
	}
	recs := make([]record, size)
	for i := range n {
		q := s.una + uint16(i)
		recs[int(q)&(size-1)] = *s.rec(q)
	}
	s.recs = recs
	return true
}

// push makes a packet of the next n bytes that are not sent.
func (s *sender) push(n int, flags uint8) uint16 {
	q := s.next
	*s.rec(q) = record{pos: s.base + uint32(s.cut), size: uint16(n), flags: flags}
	if flags&recPartial != 0 {
		s.partials++
	}
	s.next++
	s.cut += n
	s.fence = max(0, s.fence-n)
	s.held += n
	return q
}

// noRoom reports whether the peer may have dropped the packet for want of room. What came early takes room too, but not
// from a packet before it.
func (s *sender) noRoom(q uint16) bool { return s.sacks == 0 && s.window < int(s.rec(q).size) }

// launched notes that the packet was sent.
func (s *sender) launched(q uint16, now time.Duration) {
	r := s.rec(q)
	if r.flags&recLost != 0 {
		r.flags &^= recLost
		s.lost--
		s.resent++
	}
	r.sent = now
	if r.tries < 255 {
		r.tries++
	}
	s.flight += int(r.size)
}

// copyPayload fills b with the packet's bytes.
func (s *sender) copyPayload(b []byte, r *record) { s.ring.copyTo(b, int(r.pos-s.base)) }

// markLost takes the packet for lost.
func (s *sender) markLost(q uint16) {
	r := s.rec(q)
	if r.flags&(recLost|recSacked) != 0 || r.tries == 0 {
		return
	}
	r.flags |= recLost
	s.flight -= int(r.size)
	s.dropped++
	if s.lost == 0 || int16(q-s.lostFrom) < 0 {
		s.lostFrom = q
	}
	s.lost++
}

// firstLost is the first packet to be sent again; there is one.
func (s *sender) firstLost() uint16 {
	if int16(s.lostFrom-s.una) < 0 {
		s.lostFrom = s.una
	}
	for s.rec(s.lostFrom).flags&recLost == 0 {
		s.lostFrom++
	}
	return s.lostFrom
}

// arrived takes a packet out of flight, and returns how many bytes that are.
func (s *sender) arrived(q uint16) int {
	r := s.rec(q)
	n := int(r.size)
	s.held -= n
	if r.flags&recLost != 0 {
		r.flags &^= recLost
		s.lost--
	} else {
		s.flight -= n
	}
	if r.flags&recPartial != 0 {
		s.partials--
	}
	return n
}

// advance forgets the first packet and its bytes.
func (s *sender) advance() {
	r := s.rec(s.una)
	if r.flags&recSacked != 0 {
		s.sacks--
	}
	n := int(r.size)
	s.ring.discard(n)
	s.base += uint32(n)
	s.cut -= n
	s.una++
}

// drop forgets everything and gives all memory back.
func (s *sender) drop() {
	s.ring.drop(s.grow)
	s.dropRecords()
	s.next = s.una
	s.cut, s.fence, s.held, s.flight, s.lost, s.partials, s.sacks = 0, 0, 0, 0, 0, 0, 0
}

// dropRecords gives the memory of records back; there is nothing in flight.
func (s *sender) dropRecords() {
	if n := s.recordMemory(); n > 0 {
		s.grow(-n)
	}
	s.recs = s.few[:]
}

// recordMemory is what records take of the budget.
func (s *sender) recordMemory() int {
	if len(s.recs) <= fewRecords {
		return 0
	}
	return len(s.recs) * recordBytes
}
