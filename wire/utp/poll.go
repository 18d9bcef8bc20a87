package utp

import "time"

const (
	runLength = 64               // datagrams, as many as the kernel takes with one UDP_SEGMENT
	keepalive = 29 * time.Second // shorter than the timeouts of NATs, as libutp and libtorrent have it
	deadAfter = time.Minute      // without an acknowledgement of what is under way
	deadTries = 5                // timeouts in a row
	trimEvery = time.Second
	maxHeader = headerLen + extHeaderLen + maxSACK
)

// poll appends to b a run of datagrams that are due: all of segment bytes but the last, which may be shorter, at most 64
// and in the room that b has. Nothing appended: nothing is due now. One call after a batch of packets received
// acknowledges all of them. Where fragment is true, the don't-fragment bit must not be set, else it must.
func (c *core) poll(now time.Time, b []byte) (out []byte, segment int, fragment bool) {
	t := c.at(now)
	c.tick(t)
	if cap(b)-len(b) < maxHeader && c.phase != established {
		return b, 0, false
	}
	switch {
	case c.failure != nil:
		out, segment = c.appendReset(t, b)
	case c.phase == synSent:
		out, segment = c.appendSYN(t, b)
	case c.recv.early.count > 0 && c.recv.ackDue:
		out, segment = c.appendState(t, b) // packets with data have no room for a selective acknowledgement
	default:
		if out, segment, fragment = c.appendRun(t, b); segment == 0 {
			out, segment = c.appendState(t, b)
		}
	}
	return out, segment, fragment
}

// wake is when poll must be called though nothing happened; the zero time: never.
func (c *core) wake() time.Time {
	var next time.Duration
	at := func(d time.Duration) {
		if d != 0 && (next == 0 || d < next) {
			next = d
		}
	}
	t := &c.timers
	switch {
	case c.done():
		return time.Time{}
	case c.failure != nil, c.synDue:
		return c.epoch.Add(c.now)
	case c.phase != established:
		at(t.syn)
	default:
		if c.closing.over {
			break
		}
		if c.send.outstanding() > 0 {
			at(t.rto)
		} else {
			at(t.persist)
		}
		at(t.forget)
		at(t.sent + keepalive)
		if c.idleMemory() {
			at(t.trim)
		}
	}
	if next == 0 {
		return time.Time{}
	}
	return c.epoch.Add(next)
}

// tick runs the timers.
func (c *core) tick(now time.Duration) {
	t := &c.timers
	if c.failure != nil {
		return
	}
	if c.phase != established {
		c.tickSetup(now)
		return
	}
	if c.closing.over {
		return
	}
	if c.send.outstanding() > 0 && now >= t.rto {
		c.timedOut(now)
	}
	if t.forget != 0 && now >= t.forget {
		c.closing.over = true
	}
	if now-t.sent >= keepalive {
		c.recv.ackDue = true
	}
	if now >= t.trim {
		t.trim = now + trimEvery
		c.trim()
	}
}

// idleMemory reports whether memory is held for nothing.
func (c *core) idleMemory() bool {
	return c.send.ring.n == 0 && c.recv.ring.n == 0 && c.recv.early.count == 0 && c.memory() > 0
}

func (c *core) trim() {
	if c.send.ring.peak == 0 && c.send.outstanding() == 0 {
		c.send.dropRecords()
	}
	c.send.ring.trim(c.send.grow)
	if c.recv.ring.peak == 0 {
		c.recv.early.trim(c.recv.grow)
	}
	c.recv.ring.trim(c.recv.grow)
}

// packet is the header of a packet sent now.
func (c *core) packet(now time.Duration, typ packetType) packet {
	return packet{
		typ: typ, connID: c.sendID, timestamp: c.stamp(now), timestampDiff: c.echo,
		window: uint32(c.recv.window()), seq: c.send.next, ack: c.recv.next - 1,
	}
}

// appendState appends the acknowledgement that is due, if one is.
func (c *core) appendState(now time.Duration, b []byte) ([]byte, int) {
	if !c.recv.ackDue || cap(b)-len(b) < maxHeader {
		return b, 0
	}
	p := c.packet(now, stState)
	start := len(b)
	b = p.appendHeader(b)
	// No answer is longer than what it answers: whoever forges the source of short packets must not make us send long ones there.
	// Ordinary packets with data leave room for all that there is to say.
	mask := c.recv.early.appendSACK(append(b, 0, 0), c.recv.next, c.recv.asked-headerLen-extHeaderLen)
	if size := len(mask) - len(b) - extHeaderLen; size > 0 {
		b[start+1] = extSACK
		b = mask
		b[start+headerLen+1] = byte(size)
	}
	c.told(now, &p)
	if c.closing.sent && c.recv.finished {
		// libtorrent gives a FIN no sequence number of its own: it ignores an acknowledgement that is beyond ours, and libutp
		// one that is not.
		p.seq--
		return p.appendHeader(b), headerLen
	}
	return b, len(b) - start
}

// appendSmall appends a packet without payload.
func (c *core) appendSmall(now time.Duration, b []byte, p *packet) ([]byte, int) {
	start := len(b)
	b = p.appendHeader(b)
	c.told(now, p)
	return b, len(b) - start
}

// told notes that a packet with this header goes out now: the peer knows of all that came and of the window.
func (c *core) told(now time.Duration, p *packet) {
	c.recv.ackDue, c.recv.asked = false, 0
	c.recv.promised = int(p.window)
	c.timers.sent = now
}
