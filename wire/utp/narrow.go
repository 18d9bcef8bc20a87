package utp

import "time"

// A path may become narrow while packets of the old size are under way, and with the Don't Fragment bit set they never
// arrive. Their bytes may be cut anew only if the peer has none of them and will get none. So once the first of them has timed
// out twice, or more often where few were under way, it is not sent again at once: the peer is asked, two times. The question is a packet with an old sequence number
// and nothing in it, which every implementation acknowledges. If the answers say that still nothing arrived, everything
// under way is taken back and sent in the smallest packets, beginning with the same sequence number.
//
// That an answer is one, and not an acknowledgement which was late, shows in its timestamps: sent at s by the peer's clock,
// it says that our last packet took d, so s-d is when, by our clock, that packet was sent, and a little for the peer to answer.
// Every copy under way is older than the question by a retransmission timeout, at least half a second: only a
// network that lets a packet overtake another by as much could still deliver one. libutp does not measure d of old packets; with
// it the connection ends in a timeout.

const (
	narrowTries = 2      // transmissions of one packet after which the path is suspected
	narrowMany  = 8      // packets in flight, none of which arrived, that it takes for that;
	patientTry  = 4      // transmissions if there are fewer: chance can lose, or delay, as many
	questions   = 2      // that must be answered
	answerTime  = 20_000 // µs that a peer may take to answer
)

// question is what the peer is asked about a path.
type question struct {
	due      bool
	asked    bool   // and nothing is sent until it is answered or has timed out
	stamp    uint32 // timestamp it was asked at
	answered int
}

// suspects reports whether the path may have become too narrow for the first packet without acknowledgement, which has timed out.
// Once our FIN is under way it is too late to ask: libutp says nothing of early packets when it has seen the FIN.
func (c *core) suspects() bool {
	s := &c.send
	r := s.rec(s.una)
	size := int(r.size)
	tries := r.tries >= patientTry || r.tries >= narrowTries && s.outstanding() >= narrowMany
	return !c.question.asked && !c.closing.sent && tries && size+headerLen > safeDatagram && s.sacks == 0 && size <= s.window
}

// appendQuestion appends the packet that the peer acknowledges though it is old.
func (c *core) appendQuestion(now time.Duration, b []byte) ([]byte, int) {
	q := &c.question
	if !q.due || cap(b)-len(b) < maxHeader {
		return b, 0
	}
	p := c.packet(now, stData)
	p.seq = c.send.una - 1
	q.due, q.asked, q.stamp = false, true, p.timestamp
	return c.appendSmall(now, b, &p)
}

// answer takes an acknowledgement of nothing new. Packets with data say nothing about what came early, and a selective
// acknowledgement without a bit says that something did, further on than it reaches.
func (c *core) answer(now time.Duration, p *packet) {
	q := &c.question
	if !q.asked || p.typ != stState || p.sack != nil || c.send.sacks > 0 ||
		p.timestamp-p.timestampDiff-q.stamp > answerTime {
		return
	}
	if q.answered++; q.answered < questions {
		q.due = true
		return
	}
	*q = question{}
	c.send.rewind()
	c.mtu.narrowed()
	c.rtt.backoff = 0
	c.timers.progress = now
}
