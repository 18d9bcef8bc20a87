package rendezvous

import (
	"net"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"simplebit/nat/stun"
	"simplebit/nat/udpmux"
)

// stunPort is one of its sockets. One goroutine reads it; others write to it, too.
type stunPort struct {
	conn   *net.UDPConn
	bound  netip.AddrPort
	routes *udpmux.Routes
	server *stun.Server
	all    [2]*stunPort // the ports; there may be one
	info   packetInfo   // where an answer leaves from; the reader's
	reply  func(source, to netip.AddrPort, message []byte)
}

// packetInfo is a control message with a struct in_pktinfo or in6_pktinfo.
type packetInfo struct {
	hdr  unix.Cmsghdr
	data [unix.SizeofInet6Pktinfo]byte
}

// newSTUNPort has the socket tell which address each datagram was sent to, where it has all of them.
func newSTUNPort(conn *net.UDPConn) (*stunPort, error) {
	p := &stunPort{conn: conn, routes: udpmux.NewRoutes(udpmux.Surrogate)}
	at := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	p.bound = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	p.reply = p.send
	if !p.bound.Addr().IsUnspecified() {
		return p, nil
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var err4, err6 error
	if err := raw.Control(func(fd uintptr) {
		err4 = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
		err6 = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
	}); err != nil {
		return nil, err
	}
	if err4 != nil && err6 != nil {
		return nil, err4
	}
	return p, nil
}

// answer answers a datagram, whose control messages say where it was sent to.
func (p *stunPort) answer(now time.Time, from netip.AddrPort, b, controls []byte) {
	at := p.bound
	if at.Addr().IsUnspecified() {
		a := sentTo(controls)
		if !a.IsValid() {
			return
		}
		at = netip.AddrPortFrom(a, at.Port())
	}
	p.server.Answer(now, at, from, b, p.reply)
}

// send sends an answer from one of the machine's addresses. What cannot be sent is lost: who gets no answer asks again.
func (p *stunPort) send(source, to netip.AddrPort, message []byte) {
	for _, out := range p.all {
		if out == nil || out.bound.Port() != source.Port() {
			continue
		}
		var info []byte
		if out.bound.Addr().IsUnspecified() {
			info = p.info.from(source.Addr())
		}
		_, _, _ = out.conn.WriteMsgUDPAddrPort(message, info, to)
	}
}

// inSpecDst is where struct in_pktinfo has the machine's own address; in6_pktinfo begins with it.
const inSpecDst = 4

// sentTo is the address in the packet information (ip(7), RFC 3542 section 6), not valid where there is none.
func sentTo(controls []byte) (a netip.Addr) {
	for len(controls) >= unix.SizeofCmsghdr {
		h, data, rest, err := unix.ParseOneSocketControlMessage(controls)
		if err != nil {
			break
		}
		switch {
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			return netip.AddrFrom4([4]byte(data[inSpecDst:]))
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			a = netip.AddrFrom16([16]byte(data)).Unmap()
		}
		controls = rest
	}
	return a
}

// from is the control message that has a datagram leave from the address. It is valid until it is called again.
func (p *packetInfo) from(a netip.Addr) []byte {
	*p = packetInfo{}
	n := unix.SizeofInet6Pktinfo
	if p.hdr.Level, p.hdr.Type = unix.IPPROTO_IPV6, unix.IPV6_PKTINFO; a.Is4() {
		p.hdr.Level, p.hdr.Type, n = unix.IPPROTO_IP, unix.IP_PKTINFO, unix.SizeofInet4Pktinfo
		ip := a.As4()
		copy(p.data[inSpecDst:], ip[:])
	} else {
		ip := a.As16()
		copy(p.data[:], ip[:])
	}
	p.hdr.SetLen(unix.CmsgLen(n))
	return unsafe.Slice((*byte)(unsafe.Pointer(p)), unix.CmsgSpace(n))
}

// controlConn is the control socket as quic-go reads it: what is framed as STUN is answered on the way, all else is
// QUIC's, which keeps what it does with the socket itself: explicit congestion notification, segmentation offload, and
// answers that leave from the address that was asked.
type controlConn struct {
	*net.UDPConn
	batches *ipv4.PacketConn
	stun    *stunPort
}

func newControlConn(conn *net.UDPConn, s *stunPort) *controlConn {
	return &controlConn{conn, ipv4.NewPacketConn(conn), s}
}

// ReadBatch reads at least one datagram that is not STUN's. quic-go reads by it alone, in one goroutine.
func (c *controlConn) ReadBatch(ms []ipv4.Message, flags int) (int, error) {
	for {
		n, err := c.batches.ReadBatch(ms, flags)
		if err != nil {
			return 0, err
		}
		kept := 0
		for i := range ms[:n] {
			m := &ms[i]
			from, _ := m.Addr.(*net.UDPAddr)
			b := m.Buffers[0][:m.N]
			if from != nil && c.stun.routes.Classify(from.AddrPort(), b) == udpmux.STUN {
				c.stun.answer(time.Now(), from.AddrPort(), b, m.OOB[:m.NN])
				continue
			}
			if k := &ms[kept]; k != m { // the buffers stay where they are: quic-go counts on that
				k.N, k.NN = copy(k.Buffers[0], b), copy(k.OOB, m.OOB[:m.NN])
				k.Flags, k.Addr = m.Flags, m.Addr
			}
			kept++
		}
		if kept > 0 {
			return kept, nil
		}
	}
}
