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
	// Endpoints are up to MaxEndpoints. With two addresses on the same two ports all of RFC 5780 can be answered; with one
	// address there is ChangePort, but no OTHER-ADDRESS (section 7.4), so clients must know the other port.
	Endpoints []Endpoint

	// Ports are those of sockets that have all addresses of the machine, for [Server.Answer]: up to two different ones. There
	// must be an endpoint or a port.
	Ports []uint16

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
	ports     []uint16
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
	if len(c.Endpoints) == 0 && len(c.Ports) == 0 || len(c.Endpoints) > MaxEndpoints {
		return nil, fmt.Errorf("stun: %d endpoints: want 1 to %d, or ports", len(c.Endpoints), MaxEndpoints)
	}
	if n := len(c.Ports); n > 2 || slices.Contains(c.Ports, 0) || n == 2 && c.Ports[0] == c.Ports[1] {
		return nil, fmt.Errorf("stun: ports %d: want up to two, not 0 and not the same", c.Ports)
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
		ports:   slices.Clone(c.Ports),
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

// Answer takes a datagram that was sent to an address and port of the machine, and has send send the answer, if it gets one,
// from another or the same. It is for sockets that have all addresses: what is asked at one that is no endpoint's is answered
// from that one, or from its other port. message is valid until send returns. The endpoints' own sockets are not used.
func (s *Server) Answer(now time.Time, at, from netip.AddrPort, b []byte, send func(source, to netip.AddrPort, message []byte)) {
	sc := s.scratch.Get().(*scratch)
	defer s.scratch.Put(sc)
	if to, by, message := s.reply(now, s.answerersAt(unmap(at)), unmap(from), b, sc); message != nil {
		send(by, to, message)
	}
}

// answerers is who answers what is asked at an address, by change; not valid: nobody.
type answerers [4]netip.AddrPort

// answerersAt is that of any address.
func (s *Server) answerersAt(at netip.AddrPort) (a answerers) {
	for i := range s.endpoints {
		if s.endpoints[i].Addr == at {
			return s.answerersOf(i)
		}
	}
	a[0] = at
	if i := slices.Index(s.ports, at.Port()); i >= 0 && len(s.ports) == 2 {
		a[changeOfPort] = netip.AddrPortFrom(at.Addr(), s.ports[1-i])
	}
	return a
}

// answerersOf is that of an endpoint.
func (s *Server) answerersOf(local int) (a answerers) {
	for change, i := range s.endpoints[local].alternates {
		if i >= 0 {
			a[change] = s.endpoints[i].Addr
		}
	}
	return a
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
	to, by, message := s.reply(now, s.answerersOf(local), unmap(from), b, sc)
	via := slices.IndexFunc(s.endpoints, func(e endpoint) bool { return e.Addr == by })
	return Response{Message: message, To: to, Via: max(via, 0)}
}

// reply is the answer, where it goes to, and who sends it.
func (s *Server) reply(now time.Time, a answerers, from netip.AddrPort, b []byte, sc *scratch) (to, by netip.AddrPort, message []byte) {
	if !framed(b, bindingRequest) || !from.IsValid() || from.Port() == 0 || !s.allow(now, from.Addr()) {
		return to, by, nil
	}
	q, ok := parseQuery(&sc.request, b)
	if !ok {
		return to, by, nil
	}
	to, by = netip.AddrPortFrom(from.Addr(), from.Port()), a[q.change]
	if q.responsePort != 0 {
		to = netip.AddrPortFrom(from.Addr(), q.responsePort)
	}
	if !by.IsValid() {
		q.refuse(stun.AttrChangeRequest)
		by = a[0]
	}
	r := reply{query: q, mapped: from, origin: by, other: a[changeBoth]}
	r.write(&sc.response, sc.request.TransactionID, maxMessage)
	if over := len(sc.response.Raw) - len(b); over > 0 && !s.exceed(now, over) && !r.write(&sc.response, sc.request.TransactionID, len(b)) {
		return to, by, nil
	}
	message = sc.response.Raw
	if q.classic {
		copy(message[4:8], b[4:8])
	}
	return to, by, message
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
