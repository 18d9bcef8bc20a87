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
	secrets  secrets // belong to the read loop
	touched  []*Conn // got packets of the batch at hand; belongs to the read loop
	answer   []byte  // belongs to the read loop
	detached bool    // guarded by the endpoint's mutex
}

func newSocket(e *Endpoint, s *udpmux.Socket) *socket {
	return &socket{endpoint: e, mux: s, secrets: newSecrets(time.Now()), answer: make([]byte, 0, headerLen)}
}

// socketTo is the first socket that reaches the address's family; nil if none does.
func (e *Endpoint) socketTo(a netip.Addr) *socket {
	for _, s := range e.attached() {
		if s.mux.Reaches(a) {
			return s
		}
	}
	return nil
}

// receive takes a batch of runs from the socket's read loop. Connections only take notes at first; each is driven once, when
// all of its packets are in, so that a batch is acknowledged once and wakes a reader once.
func (s *socket) receive(now time.Time, runs []udpmux.Run) {
	s.secrets.renew(now)
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

// find returns the connection that a packet belongs to. For one that belongs to none, it does what is to be done: a SYN is
// answered, the packet after it opens a connection, anything else is answered with a RESET.
func (s *socket) find(now time.Time, from netip.AddrPort, p *packet) *Conn {
	e := s.endpoint
	e.mu.Lock()
	c, what := s.look(now, from, p)
	e.mu.Unlock()
	if what == unmet {
		c, what = s.meet(now, from, p)
	}
	switch what {
	case greeting:
		e.counters.syns.Add(1)
		s.greet(now, from, p)
	case refusal:
		e.counters.refusedSYNs.Add(1)
	case unknown:
		e.counters.unknown.Add(1)
	case rejection:
		e.counters.unknown.Add(1)
		e.counters.resets.Add(1)
		s.reset(from, p)
	}
	return c
}

// verdict is what a packet of no connection gets.
type verdict uint8

const (
	nothing   verdict = iota
	greeting          // it is a SYN, and gets an answer
	refusal           // it asks for a connection, and there are too many
	unknown           // it is no packet of ours, and gets no answer
	rejection         // nor is this, and it gets a RESET
	unmet             // to be seen by meet
)

// look is find, short of what goes out and what takes long. e.mu is held.
func (s *socket) look(now time.Time, from netip.AddrPort, p *packet) (*Conn, verdict) {
	e := s.endpoint
	if s.detached {
		return nil, nothing
	}
	deaf := isClosed(e.deaf)
	switch p.typ {
	case stSyn:
		switch {
		case e.table[key{s, from, p.connID + 1}] != nil: // a repetition that was overtaken
			return nil, nothing
		case deaf:
			return nil, e.reject(now, key{s, from, p.connID})
		case e.full() || !e.reply.greet(now, from.Addr()):
			return nil, refusal
		}
		return nil, greeting
	case stReset:
		if c := s.resetOf(from, p.connID); c != nil {
			return c, nothing
		}
		return nil, unknown
	}
	if c := e.table[key{s, from, p.connID}]; c != nil {
		return c, nothing
	}
	if deaf {
		return nil, e.reject(now, key{s, from, p.connID})
	}
	return nil, unmet
}

// meet decides about a packet that opens a connection or belongs to none. Everybody else's packets do not wait for the hash that
// tells.
func (s *socket) meet(now time.Time, from netip.AddrPort, p *packet) (*Conn, verdict) {
	after := s.secrets.follows(from, p)
	e := s.endpoint
	e.mu.Lock()
	defer e.mu.Unlock()
	if c, what := s.look(now, from, p); what != unmet { // it became another meanwhile
		return c, what
	}
	switch after {
	case 0:
		return nil, e.reject(now, key{s, from, p.connID})
	case 1:
		if c := s.admit(now, from, p); c != nil {
			e.reply.proved(from.Addr())
			return c, nothing
		}
		return nil, refusal // the peer will send it again
	}
	return nil, unknown // it overtook the first
}

// reject is a RESET, if no more than enough were sent. e.mu is held.
func (e *Endpoint) reject(now time.Time, k key) verdict {
	if e.reply.reset(now, k) {
		return rejection
	}
	return unknown
}

// wasReset notes that c's peer is being told of its end.
func (e *Endpoint) wasReset(now time.Time, c *Conn) {
	e.mu.Lock()
	e.reply.ended(now, key{c.socket, c.remote, c.id})
	e.mu.Unlock()
}

// greet answers a SYN.
func (s *socket) greet(now time.Time, to netip.AddrPort, syn *packet) {
	answer := answerSYN(now, syn, s.secrets.seq(to, syn.connID, syn.seq), s.endpoint.firstWindow())
	s.answer = answer.appendMarshal(s.answer[:0])
	_ = s.mux.Send(to, s.answer, len(s.answer)) // the SYN comes again if this gets lost
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
