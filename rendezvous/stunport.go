package rendezvous

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"simplebit/nat/stun"
)

// stunPort is one of its ports. One goroutine reads it; others write to it, too.
type stunPort struct {
	conn   *net.UDPConn
	shared bool // with QUIC, which reads it
	bound  netip.AddrPort
	server *stun.Server
	all    []*stunPort // the service's
	info   packetInfo  // where an answer leaves from; the reader's
	reply  func(source, to netip.AddrPort, message []byte)
}

// packetInfo is a control message with a struct in_pktinfo or in6_pktinfo.
type packetInfo struct {
	hdr  unix.Cmsghdr
	data [unix.SizeofInet6Pktinfo]byte
}

// newSTUNPort has the socket tell which address each datagram was sent to, where it has all of them.
// On an error the socket is closed, unless it is shared.
func newSTUNPort(conn *net.UDPConn, shared bool) (p *stunPort, err error) {
	defer func() {
		if err != nil && !shared {
			conn.Close()
		}
	}()
	p = &stunPort{conn: conn, shared: shared}
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

// maxSTUN is a byte more than a question that is answered can have.
const maxSTUN = 2048 + 1

// maxSTUNFailures is how often receiving may fail in a row before the socket counts as broken.
const maxSTUNFailures = 100

// read answers what arrives until the socket is closed.
func (p *stunPort) read() error {
	b, controls := make([]byte, maxSTUN), make([]byte, 128)
	for failures := 0; ; {
		n, c, _, from, err := p.conn.ReadMsgUDPAddrPort(b, controls)
		switch {
		case err == nil:
			failures = 0
			p.answer(time.Now(), from, b[:n], controls[:c])
		case errors.Is(err, net.ErrClosed):
			return nil
		default:
			// Some are of somebody's answer that met an ICMP message, or of memory that is short for a moment.
			if failures++; failures > maxSTUNFailures {
				return fmt.Errorf("STUN at port %d: %w", p.bound.Port(), err)
			}
		}
	}
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
		if out.bound.Port() != source.Port() {
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
