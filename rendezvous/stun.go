package rendezvous

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

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
	number, bad := strconv.ParseUint(port, 10, 16)
	if err != nil || bad != nil {
		return fmt.Errorf("--stun-alt %q: want :PORT, or nothing to turn it off", alt)
	}
	controlHost, controlPort, _ := net.SplitHostPort(control)
	if host != "" && host != controlHost {
		return fmt.Errorf("--stun-alt %q: it has the host that --control has: want :%s", alt, port)
	}
	if same, err := strconv.ParseUint(controlPort, 10, 16); err == nil && same == number && number != 0 {
		return fmt.Errorf("--stun-alt %q: that is the control port, where STUN is answered anyway: want another", alt)
	}
	return nil
}

// stunService answers STUN at the control port and, if there is one, at a second port.
type stunService struct {
	control *stunPort
	alt     *stunPort // nil: none
	forward uint16    // the control port as devices reach it that do not reach an own address
	publics []netip.Addr
	own     []netip.Addr // those of the publics that are this machine's
}

// listenSTUN has STUN answered at the control socket, which quic-go must read as a [controlConn], and opens the second port.
func listenSTUN(cfg Config, control *net.UDPConn, own []net.Addr) (s *stunService, err error) {
	s = &stunService{publics: publicAddrs(cfg.Public)}
	if s.control, err = newSTUNPort(control); err != nil {
		return nil, fmt.Errorf("control port: %w", err)
	}
	bound := s.control.bound
	if s.forward = bound.Port(); len(cfg.Public) > 0 {
		_, port, _ := splitPublic(cfg.Public[0], strconv.Itoa(int(bound.Port())))
		number, _ := strconv.ParseUint(port, 10, 16) // checked by Config
		s.forward = uint16(number)
	}
	ports := []*stunPort{s.control}
	if cfg.STUNAlt != "" {
		if s.alt, err = openAlt(cfg.STUNAlt, control.LocalAddr().(*net.UDPAddr)); err != nil {
			return nil, fmt.Errorf("second STUN port: %w: choose another with --stun-alt, or none with --stun-alt=", err)
		}
		ports = append(ports, s.alt)
	}
	for _, a := range own {
		if p, err := netip.ParsePrefix(a.String()); err == nil && slices.Contains(s.publics, p.Addr().Unmap()) {
			s.own = append(s.own, p.Addr().Unmap())
		}
	}
	c := stun.Config{Excess: stunExcess}
	for _, p := range ports {
		c.Ports = append(c.Ports, p.bound.Port())
		for _, a := range s.own {
			if bound.Addr().IsUnspecified() && slices.ContainsFunc(s.own, func(o netip.Addr) bool { return o != a && o.Is4() == a.Is4() }) {
				c.Endpoints = append(c.Endpoints, stun.Endpoint{Addr: netip.AddrPortFrom(a, p.bound.Port())})
			}
		}
	}
	server, err := stun.NewServer(c)
	if err != nil {
		s.close()
		return nil, err
	}
	for _, p := range ports {
		p.server = server
		copy(p.all[:], ports)
	}
	return s, nil
}

// openAlt opens the second port on the host that the control socket has.
func openAlt(address string, control *net.UDPAddr) (*stunPort, error) {
	_, port, _ := net.SplitHostPort(address)
	number, _ := strconv.ParseUint(port, 10, 16) // checked by Config
	network := "udp"
	if control.IP.IsUnspecified() && control.IP.To4() != nil {
		network = "udp4"
	}
	conn, err := net.ListenUDP(network, &net.UDPAddr{IP: control.IP, Port: int(number), Zone: control.Zone})
	if err != nil {
		return nil, err
	}
	p, err := newSTUNPort(conn)
	if err != nil {
		conn.Close()
	}
	return p, err
}

// run answers at the second port until ctx ends.
func (s *stunService) run(ctx context.Context) error {
	if s.alt == nil {
		return nil
	}
	defer context.AfterFunc(ctx, s.close)()
	b, controls := make([]byte, maxSTUN), make([]byte, 128)
	for {
		n, c, _, from, err := s.alt.conn.ReadMsgUDPAddrPort(b, controls)
		switch {
		case err == nil:
			s.alt.answer(time.Now(), from, b[:n], controls[:c])
		case errors.Is(err, net.ErrClosed):
			return nil
		default:
			return fmt.Errorf("second STUN port: %w", err)
		}
	}
}

// maxSTUN is a byte more than a question that is answered can have.
const maxSTUN = 2048 + 1

func (s *stunService) close() {
	if s.alt != nil {
		s.alt.conn.Close()
	}
}

// altAddr is the second port's address, empty where there is none.
func (s *stunService) altAddr() string {
	if s.alt == nil {
		return ""
	}
	return s.alt.conn.LocalAddr().String()
}

// reachedAt is where a device is to ask, which is connected to that end of the surrogate's (see control.Welcome): the
// address that it dialled first, then the other one of that family, then those of the other family.
func (s *stunService) reachedAt(end netip.AddrPort) (list []netip.AddrPort) {
	add := func(a netip.Addr, control uint16) {
		list = append(list, netip.AddrPortFrom(a, control))
		if s.alt != nil {
			list = append(list, netip.AddrPortFrom(a, s.alt.bound.Port()))
		}
	}
	port, dialled := s.control.bound.Port(), end.Addr().Unmap()
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
