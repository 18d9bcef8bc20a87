package swarm

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"simplebit/wire/peer"
)

// scriptedNet is a network of scripted peers that can be dialled. Nobody answers at other addresses. For synctest bubbles.
type scriptedNet struct {
	mu      sync.Mutex
	peers   map[netip.AddrPort]*scripted
	dials   map[netip.AddrPort]int
	begun   []time.Time // dials of addresses at which nobody answers
	open    int         // dials in progress at which nobody answers
	most    int
	running sync.WaitGroup
}

// newScriptedNet makes a network. It must be made before the nodes that use it, whose end it awaits.
func newScriptedNet(t *testing.T) *scriptedNet {
	s := &scriptedNet{peers: make(map[netip.AddrPort]*scripted), dials: make(map[netip.AddrPort]int)}
	t.Cleanup(s.running.Wait)
	return s
}

func (s *scriptedNet) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	at := netip.MustParseAddrPort(address)
	s.mu.Lock()
	s.dials[at]++
	p := s.peers[at]
	if p == nil {
		s.begun = append(s.begun, time.Now())
		s.open++
		s.most = max(s.most, s.open)
		s.mu.Unlock()
		<-ctx.Done()
		s.mu.Lock()
		s.open--
		s.mu.Unlock()
		return nil, ctx.Err()
	}
	s.mu.Unlock()
	near, far := net.Pipe()
	s.running.Go(func() { p.run(far) })
	return located{near, net.TCPAddrFromAddrPort(at)}, nil
}

// add makes a scripted peer reachable at an address.
func (s *scriptedNet) add(at netip.AddrPort, p *scripted) *scripted {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.at = at
	s.peers[at] = p
	return p
}

func (s *scriptedNet) dialled(at netip.AddrPort) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dials[at]
}

// dead returns when addresses were dialled at which nobody answers, and how many were at once.
func (s *scriptedNet) dead() (begun []time.Time, most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.begun), s.most
}

// total returns how many connections were tried.
func (s *scriptedNet) total() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, d := range s.dials {
		n += d
	}
	return n
}

// scripted is a seed that unchokes everybody, and lies if it is told to.
type scripted struct {
	c     *content
	at    netip.AddrPort
	each  time.Duration                           // what a block takes
	mute  bool                                    // sends no block
	lie   func(piece, begin uint32, nth int) bool // whether the nth block it sends is corrupt; nil: never
	plain bool                                    // without the fast extension
	rude  bool                                    // hangs up without a word

	mu     sync.Mutex
	sent   int // blocks
	lies   int
	spoilt map[[2]uint32]int // how often it sent a corrupt block, by piece and begin
}

func (p *scripted) run(c net.Conn) {
	defer c.Close()
	if _, err := io.ReadFull(c, make([]byte, peer.HandshakeSize)); err != nil || p.rude {
		return
	}
	h := peer.Handshake{Reserved: peer.Reserved(!p.plain, true), InfoHash: testHash}
	copy(h.PeerID[:], fmt.Sprintf("-XX0000-%x", p.at.Addr().AsSlice()))
	hello := h.AppendMarshal(nil)
	if p.plain {
		bits := make([]byte, (len(p.c.hashes)/20+7)/8)
		for i := range len(p.c.hashes) / 20 {
			bits[i>>3] |= 0x80 >> (i & 7)
		}
		hello = peer.Message{Type: peer.TypeBitfield, Payload: bits}.Append(hello)
	} else {
		hello = simple(peer.TypeHaveAll).Append(hello)
	}
	if _, err := c.Write(simple(peer.TypeUnchoke).Append(hello)); err != nil {
		return
	}
	q := &requests{more: make(chan struct{}, 1)}
	var answering sync.WaitGroup
	answering.Go(func() { p.answer(c, q) })
	defer answering.Wait()
	defer close(q.more)
	r := peer.NewReader(c)
	for {
		m, err := r.Next()
		if err != nil {
			return
		}
		if !m.KeepAlive && !p.mute {
			q.change(m)
		}
	}
}

// requests are what a scripted peer has been asked for and not sent.
type requests struct {
	mu   sync.Mutex
	list []peer.Message
	more chan struct{}
}

func (q *requests) change(m peer.Message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch m.Type {
	case peer.TypeRequest:
		q.list = append(q.list, m)
	case peer.TypeCancel:
		// The block under way is not stopped.
		for i, r := range q.list {
			if i > 0 && r.Index == m.Index && r.Begin == m.Begin && r.Type == peer.TypeRequest {
				q.list[i].Type = peer.TypeReject
			}
		}
	}
	select {
	case q.more <- struct{}{}:
	default:
	}
}

// next returns the first of the list, and removes the one before it.
func (q *requests) next(done bool) (peer.Message, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if done {
		q.list = q.list[1:]
	}
	if len(q.list) == 0 {
		return peer.Message{}, false
	}
	return q.list[0], true
}

func (p *scripted) answer(c net.Conn, q *requests) {
	for range q.more {
		for m, ok := q.next(false); ok; m, ok = q.next(true) {
			answer := m
			if m.Type == peer.TypeRequest {
				time.Sleep(p.each)
				answer = p.block(m)
			} else if p.plain {
				continue
			}
			if _, err := c.Write(answer.Append(nil)); err != nil {
				c.Close()
				break
			}
		}
	}
}

// touched returns how many pieces the peer has spoilt. One that it spoilt again when it was fetched again counts twice.
func (p *scripted) touched() int {
	times := make(map[uint32]int)
	for at, n := range p.spoilt {
		times[at[0]] = max(times[at[0]], n)
	}
	sum := 0
	for _, n := range times {
		sum += n
	}
	return sum
}

// block answers a request, with a lie if it is time for one.
func (p *scripted) block(m peer.Message) peer.Message {
	p.mu.Lock()
	defer p.mu.Unlock()
	var spoil func([]byte)
	if p.lie != nil && p.lie(m.Index, m.Begin, p.sent) {
		p.lies++
		if p.spoilt == nil {
			p.spoilt = make(map[[2]uint32]int)
		}
		p.spoilt[[2]uint32{m.Index, m.Begin}]++
		spoil = func(b []byte) { b[len(b)/2]++ }
	}
	p.sent++
	return p.c.block(m, spoil)
}
