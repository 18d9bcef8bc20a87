package rendezvous

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"golang.org/x/sync/errgroup"

	"simplebit/nat/stun"
)

// stunExcess is the bytes a second by which the answers to all STUN clients together may be longer than their questions:
// enough for a few dozen tools of others a minute, and of no use to who forges sources. Devices need none of it.
const stunExcess = 1 << 10

// checkSTUNAlt refuses what cannot be a second port of the control socket's host.
func checkSTUNAlt(alt, control string) error {
	if alt == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(alt)
	_, bad := strconv.ParseUint(port, 10, 16)
	if err != nil || bad != nil {
		return fmt.Errorf("--stun-alt %q: want :PORT, or nothing to turn it off", alt)
	}
	if controlHost, _, _ := net.SplitHostPort(control); host != "" && host != controlHost {
		return fmt.Errorf("--stun-alt %q: it has the host that --control has: want :%s", alt, port)
	}
	return nil
}

// isControlPort says whether the second port is the first one, where STUN is answered anyway.
func isControlPort(alt, control string) bool {
	_, port, err := net.SplitHostPort(alt)
	_, controlPort, _ := net.SplitHostPort(control)
	return err == nil && port == controlPort && port != "0"
}

// stunService answers STUN at the control port and, if there is one, at a second port.
type stunService struct {
	ports   []*stunPort    // the control port's, and the second one's
	quic    net.PacketConn // the control port without STUN
	forward uint16         // the control port as devices reach it that do not reach an own address
	publics []netip.Addr
	own     []netip.Addr // those of the publics that are this machine's
}

// listenSTUN takes STUN from the control socket, which quic-go must read by way of the service's quic, and opens the second
// port. own is the machine's addresses.
func listenSTUN(cfg Config, control *net.UDPConn, own []net.Addr) (s *stunService, err error) {
	s = &stunService{publics: publicAddrs(cfg.Public)}
	for _, a := range own {
		if p, err := netip.ParsePrefix(a.String()); err == nil && slices.Contains(s.publics, p.Addr().Unmap()) {
			s.own = append(s.own, p.Addr().Unmap())
		}
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if err = s.shareControl(control, cfg); err != nil {
		return nil, fmt.Errorf("control port: %w", err)
	}
	if cfg.STUNAlt != "" {
		if err = s.openAlt(cfg.STUNAlt); err != nil {
			return nil, fmt.Errorf("second STUN port: %w: choose another with --stun-alt, or none with --stun-alt=", err)
		}
	}
	s.forward = s.ports[0].bound.Port()
	if len(cfg.Public) > 0 {
		_, port, _ := splitPublic(cfg.Public[0], strconv.Itoa(int(s.forward)))
		number, _ := strconv.ParseUint(port, 10, 16) // checked by Config
		s.forward = uint16(number)
	}
	server, err := stun.NewServer(s.endpoints())
	for _, p := range s.ports {
		p.server, p.all = server, s.ports
	}
	return s, err
}

// shareControl splits the control port in two. Where the kernel cannot, what QUIC reads is searched for STUN.
func (s *stunService) shareControl(control *net.UDPConn, cfg Config) error {
	conn, err := control, errors.ErrUnsupported
	if !cfg.whole {
		conn, err = splitSTUN(control)
	}
	shared := err != nil
	if shared {
		cfg.Log.Warn("a flood of STUN at the control port could hold up devices: the kernel does not keep them apart", "err", err)
		conn = control
	}
	p, err := newSTUNPort(conn, shared)
	if err != nil {
		return err
	}
	s.ports, s.quic = []*stunPort{p}, control
	if shared {
		s.quic = newControlConn(control, p)
	}
	return nil
}

// openAlt opens the second port on the host that the control socket has.
func (s *stunService) openAlt(address string) error {
	_, port, _ := net.SplitHostPort(address)
	number, _ := strconv.ParseUint(port, 10, 16) // checked by Config
	at := *s.ports[0].conn.LocalAddr().(*net.UDPAddr)
	at.Port = int(number)
	conn, err := net.ListenUDP("udp", &at)
	if err != nil {
		return err
	}
	p, err := newSTUNPort(conn, false)
	if err != nil {
		return err
	}
	s.ports = append(s.ports, p)
	return nil
}

// endpoints is what the server is to know: with two addresses of the machine, each of them, or else only the ports.
func (s *stunService) endpoints() stun.Config {
	c := stun.Config{Excess: stunExcess}
	for _, p := range s.ports {
		c.Ports = append(c.Ports, p.bound.Port())
		for _, a := range s.own {
			other := func(o netip.Addr) bool { return o != a && o.Is4() == a.Is4() }
			if p.bound.Addr().IsUnspecified() && slices.ContainsFunc(s.own, other) {
				c.Endpoints = append(c.Endpoints, stun.Endpoint{Addr: netip.AddrPortFrom(a, p.bound.Port())})
			}
		}
	}
	return c
}

// run answers until ctx ends.
func (s *stunService) run(ctx context.Context) error {
	defer context.AfterFunc(ctx, s.close)()
	var tasks errgroup.Group
	for _, p := range s.ports {
		if !p.shared {
			tasks.Go(p.read)
		}
	}
	return tasks.Wait()
}

func (s *stunService) close() {
	for _, p := range s.ports {
		if !p.shared {
			p.conn.Close()
		}
	}
}

// altAddr is the second port's address, empty where there is none.
func (s *stunService) altAddr() string {
	if len(s.ports) == 1 {
		return ""
	}
	return s.ports[1].conn.LocalAddr().String()
}

// reachedAt is where a device is to ask, which is connected to that end of the surrogate's (see control.Welcome): the
// address that it dialled first, then the other one of that family, then those of the other family.
func (s *stunService) reachedAt(end netip.AddrPort) (list []netip.AddrPort) {
	add := func(a netip.Addr, control uint16) {
		list = append(list, netip.AddrPortFrom(a, control))
		for _, p := range s.ports[1:] {
			list = append(list, netip.AddrPortFrom(a, p.bound.Port()))
		}
	}
	port, dialled := s.ports[0].bound.Port(), end.Addr().Unmap()
	if slices.Contains(s.own, dialled) {
		add(dialled, port)
		for _, a := range s.own {
			if a != dialled && a.Is4() == dialled.Is4() {
				add(a, port)
			}
		}
	} else { // which address the device knows it by is not known here: routers forward
		add(netip.IPv4Unspecified(), s.forward)
	}
	for _, a := range s.publics {
		switch {
		case a.Is4() == dialled.Is4():
		case slices.Contains(s.own, a):
			add(a, port)
		default:
			add(a, s.forward)
		}
	}
	return list
}
