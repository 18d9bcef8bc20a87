package utp

import (
	"encoding/binary"
	"time"
)

// Sizes of datagrams, in bytes of UDP payload.
const (
	safeDatagram    = 548              // fits the 576 bytes that every IPv4 host takes (RFC 1122), so it is where we begin
	likelyDatagram  = 1232             // fits IPv6's least MTU of 1280, tried first once the largest failed
	mtuEnough       = 16               // the search ends when the bounds are this close
	mtuTries        = 2                // probes of one size that must be lost before it counts as too large
	mtuSearchAgain  = 10 * time.Minute // PMTU_RAISE_TIMER of RFC 8899
	leastMTUPadding = extHeaderLen + extBitsLen + extHeaderLen
)

// mtuSearch finds the largest datagram that the path carries (RFC 8899 in spirit). Our sockets set the Don't Fragment
// bit on everything, and a packet's bytes must never be cut anew: when its acknowledgement is what was lost, the peer would
// take the same bytes twice. So a probe carries no more of the stream than an ordinary packet; it is made
// longer by extensions that every implementation skips. Lost, it is sent again without them, as the same packet, and nothing
// else than the size is learnt from it: the window does not shrink.
//
// Packets are cut to a size only after a probe of that size arrived. Should the path become narrower later, those that were
// cut before may be fragmented when they are sent again, and the search begins anew. What tells is that a packet is
// lost twice and that none as long has arrived which was sent later.
type mtuSearch struct {
	floor   int // arrived
	ceiling int // not known to be too large
	next    int // size of the next probe; 0: the search is over
	fails   int // probes of that size lost
	probing int // size of the probe under way; 0: none
	seq     uint16
	again   time.Duration // when to search once more
	old     int           // longest payload of packets under way that were cut before the path became narrow; 0: there are none
	oldEnd  uint16        // the packet after them
	carried time.Duration // when the last sent of the packets was sent that were as long as can be, and arrived
	most    int           // coreConfig.MaxDatagram
}

func newMTUSearch(most int) mtuSearch {
	m := mtuSearch{floor: min(safeDatagram, most), ceiling: most, most: most}
	m.restart()
	return m
}

func (m *mtuSearch) restart() {
	m.ceiling, m.fails, m.next = m.most, 0, 0
	if m.ceiling-m.floor >= mtuEnough {
		m.next = m.ceiling
	}
}

// payload is the bytes of the stream that go into one packet.
func (m *mtuSearch) payload() int { return m.floor - headerLen }

// wants reports whether a probe is due.
func (m *mtuSearch) wants(now time.Duration) bool {
	if m.again != 0 && now >= m.again {
		m.again = 0
		m.restart()
	}
	return m.probing == 0 && m.next != 0
}

// padding is how many bytes make a packet with this payload a probe; 0 where it cannot be one.
func (m *mtuSearch) padding(payload int) int {
	pad := m.next - headerLen - payload
	if pad < leastMTUPadding {
		return 0
	}
	return pad
}

// begin notes that the packet with this sequence number is sent as a probe.
func (m *mtuSearch) begin(seq uint16) { m.probing, m.seq = m.next, seq }

// arrived is to be called when the packet with this sequence number was acknowledged.
func (m *mtuSearch) arrived(now time.Duration, seq uint16) {
	if m.probing == 0 || seq != m.seq {
		return
	}
	m.floor, m.probing = max(m.floor, m.probing), 0
	m.aim(now)
}

// shortened is to be called when a packet is sent again in its own size, for whatever reason: that it arrives says nothing
// about the probe that it was.
func (m *mtuSearch) shortened(seq uint16) {
	if seq == m.seq {
		m.probing = 0
	}
}

// lost reports whether the packet that was lost is the probe, which is over then.
func (m *mtuSearch) lost(now time.Duration, seq uint16) bool {
	if m.probing == 0 || seq != m.seq {
		return false
	}
	size := m.probing
	m.probing = 0
	if m.fails++; m.fails >= mtuTries {
		m.tooLong(now, size)
	}
	return true
}

// tooLong takes the knowledge that a size cannot be sent, although it may have arrived before.
func (m *mtuSearch) tooLong(now time.Duration, size int) {
	if size <= m.floor {
		m.floor = min(m.floor, safeDatagram)
	}
	m.ceiling = max(min(m.ceiling, size-1), m.floor)
	m.aim(now)
}

// narrowed begins anew below a size that no longer arrives.
func (m *mtuSearch) narrowed(now time.Duration) {
	size := m.floor
	m.floor = min(safeDatagram, m.most)
	m.ceiling, m.probing, m.again = max(size-1, m.floor), 0, 0
	if m.aim(now); m.next != 0 {
		m.next = m.ceiling // the path may just have been broken for a while
	}
}

// aim chooses the size of the next probe.
func (m *mtuSearch) aim(now time.Duration) {
	m.fails = 0
	switch {
	case m.ceiling-m.floor < mtuEnough:
		m.next = 0
		m.again = now + mtuSearchAgain
	case m.floor < likelyDatagram-mtuEnough && likelyDatagram < m.ceiling:
		m.next = likelyDatagram
	default:
		m.next = (m.floor + m.ceiling + 1) / 2
	}
}

// appendPadding appends n bytes of extensions to a header that announces none, n at least leastMTUPadding. The first one
// is of a type that libutp knows, because it drops packets that begin with one that it does not.
func appendPadding(b []byte, n int) []byte {
	b[len(b)-headerLen+1] = extBits
	b = append(b, extPadding, extBitsLen)
	b = binary.BigEndian.AppendUint64(b, 0)
	n -= extHeaderLen + extBitsLen
	for n > 0 {
		length := min(n-extHeaderLen, maxExtension)
		if rest := n - extHeaderLen - length; rest == 1 {
			length--
		}
		n -= extHeaderLen + length
		following := byte(extPadding)
		if n == 0 {
			following = 0
		}
		b = append(b, following, byte(length))
		for range length {
			b = append(b, 0)
		}
	}
	return b
}

// tooNarrow reports whether the loss of a packet tells that the path has become too narrow for it.
func (c *core) tooNarrow(q uint16) bool {
	r := c.send.rec(q)
	return r.tries > 1 && r.flags&recFragment == 0 && int(r.size) > safeDatagram-headerLen && r.sent > c.mtu.carried &&
		!c.send.noRoom(q)
}

// narrowed begins the search anew, and lets what is under way be fragmented.
func (c *core) narrowed(now time.Duration) {
	c.mayFragment()
	c.mtu.narrowed(now)
}

// mayFragment lets those packets under way be fragmented, when they are sent again, that are too long to be safe.
func (c *core) mayFragment() {
	s := &c.send
	c.mtu.old, c.mtu.oldEnd = c.longest(), s.next
	for q := s.una; q != s.next; q++ {
		if r := s.rec(q); int(r.size) > safeDatagram-headerLen {
			r.flags |= recFragment
		}
	}
}

// longest is the bytes of payload of the longest packet that may be sent.
func (c *core) longest() int {
	m := &c.mtu
	if m.old != 0 && int16(c.send.una-m.oldEnd) >= 0 {
		m.old = 0
	}
	return max(m.payload(), m.old)
}
