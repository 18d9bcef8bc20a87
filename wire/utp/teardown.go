package utp

import "time"

// forgetTime bounds how long a connection that ended in both directions answers a FIN that comes again.
const (
	leastForget = time.Second
	mostForget  = 6 * time.Second
)

// finRepeats is how often our FIN is sent again once the peer's has come.
const finRepeats = 5

// closing is how far each direction's end has come; theirs is the receiver's.
type closing struct {
	wanted   bool // no more is written
	sent     bool // the FIN has a sequence number
	repeats  int  // times that it was sent again after theirs had come
	strays   int  // RESETs that cannot have been the peer's
	resetDue bool
	over     bool // nothing is expected any more
}

// closeWrite ends our direction with a FIN after what was written.
func (c *core) closeWrite() { c.closing.wanted = true }

// abort ends the connection with a RESET.
func (c *core) abort() {
	if c.failure != nil {
		return
	}
	c.fail(errAborted)
	c.closing.resetDue = c.phase != synSent || c.syns > 0
}

// done reports whether the connection may be forgotten: it failed, or ended in both directions and everything was read.
// What came before a failure may still be read.
func (c *core) done() bool {
	return c.failure != nil && !c.closing.resetDue || c.closing.over && c.eof()
}

// finAcked reports whether the peer has everything that we sent and the FIN.
func (c *core) finAcked() bool { return c.closing.sent && c.send.outstanding() == 0 }

// onlyFIN reports whether nothing but the acknowledgement of our FIN is missing, and the peer ended its direction: it
// may have forgotten the connection.
func (c *core) onlyFIN() bool {
	return c.recv.finished && c.closing.sent && c.send.outstanding() == 1
}

// repeatFIN takes that our FIN, the only thing under way, timed out. A peer that has sent its own may have forgotten the
// connection, as libtorrent may when both cross. So little time must do, and the tries follow each other soon.
func (c *core) repeatFIN(now time.Duration) {
	if c.closing.repeats == finRepeats {
		c.closing.over = true
		return
	}
	c.closing.repeats++
	c.timeout++
	c.send.markLost(c.send.una)
	c.rtt.backoff = 0
	c.timers.rto = now + c.patience()
}

// patience is how long the first packet under way may take, once sent again, until it counts as lost.
func (c *core) patience() time.Duration {
	if c.closing.repeats > 0 {
		return c.rtt.rto() / 2
	}
	return c.rtt.rto()
}

// settle starts the time after which a connection that ended in both directions is forgotten. It needs no memory until then.
func (s *closing) settle(now time.Duration, c *core) {
	if c.finAcked() && c.recv.finished && c.timers.forget == 0 {
		c.timers.forget = now + min(max(3*c.rtt.rto(), leastForget), mostForget)
		c.send.drop()
	}
}

// mostStrays is how many RESETs that were not the peer's make it likely that somebody guesses.
const mostStrays = 8

// reset takes a RESET. Nothing but its acknowledgement tells the peer's from a forged one: libutp, libtorrent and Transmission,
// which is libutp, draw its sequence number at random. One that they send of their own accord acknowledges the last
// packet that came in order, from una-1 to next-1. One for a packet of a connection that they have forgotten carries that
// packet's sequence number: una to next-1 of data, next of a STATE. The latter cannot be left out: whoever only
// receives sends nothing else, and would never learn that the peer is gone.
//
// So a guess hits once in 65536/(outstanding+2). Somebody who knows the addresses and the id could make all of them in a second,
// and therefore gets few: an honest peer's first one hits. Who was under attack learns of his peer's end by its silence.
func (c *core) reset(p *packet) {
	believed := int(p.ack-(c.send.una-1)) <= c.send.outstanding()+1
	if c.phase == synSent {
		believed = c.syns > 0 && p.ack == c.send.next
	}
	switch {
	case c.closing.strays >= mostStrays:
	case !believed:
		c.closing.strays++
	case c.phase == synSent:
		c.fail(errRefused)
	case c.onlyFIN():
		c.closing.over = true
	default:
		c.fail(errReset)
	}
}

// appendReset appends the RESET that abort asked for.
func (c *core) appendReset(now time.Duration, b []byte) ([]byte, int) {
	if !c.closing.resetDue {
		return b, 0
	}
	c.closing.resetDue = false
	p := c.packet(now, stReset)
	p.window = 0
	if c.closing.sent {
		p.seq-- // libtorrent ignores what is beyond a FIN, and would go on sending
	}
	return c.appendSmall(now, b, &p)
}
