package stun

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/pion/stun/v2"
)

// MaxEndpoints is the most endpoints of a server: two addresses with two ports, for IPv4 and IPv6.
const MaxEndpoints = 8

// Endpoint is one of a server's sockets.
type Endpoint struct {
	// Addr is where clients reach the socket: its own address, or the one that a NAT gives it. Several endpoints that differ
	// only in the port, or only in the address, are what ChangePort and ChangeIP choose from.
	Addr netip.AddrPort

	// Socket must send from that one address. A server of which only Respond is used needs none.
	Socket Sender
}

// Config is how a server answers.
type Config struct {
	// Endpoints are 1 to MaxEndpoints. With two addresses on the same two ports all of RFC 5780 can be answered; with one
	// address there is ChangePort, but no OTHER-ADDRESS (section 7.4), so clients must know the other port.
	Endpoints []Endpoint

	// Rate is the answers a second that one source gets, an IPv4 address or a /64 of IPv6, and Burst how many after silence.
	// Default 20 and 240, up to 100,000 each: the network of one device is found out with at most 60.
	Rate, Burst int

	// Excess is the bytes a second by which answers may be longer than their questions, all answers together, and as much
	// at once as comes back in 16 seconds. Clients of others ask in 20 bytes and hope for 32 to 80. Default 0: nothing is
	// longer, and such clients are not answered. At most 1 MiB.
	Excess int
}

const (
	defaultRate  = 20
	defaultBurst = 240
	maxRate      = 100_000
	excessBurst  = 16 // seconds of Config.Excess
)

// Server answers Binding requests. Its methods may be called by any goroutine. It sends nothing but answers, and keeps
// nothing of a client but when it was answered.
type Server struct {
	endpoints []endpoint
	scratch   sync.Pool // of *scratch

	mu      sync.Mutex
	epoch   time.Time
	sources *sources
	excess  excess
}

type endpoint struct {
	Endpoint
	alternates [4]int // which endpoint answers, by change: 1 the port, 2 the address; -1: none
}

// scratch is the messages that one answer takes.
type scratch struct{ request, response stun.Message }

// NewServer makes a server.
func NewServer(c Config) (*Server, error) {
	if len(c.Endpoints) == 0 || len(c.Endpoints) > MaxEndpoints {
		return nil, fmt.Errorf("stun: %d endpoints: want 1 to %d", len(c.Endpoints), MaxEndpoints)
	}
	if c.Rate < 0 || c.Rate > maxRate || c.Burst < 0 || c.Burst > maxRate || c.Excess < 0 || c.Excess > 1<<20 {
		return nil, errors.New("stun: Rate and Burst must be 0 to 100,000, Excess 0 to 1 MiB")
	}
	if c.Rate == 0 {
		c.Rate = defaultRate
	}
	if c.Burst == 0 {
		c.Burst = defaultBurst
	}
	s := &Server{
		sources: newSources(c.Rate, c.Burst),
		excess:  newExcess(c.Excess),
		scratch: sync.Pool{New: func() any { return new(scratch) }},
	}
	for i, e := range c.Endpoints {
		e.Addr = unmap(e.Addr)
		if !e.Addr.IsValid() || e.Addr.Port() == 0 || e.Addr.Addr().IsUnspecified() {
			return nil, fmt.Errorf("stun: endpoint %s: want the address and port that clients use", e.Addr)
		}
		if slices.ContainsFunc(s.endpoints, func(o endpoint) bool { return o.Addr == e.Addr }) {
			return nil, fmt.Errorf("stun: endpoint %s is there twice", e.Addr)
		}
		s.endpoints = append(s.endpoints, endpoint{Endpoint: e, alternates: [4]int{i, -1, -1, -1}})
	}
	for i := range s.endpoints {
		s.endpoints[i].findAlternates(s.endpoints)
	}
	return s, nil
}

// findAlternates finds the first endpoint for each change.
func (e *endpoint) findAlternates(all []endpoint) {
	for i, o := range all {
		if o.Addr.Addr().Is4() != e.Addr.Addr().Is4() {
			continue
		}
		change := 0
		if o.Addr.Port() != e.Addr.Port() {
			change |= changeOfPort
		}
		if o.Addr.Addr() != e.Addr.Addr() {
			change |= changeOfIP
		}
		if e.alternates[change] < 0 {
			e.alternates[change] = i
		}
	}
}

// Receive takes a datagram that arrived at the endpoint of that index and sends the answer, if it gets one. It does not
// wait and keeps nothing of b. What cannot be sent is lost.
func (s *Server) Receive(now time.Time, local int, from netip.AddrPort, b []byte) {
	sc := s.scratch.Get().(*scratch)
	defer s.scratch.Put(sc)
	if r := s.respond(now, local, from, b, sc); r.Message != nil {
		// Who gets no answer asks again.
		_ = s.endpoints[r.Via].Socket.Send(r.To, r.Message, 0)
	}
}

// Response is an answer, where it goes to, and the index of the endpoint that sends it. No message is no answer.
type Response struct {
	Message []byte
	To      netip.AddrPort
	Via     int
}

// Respond is the answer to a datagram that arrived at the endpoint of that index. It does no I/O.
func (s *Server) Respond(now time.Time, local int, from netip.AddrPort, b []byte) Response {
	return s.respond(now, local, from, b, new(scratch))
}

func (s *Server) respond(now time.Time, local int, from netip.AddrPort, b []byte, sc *scratch) Response {
	from = unmap(from)
	if !framed(b, bindingRequest) || !from.IsValid() || from.Port() == 0 || !s.allow(now, from.Addr()) {
		return Response{}
	}
	q, ok := parseQuery(&sc.request, b)
	if !ok {
		return Response{}
	}
	r := Response{To: netip.AddrPortFrom(from.Addr(), from.Port()), Via: s.endpoints[local].alternates[q.change]}
	if q.responsePort != 0 {
		r.To = netip.AddrPortFrom(from.Addr(), q.responsePort)
	}
	if r.Via < 0 {
		q.refuse(stun.AttrChangeRequest)
		r.Via = local
	}
	a := reply{query: q, mapped: from, origin: s.endpoints[r.Via].Addr}
	if other := s.endpoints[local].alternates[changeBoth]; other >= 0 {
		a.other = s.endpoints[other].Addr
	}
	a.write(&sc.response, sc.request.TransactionID, maxMessage)
	if over := len(sc.response.Raw) - len(b); over > 0 && !s.exceed(now, over) && !a.write(&sc.response, sc.request.TransactionID, len(b)) {
		return Response{}
	}
	r.Message = sc.response.Raw
	if q.classic {
		copy(r.Message[4:8], b[4:8])
	}
	return r
}

func (s *Server) allow(now time.Time, from netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sources.allow(s.since(now), from)
}

func (s *Server) exceed(now time.Time, bytes int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.excess.allow(s.since(now), bytes)
}

// since is the time on the buckets' clock, which begins with the first datagram.
func (s *Server) since(now time.Time) time.Duration {
	if s.epoch.IsZero() {
		s.epoch = now
	}
	return now.Sub(s.epoch)
}
