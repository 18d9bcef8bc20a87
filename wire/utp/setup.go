package utp

import "time"

const (
	synRetry = 3 * time.Second // doubles twice
	maxSYNs  = 6               // at 0, 3, 9, 21, 33 and 45 s
)

// answered takes what comes before the SYN was answered. Only a STATE is an answer: its sequence number is that of the
// first packet with data, which takes it once more.
func (c *core) answered(now time.Duration, p *packet) {
	if p.typ != stState || p.ack != c.send.next || c.syns == 0 {
		return
	}
	c.phase = established
	c.timers.syn = 0
	c.send.next++
	c.send.una = c.send.next
	c.send.cutAt = c.send.next
	c.takeWindow(int(min(p.window, largestWindow)))
	c.recv.next = p.seq
	c.recv.ackDue = true // so that the responder knows that its answer arrived, even when we have nothing to say yet
	c.heard(now, p)
	if c.syns == 1 {
		c.rtt.sample(now - c.timers.sent)
	}
}

// tickSetup runs the timer of an initiator without an answer.
func (c *core) tickSetup(now time.Duration) {
	switch {
	case c.timers.syn == 0 || now < c.timers.syn:
	case c.syns >= maxSYNs:
		c.fail(errTimeout)
	default:
		c.synDue = true
	}
}

// appendSYN appends the SYN if it is due.
func (c *core) appendSYN(now time.Duration, b []byte) ([]byte, int) {
	if !c.synDue {
		return b, 0
	}
	c.synDue = false
	c.timers.syn = now + synRetry<<min(c.syns, 2)
	c.syns++
	p := c.packet(now, stSyn)
	p.connID, p.ack = c.recvID, 0
	return c.appendSmall(now, b, &p)
}
