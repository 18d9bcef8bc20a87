package edgeagent

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"simplebit/nat/discovery"
	"simplebit/nat/udpmux"
	"simplebit/wire/dial"
	"simplebit/wire/utp"
)

// ports is the peer port: a TCP listener, and the UDP socket that uTP shares with
// the control connection, because a NAT mapping belongs to a socket.
type ports struct {
	number  uint16
	tcp     net.Listener // nil without TCP
	socket  *udpmux.Socket
	set     *udpmux.Set    // of it and of those that network discovery and hole punching open
	utp     *utp.Endpoint  // nil without uTP
	control net.PacketConn // for QUIC with the surrogate

	discoverer *discovery.Discoverer
	punched    func(udpmux.Run) (taken bool) // is asked whether STUN is of a punch; set before run
}

// What the kernel may hold for the socket: more than the uTP window of one fast
// connection, and little enough for a router.
const (
	socketReadBuffer  = 1 << 20
	socketWriteBuffer = 512 << 10
)

// listen opens the peer port in both protocols, whatever transports are wanted: the
// control connection needs UDP, and TCP's listener finds the number where any will
// do. It is closed at once where TCP is not wanted.
func listen(cfg Config) (_ *ports, err error) {
	p := &ports{}
	p.tcp, err = udpmux.BesideTCP(cfg.Listen, func(host, port string) error {
		p.socket, err = udpmux.Listen("udp", net.JoinHostPort(host, port), udpmux.Config{ReadBuffer: socketReadBuffer, WriteBuffer: socketWriteBuffer})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("peer port %w: choose another with --listen", err)
	}
	p.number = p.tcp.Addr().(*net.TCPAddr).AddrPort().Port()
	p.control = p.socket.PacketConn(udpmux.QUIC)
	p.set = udpmux.NewSet(p.socket)
	p.discoverer = discovery.New(p.set)
	p.set.Handle(udpmux.STUN, p.receiveSTUN)
	if cfg.Transports == dial.OnlyUTP {
		p.tcp.Close()
		p.tcp = nil
	}
	if cfg.Transports != dial.OnlyTCP {
		p.utp = utp.New(utp.Config{
			// Each peer may be connected once, once more until it is known to be the same, and linger a moment.
			MaxConns: 3*cfg.MaxPeers + maxGreeting, Backlog: 2 * maxGreeting,
			Memory: int(min(cfg.Memory, 1<<30)), Log: cfg.Log,
		})
		p.utp.Attach(p.socket)
	}
	return p, nil
}

func (p *ports) close() {
	if p.tcp != nil {
		p.tcp.Close()
	}
	p.set.Close()
	p.socket.Close()
}

// receiveSTUN gives what arrives to who wants it: a source's datagrams in one run are all of a punch, or none is.
func (p *ports) receiveSTUN(now time.Time, runs []udpmux.Run) {
	for i, r := range runs {
		if !p.punched(r) {
			p.discoverer.Receive(now, runs[i:i+1])
		}
	}
}

// know makes what comes from the surrogate's address its own.
func (p *ports) know(surrogate netip.AddrPort) error {
	return p.socket.Routes().SetControl(surrogate)
}

// dialer fills in the transports.
func (p *ports) dialer(d dial.Dialer) *dial.Dialer {
	d.NoTCP = p.tcp == nil
	if p.utp != nil {
		d.UTP = p.utp
	}
	return &d
}

// run hands incoming connections to take until ctx ends. The socket runs beside it.
func (p *ports) run(ctx context.Context, take func(context.Context, net.Listener) error) error {
	tasks, ctx := errgroup.WithContext(ctx)
	if p.utp != nil {
		tasks.Go(func() error { return p.utp.Run(ctx) })
		tasks.Go(func() error { return take(ctx, p.utp) })
	}
	if p.tcp != nil {
		tasks.Go(func() error { return take(ctx, p.tcp) })
	}
	return tasks.Wait()
}
