package utp

import "time"

// candidate is the packet that would be sent next.
type candidate struct {
	again bool   // it was sent before
	seq   uint16 // when it was
	size  int    // bytes of payload
	pad   int    // bytes of padding
	flags uint8  // of a record
}

// appendRun appends packets of the stream that may be sent now, all of one size but the last, and either all or none of which
// may be fragmented.
func (c *core) appendRun(now time.Duration, b []byte) (out []byte, segment int, fragment bool) {
	s := &c.send
	header := c.packet(now, stData)
	for range runLength {
		next, ok := c.candidate(now)
		length := headerLen + next.pad + next.size
		whether := next.flags&recFragment != 0
		if !ok || length > cap(b)-len(b) || segment != 0 && (length > segment || whether != fragment) {
			break
		}
		if !next.again {
			if !s.widen() {
				break
			}
			c.start(now)
			next.seq = s.push(next.size, next.flags)
			c.closing.sent = next.flags&recFin != 0
		}
		if next.pad > 0 {
			c.mtu.begin(next.seq)
		} else if next.again {
			c.mtu.shortened(next.seq)
		}
		r := s.rec(next.seq)
		s.launched(next.seq, now)
		if next.again && next.seq == s.una {
			c.timers.rto = now + c.patience()
		}
		header.seq, header.typ = next.seq, stData
		if r.flags&recFin != 0 {
			header.typ = stFin
		}
		b = header.appendHeader(b)
		if next.pad > 0 {
			b = appendPadding(b, next.pad)
		}
		end := len(b) + next.size
		s.copyPayload(b[len(b):end], r)
		b = b[:end]
		if segment == 0 {
			segment, fragment = length, whether
		}
		if length < segment || next.pad > 0 {
			break
		}
	}
	if segment > 0 {
		c.told(now, &header)
		c.timers.persist = 0
	}
	return b, segment, fragment
}

// start prepares for a packet that was never sent.
func (c *core) start(now time.Duration) {
	if c.send.outstanding() > 0 {
		return
	}
	if rto := c.rtt.rto(); now-c.timers.progress > rto {
		c.congestion.rested()
	}
	c.timers.rto = now + c.rtt.rto()
	c.timers.progress = now
}

// candidate is the packet to send next, if there is one and it may be sent: first what was lost, then what was never
// sent, then the FIN.
func (c *core) candidate(now time.Duration) (candidate, bool) {
	s := &c.send
	if s.lost > 0 {
		q := s.firstLost()
		r := s.rec(q)
		size := int(r.size)
		return candidate{again: true, seq: q, size: size, flags: r.flags}, c.fits(size)
	}
	if s.outstanding() >= s.mostPackets() || c.closing.sent {
		return candidate{}, false
	}
	full := c.mtu.payload()
	size := min(full, s.ready())
	if size == 0 {
		if !c.closing.wanted {
			return candidate{}, false
		}
		return candidate{flags: recFin}, true
	}
	next := candidate{size: size}
	if size < full {
		if s.partials >= maxPartial && !c.closing.wanted {
			return candidate{}, false
		}
		next.flags = recPartial
	}
	if !c.fits(size) {
		return candidate{}, false
	}
	if s.held+size > s.window {
		return c.persist(now, next)
	}
	if c.mtu.wants(now) && s.pending() > (dupThreshold+1)*full && s.held+(dupThreshold+1)*full <= s.window {
		next.pad = c.mtu.padding(size)
	}
	return next, true
}

// fits reports whether congestion control lets n more bytes out. One packet always may be under way.
func (c *core) fits(n int) bool {
	return c.send.flight == 0 || c.send.flight+n <= c.congestion.bytes()
}

// persist sends one packet in a while though the peer has no room for it, because the news that it has may have got lost.
func (c *core) persist(now time.Duration, next candidate) (candidate, bool) {
	s, t := &c.send, &c.timers
	if s.held > 0 {
		return candidate{}, false
	}
	if t.persist == 0 {
		t.persist = now + c.rtt.rto()
	}
	if now < t.persist {
		return candidate{}, false
	}
	if s.window > 0 {
		next.size = min(next.size, s.window)
		next.flags = recPartial
	}
	return next, true
}

// takeWindow takes the room that the peer says to have. A packet that was sent before there was any is sent again at once.
func (c *core) takeWindow(n int) {
	s := &c.send
	before := s.window
	s.window, s.roomiest = n, max(s.roomiest, n)
	if n > before && s.outstanding() > 0 {
		first := s.rec(s.una)
		if size := int(first.size); before < size && n >= size {
			s.markLost(s.una)
			c.rtt.backoff = 0
		}
	}
	if n > before {
		c.timers.persist = 0
	}
}

// sendFailedTooLong takes that the kernel refused datagrams of this size, bytes of UDP payload (EMSGSIZE).
func (c *core) sendFailedTooLong(size int) {
	if c.failure != nil || size > c.mtu.most {
		return
	}
	if c.mtu.probing == size {
		c.send.markLost(c.mtu.seq)
		c.mtu.probing = 0
	}
	if size <= c.mtu.floor {
		c.takeBack(size)
	}
	c.mtu.tooLong(c.now, size)
}

// takeBack has packets that the kernel refused since the interface became narrow sent again, and fragmented.
func (c *core) takeBack(size int) {
	s := &c.send
	for q := s.una; q != s.next; q++ {
		if r := s.rec(q); int(r.size)+headerLen >= size && r.flags&recFragment == 0 {
			s.markLost(q)
		}
	}
	c.mayFragment()
}
