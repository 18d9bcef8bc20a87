package rendezvous

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sync/errgroup"

	"simplebit/nat/udpmux"
	"simplebit/wire/dial"
	"simplebit/wire/utp"
)

// peerPort is where the surrogate takes peers: a TCP listener, and for each family
// a UDP socket that uTP and the DHT share.
type peerPort struct {
	number uint16 // announced to trackers and the DHT
	addr   string
	tcp    net.Listener   // nil without TCP
	v4, v6 *udpmux.Socket // nil where the machine has none of it
	utp    *utp.Endpoint  // nil without uTP
}

// listenPeers opens the port, in both protocols whatever transports are wanted: the
// DHT needs UDP, and TCP's listener finds the number where any will do. It is closed
// at once where TCP is not wanted.
func listenPeers(cfg Config) (_ *peerPort, err error) {
	p := &peerPort{}
	if p.tcp, err = udpmux.BesideTCP(cfg.Peer, p.listenUDP); err != nil {
		return nil, fmt.Errorf("peer port %w: choose another with --peer", err)
	}
	p.number, p.addr = p.tcp.Addr().(*net.TCPAddr).AddrPort().Port(), p.tcp.Addr().String()
	if cfg.Transports == dial.OnlyUTP {
		p.tcp.Close()
		p.tcp = nil
	}
	if cfg.Transports != dial.OnlyTCP {
		p.utp = utp.New(utp.Config{Memory: frontMemory, PerConn: frontWindow, Log: cfg.Log})
		for _, s := range p.sockets() {
			p.utp.Attach(s)
		}
	}
	return p, nil
}

// What uTP may hold for peers that front talks to: metadata and addresses, no pieces.
const (
	frontMemory = 64 << 20
	frontWindow = 256 << 10
)

// listenUDP opens the families of the host, all if it is empty, or none.
func (p *peerPort) listenUDP(host, port string) (err error) {
	defer func() {
		if err != nil && p.v4 != nil {
			p.v4.Close()
			p.v4 = nil
		}
	}()
	addr := net.JoinHostPort(host, port)
	config := udpmux.Config{Routes: udpmux.NewRoutes(udpmux.Front)}
	ip, named := netip.ParseAddr(host)
	if named != nil || ip.Unmap().Is4() {
		if p.v4, err = udpmux.Listen("udp4", addr, config); err != nil {
			return err
		}
	}
	if named != nil || ip.Is6() && !ip.Is4In6() {
		p.v6, err = udpmux.Listen("udp6", addr, config)
		if lacking := errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL); err != nil && !(lacking && p.v4 != nil) {
			return err
		}
	}
	return nil
}

func (p *peerPort) sockets() (all []*udpmux.Socket) {
	for _, s := range []*udpmux.Socket{p.v4, p.v6} {
		if s != nil {
			all = append(all, s)
		}
	}
	return all
}

// dht returns the DHT's part of a socket, nil for none.
func (p *peerPort) dht(s *udpmux.Socket) net.PacketConn {
	if s == nil {
		return nil
	}
	return s.PacketConn(udpmux.DHT)
}

// dialer is how front reaches peers, where g permits it.
func (p *peerPort) dialer(g guard, d dial.Dialer) *dial.Dialer {
	d.TCP = &net.Dialer{Control: g.control}
	d.NoTCP = p.tcp == nil
	if p.utp != nil {
		d.UTP = guarded{g, p.utp}
	}
	return &d
}

// run moves datagrams and has serve take incoming connections until ctx ends.
func (p *peerPort) run(ctx context.Context, serve func(context.Context, net.Listener) error) error {
	tasks, ctx := errgroup.WithContext(ctx)
	for _, s := range p.sockets() {
		tasks.Go(func() error { return s.Run(ctx) })
	}
	if p.utp != nil {
		tasks.Go(func() error { return p.utp.Run(ctx) })
		tasks.Go(func() error { return serve(ctx, p.utp) })
	}
	if p.tcp != nil {
		tasks.Go(func() error { return serve(ctx, p.tcp) })
	}
	return tasks.Wait()
}

func (p *peerPort) close() {
	if p.tcp != nil {
		p.tcp.Close()
	}
	for _, s := range p.sockets() {
		s.Close()
	}
}
