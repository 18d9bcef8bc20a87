package swarm

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"simplebit/wire/dial"
	"simplebit/wire/peer"
)

// fake is a peer that does what the test tells it. It reads all the time and remembers what it has read.
type fake struct {
	t    *testing.T
	conn net.Conn

	mu       sync.Mutex
	heard    []string
	messages []peer.Message
	closed   bool
}

// features of a fake peer's handshake.
type features struct {
	name              string // ends its peer id
	fast, extended    bool
	outgoing          bool // we dialled it
	relayed           bool
	deaf              bool
	addr              netip.AddrPort // it comes from; none by default
	life              *life          // it comes by uTP; nil: by TCP
	otherHash, selfID bool
}

// connect makes a fake peer known to the node over a pipe. It must run in a synctest bubble.
func (n *node) connect(t *testing.T, f features) *fake {
	t.Helper()
	return n.connectAs(t, f, "-XX0000-"+f.name)
}

// connectAs is connect with a whole peer id.
func (n *node) connectAs(t *testing.T, f features, id string) *fake {
	t.Helper()
	ours, theirs := net.Pipe()
	h := peer.Handshake{Reserved: peer.Reserved(f.fast, f.extended), InfoHash: testHash}
	copy(h.PeerID[:], id)
	if f.otherHash {
		h.InfoHash[0]++
	}
	if f.selfID {
		h.PeerID = n.Handshake().PeerID
	}
	p := &fake{t: t, conn: theirs}
	if !f.deaf {
		go p.listen()
	}
	t.Cleanup(func() { theirs.Close() })
	if f.addr.IsValid() {
		ours = located{ours, net.TCPAddrFromAddrPort(f.addr)}
	}
	transport := dial.TCP
	if f.life != nil {
		ours, transport = signs{ours, f.life}, dial.UTP
	}
	n.Accept(&dial.Conn{Conn: ours, Peer: h, Transport: transport, Outgoing: f.outgoing, Relayed: f.relayed})
	synctest.Wait()
	return p
}

// located is a connection from a certain place.
type located struct {
	net.Conn
	addr net.Addr
}

func (l located) RemoteAddr() net.Addr { return l.addr }

func (p *fake) listen() {
	r := peer.NewReader(p.conn)
	for {
		m, err := r.Next()
		data := make([]byte, m.Length)
		if err == nil && m.Type == peer.TypePiece && !m.KeepAlive {
			_, err = r.ReadBlock(data)
		}
		p.mu.Lock()
		if err != nil {
			p.closed = true
			p.mu.Unlock()
			return
		}
		m.Payload = slices.Clone(m.Payload)
		if m.Type == peer.TypePiece {
			m.Payload = data
		}
		p.messages = append(p.messages, m)
		p.heard = append(p.heard, describe(m))
		p.mu.Unlock()
	}
}

// describe writes a message on one line.
func describe(m peer.Message) string {
	switch {
	case m.KeepAlive:
		return "keepalive"
	case m.Type == peer.TypeHave:
		return fmt.Sprintf("have %d", m.Index)
	case m.Type == peer.TypeRequest || m.Type == peer.TypeReject || m.Type == peer.TypePiece:
		return fmt.Sprintf("%s %d %d %d", m.Type, m.Index, m.Begin, m.Length)
	case m.Type == peer.TypeBitfield:
		return fmt.Sprintf("bitfield %08b", m.Payload)
	}
	return m.Type.String()
}

// send writes messages and waits until the node has dealt with them.
func (p *fake) send(messages ...peer.Message) {
	p.t.Helper()
	for _, m := range messages {
		// A node that hangs up in the middle is for the test to judge.
		p.conn.Write(m.Append(nil))
	}
	synctest.Wait()
}

// take returns what came since the last take, one message a line.
func (p *fake) take() string {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	s := strings.Join(p.heard, "\n")
	p.heard = nil
	return s
}

// requests returns and forgets the requests that came.
func (p *fake) requests() []peer.Message {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []peer.Message
	for _, m := range p.messages {
		if m.Type == peer.TypeRequest && !m.KeepAlive {
			out = append(out, m)
		}
	}
	p.messages = nil
	return out
}

func (p *fake) isClosed() bool {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// serve answers requests until there are none, with the content's data changed by spoil where that is not nil.
func (p *fake) serve(c *content, spoil func(data []byte)) (blocks int) {
	for {
		requests := p.requests()
		if len(requests) == 0 {
			return blocks
		}
		for _, r := range requests {
			p.send(c.block(r, spoil))
			blocks++
		}
	}
}

// block makes the answer to a request.
func (c *content) block(r peer.Message, spoil func(data []byte)) peer.Message {
	at := int(r.Index)*c.piece + int(r.Begin)
	data := slices.Clone(c.data[at : at+int(r.Length)])
	if spoil != nil {
		spoil(data)
	}
	return peer.Message{Type: peer.TypePiece, Index: r.Index, Begin: r.Begin, Payload: data}
}

// simple makes a message without a body, or with an index.
func simple(t peer.Type, index ...uint32) peer.Message {
	m := peer.Message{Type: t}
	if len(index) > 0 {
		m.Index = index[0]
	}
	return m
}

func request3(t peer.Type, index, begin, length uint32) peer.Message {
	return peer.Message{Type: t, Index: index, Begin: begin, Length: length}
}

func extensions(e peer.Extensions) peer.Message {
	return peer.Message{Type: peer.TypeExtended, Payload: e.AppendMarshal(nil)}
}
