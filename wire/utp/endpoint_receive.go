package utp

import (
	"net/netip"
	"time"

	"simplebit/nat/udpmux"
)

// socket is one of an endpoint's sockets.
type socket struct {
	endpoint *Endpoint
	mux      *udpmux.Socket
	touched  []*Conn // got packets of the batch at hand; belongs to the read loop
	answer   []byte  // belongs to the read loop
}

func newSocket(e *Endpoint, s *udpmux.Socket) *socket {
	return &socket{endpoint: e, mux: s, answer: make([]byte, 0, headerLen)}
}

// socketTo is the first socket that reaches the address's family; nil if none does.
func (e *Endpoint) socketTo(a netip.Addr) *socket {
	for _, s := range e.sockets {
		if s.mux.Reaches(a) {
			return s
		}
	}
	return nil
}

// receive takes a batch of runs from the socket's read loop. Connections only take notes at first; each is driven once, when
// all of its packets are in, so that a batch is acknowledged once and wakes a reader once.
func (s *socket) receive(now time.Time, runs []udpmux.Run) {
	for _, r := range runs {
		s.run(now, r)
	}
	for i, c := range s.touched {
		c.mu.Lock()
		c.touched = false
		c.drive(now)
		c.mu.Unlock()
		s.touched[i] = nil
	}
	s.touched = s.touched[:0]
}

// run hands the packets of one run to their connections. Nearly always they belong to one.
func (s *socket) run(now time.Time, r udpmux.Run) {
	var c *Conn // its mutex is held
	for data := r.Data; len(data) > 0; {
		n := min(r.Size, len(data))
		p, err := parsePacket(data[:n])
		data = data[n:]
		if err != nil {
			s.endpoint.counters.malformed.Add(1)
			continue
		}
		if c == nil || p.connID != c.id || p.typ >= stReset {
			if c != nil {
				c.mu.Unlock()
			}
			if c = s.find(now, r.From, &p); c == nil {
				continue
			}
			c.mu.Lock()
			if !c.touched {
				c.touched = true
				s.touched = append(s.touched, c)
			}
		}
		c.receive(now, &p)
	}
	if c != nil {
		c.mu.Unlock()
	}
}

// find returns the connection that a packet belongs to. For one that belongs to none, it does what is to be done: a SYN
// opens a connection, anything else is answered with a RESET.
func (s *socket) find(now time.Time, from netip.AddrPort, p *packet) *Conn {
	e := s.endpoint
	var c, evicted *Conn
	answer := false
	e.mu.Lock()
	switch p.typ {
	case stSyn:
		if c = e.table[key{s, from, p.connID + 1}]; c != nil {
			break
		}
		if isClosed(e.deaf) {
			answer = e.reply.allow(now)
			break
		}
		if c, evicted = s.admit(now, from, p); c == nil || evicted != nil {
			e.counters.refusedSYNs.Add(1)
		}
	case stReset:
		if c = s.resetOf(from, p.connID); c == nil {
			e.counters.unknown.Add(1)
		}
	default:
		if c = e.table[key{s, from, p.connID}]; c == nil {
			e.counters.unknown.Add(1)
			answer = e.reply.allow(now)
		}
	}
	e.mu.Unlock()
	if evicted != nil {
		evicted.vanish()
	}
	if answer {
		e.counters.resets.Add(1)
		s.reset(from, p)
	}
	return c
}

// resetOf finds whom a RESET is for. One that a peer sends of its own accord carries the id of all its packets; one that answers
// a packet of ours, because the peer has forgotten us, carries the id of that packet. e.mu is held.
func (s *socket) resetOf(from netip.AddrPort, id uint16) *Conn {
	table := s.endpoint.table
	if c := table[key{s, from, id}]; c != nil {
		return c
	}
	for _, k := range [2]key{{s, from, id - 1}, {s, from, id + 1}} {
		if c := table[k]; c != nil && c.peerID == id {
			return c
		}
	}
	return nil
}

// reset answers a packet that belongs to no connection. The answer is a bare header: no request is shorter.
func (s *socket) reset(to netip.AddrPort, p *packet) {
	answer := packet{typ: stReset, connID: p.connID, seq: random16(), ack: p.seq}
	s.answer = answer.appendMarshal(s.answer[:0])
	_ = s.mux.Send(to, s.answer, len(s.answer)) // like any datagram, it may get lost
}

// replyLimit bounds the RESETs that strangers can make us send.
type replyLimit struct {
	second int64
	sent   int
}

const repliesPerSecond = 100

func (r *replyLimit) allow(now time.Time) bool {
	if s := now.Unix(); s != r.second {
		r.second, r.sent = s, 0
	}
	r.sent++
	return r.sent <= repliesPerSecond
}
