package portmap

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// fake is a gateway in this process, for virtual time. Its functions may be nil: then it is silent there.
type fake struct {
	t      *testing.T
	server func(request []byte) [][]byte // PCP and NAT-PMP
	ssdp   func(target string) []packet  // answers to a search that the gateway or the group gets
	web    func(c net.Conn, port string) // serves a connection
	mu     sync.Mutex
	sent   int         // datagrams
	dialed int         // connections of TCP
	hear   chan *inbox // gets the socket for announcements, if it is there
}

type packet struct {
	from netip.AddrPort
	b    []byte
}

var fakeLocal = netip.MustParseAddrPort("192.168.1.5:40000")

// end is the client's end of a connection.
type end struct {
	net.Conn
	wrote func(b []byte)
}

func (e end) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(fakeLocal) }

func (e end) Write(b []byte) (int, error) {
	if e.wrote == nil {
		return e.Conn.Write(b)
	}
	e.wrote(bytes.Clone(b))
	return len(b), nil
}

func (f *fake) count(what *int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	*what++
}

func (f *fake) counts() (sent, dialed int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sent, f.dialed
}

func (f *fake) dial(_ context.Context, network, address string) (net.Conn, error) {
	ap := netip.MustParseAddrPort(address)
	if ap.Addr() != testGateway {
		f.t.Errorf("dials %s %s", network, address)
		return nil, errors.New("not the gateway")
	}
	near, far := net.Pipe()
	if network == "tcp" {
		f.count(&f.dialed)
		go func() {
			defer far.Close()
			if f.web != nil {
				f.web(far, address)
			}
		}()
		return end{Conn: near}, nil
	}
	if ap.Port() != gatewayPort {
		f.t.Errorf("sends to %s", address)
	}
	in := newInbox(far)
	return end{in.conn(near), func(b []byte) {
		f.count(&f.sent)
		if f.server != nil {
			for _, answer := range f.server(b) {
				in.put(answer)
			}
		}
	}}, nil
}

// inbox hands datagrams to a socket, whose other end it has.
type inbox struct {
	queue chan []byte
	done  chan struct{}
}

func newInbox(far net.Conn) *inbox {
	in := &inbox{make(chan []byte, 1<<10), make(chan struct{})}
	go func() {
		for {
			select {
			case b := <-in.queue:
				far.Write(b)
			case <-in.done:
				return
			}
		}
	}()
	return in
}

// put drops what does not fit, as a socket does.
func (in *inbox) put(b []byte) {
	select {
	case in.queue <- b:
	default:
	}
}

func (in *inbox) tell(p packet) { in.put(append([]byte(p.from.String()+"\n"), p.b...)) }

// conn is the socket.
func (in *inbox) conn(near net.Conn) net.Conn {
	return closer{near, sync.OnceFunc(func() { close(in.done) })}
}

type closer struct {
	net.Conn
	also func()
}

func (c closer) Close() error {
	c.also()
	return c.Conn.Close()
}

// packetEnd is a socket: what it reads begins with the sender's address and a line end.
type packetEnd struct {
	net.Conn
	f  *fake
	in *inbox
}

func (p packetEnd) ReadFrom(b []byte) (int, net.Addr, error) {
	buf := make([]byte, 64<<10)
	n, err := p.Read(buf)
	if err != nil {
		return 0, nil, err
	}
	from, text, _ := bytes.Cut(buf[:n], []byte("\n"))
	return copy(b, text), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(string(from))), nil
}

func (p packetEnd) WriteTo(b []byte, to net.Addr) (int, error) {
	p.f.count(&p.f.sent)
	if s := to.String(); s != "239.255.255.250:1900" && s != "192.168.1.1:1900" {
		p.f.t.Errorf("sends to %s", to)
	}
	_, target, _ := bytes.Cut(b, []byte("ST: "))
	if p.f.ssdp != nil {
		for _, answer := range p.f.ssdp(string(bytes.TrimSpace(target))) {
			p.in.tell(answer)
		}
	}
	return len(b), nil
}

func (f *fake) listen(_, address string) (net.PacketConn, error) {
	near, far := net.Pipe()
	in := newInbox(far)
	if address == ":5350" && f.hear != nil {
		f.hear <- in
	}
	return packetEnd{in.conn(near), f, in}, nil
}

func (f *fake) run(ctx context.Context, news func([]Mapping), want ...Port) error {
	return New(Config{Gateway: testGateway, Dial: f.dial, Listen: f.listen}).Run(ctx, want, news)
}

// runFor runs a mapper for a time and returns the mappings that it was left with before the end.
func (f *fake) runFor(d time.Duration) (left []Mapping, exit time.Duration) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), d)
	defer cancel()
	err := f.run(ctx, func(m []Mapping) {
		if ctx.Err() == nil {
			left = m
		}
	}, Port{UDP, 6882})
	if err != nil {
		f.t.Error(err)
	}
	deadline, _ := ctx.Deadline()
	return left, time.Since(deadline)
}
