package utp

import "time"

// door is what an endpoint does with packets that come for nobody: it answers a SYN, and makes a responder, which has the
// packet, of the one after it. A test's answer has the sequence number that it wants, so the SYN's is remembered.
type door struct{ syn uint16 }

func (d *door) knock(now time.Time, p *packet, conf coreConfig) (c *core, answer []byte) {
	conf = conf.withDefaults()
	switch {
	case p.typ == stSyn:
		d.syn = p.seq
		answer := answerSYN(now, p, conf.Seq, conf.RecvBuffer)
		return nil, answer.appendMarshal(nil)
	case p.typ != stReset && p.seq == d.syn+1 && p.ack == conf.Seq-1:
		c = newResponder(now, p, conf)
		c.receive(now, p)
	}
	return c, nil
}
