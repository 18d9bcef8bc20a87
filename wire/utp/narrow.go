package utp

import "time"

// A path may become narrow while packets of the old size are under way, and with the Don't Fragment bit set they never
// arrive. Their bytes may be cut anew only if the peer has none of them and will get none. So once the first of them has timed out
// twice, it is not sent again at once: the peer is asked. The question is a packet with an old sequence number and nothing in
// it, which every implementation acknowledges. If the answer says that still nothing arrived, everything under way is taken
// back and sent in the smallest packets, beginning with the same sequence number.
//
// That the answer is one, and not an acknowledgement which was late, shows in its timestamps: sent at s by the peer's
// clock, it says that our last packet took d, so s-d is when, by our clock, that packet was sent, and a little for
// the peer to answer. libutp counts the time from the packet before, and is a little off. Every copy under way is older than the question by a retransmission timeout, at least half a second;
// only a network that lets a packet overtake another by as much could still deliver one.

const (
	narrowTries = 2       // transmissions of one packet after which the path is suspected
	answerTime  = 120_000 // µs that a peer may take to answer
	answerError = 50_000  // µs
)

// question is what the peer is asked about a path.
type question struct {
	due   bool
	asked bool
	stamp uint32 // timestamp it was asked at
}

// suspects reports whether the path may have become too narrow for the first packet without acknowledgement, which has timed out.
// Once our FIN is under way it is too late to ask: libutp says nothing of early packets when it has seen the FIN.
func (c *core) suspects() bool {
	s := &c.send
	r := s.rec(s.una)
	size := int(r.size)
	return !c.question.asked && !c.closing.sent && r.tries >= narrowTries && size+headerLen > safeDatagram && s.sacks == 0 && size <= s.window
}

// appendQuestion appends the packet that the peer acknowledges though it is old.
func (c *core) appendQuestion(now time.Duration, b []byte) ([]byte, int) {
	if !c.question.due || cap(b)-len(b) < maxHeader {
		return b, 0
	}
	p := c.packet(now, stData)
	p.seq = c.send.una - 1
	c.question = question{asked: true, stamp: p.timestamp}
	return c.appendSmall(now, b, &p)
}

// answers reports whether a packet that acknowledges nothing new is the answer. Packets with data say nothing about what
// came early, and a selective acknowledgement without a bit says that something did, further on than it reaches.
func (c *core) answers(p *packet) bool {
	return c.question.asked && p.typ == stState && p.sack == nil && c.send.sacks == 0 &&
		p.timestamp-p.timestampDiff-c.question.stamp+answerError <= answerError+answerTime
}

// takeBack makes bytes of all packets in flight, of which the peer has nothing, bytes that were never sent.
func (c *core) takeBack(now time.Duration) {
	c.question = question{}
	c.send.rewind()
	c.mtu.narrowed()
	c.rtt.backoff = 0
	c.timers.progress = now
}
