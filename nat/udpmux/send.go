package udpmux

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	maxSegments = 64    // UDP_MAX_SEGMENTS; newer kernels take 128
	maxRun      = 65507 // bytes that one call takes: UDP's limit over IPv4, also where they are cut up
)

// What Socket.single holds: 0 while the kernel cuts up runs, never where it cannot, else how many runs are still sent one
// by one. An EIO belongs to a route, say one whose interface has no checksum offload or that IPsec takes, and other
// routes should not suffer for it for good.
const (
	never       = -1
	afterFailed = 1024
)

// sender is what one sendmsg needs, reused.
type sender struct {
	s    *Socket
	hdr  unix.Msghdr
	iov  unix.Iovec
	name sockaddr
	cmsg struct {
		hdr   unix.Cmsghdr
		value [4]byte
	}
	ttl       int  // 0: the socket's
	six       bool // the destination is IPv6's
	fragments fragmentable
	call      func(fd uintptr) // bound once, it costs memory each time it is made
	errno     syscall.Errno
}

func newSender(s *Socket) *sender {
	n := &sender{s: s}
	n.hdr.Name = (*byte)(unsafe.Pointer(&n.name))
	n.hdr.Iov = &n.iov
	n.hdr.SetIovlen(1)
	n.call = n.sendmsg
	return n
}

// Send sends a run: datagrams of size bytes each, but the last, which may be shorter. With a size of 0 or of at least
// len(data) it is one datagram. It does not wait: what the kernel has no room for is lost, as in a network, and no error.
// Other failures wrap the syscall.Errno and end the run: EMSGSIZE when a datagram is too long for the interface,
// EAFNOSUPPORT for an address that the socket does not reach, and ENODEV for a zone that is no interface. An empty run is
// nothing. Data is not kept.
func (s *Socket) Send(to netip.AddrPort, data []byte, size int) error {
	s.fragmenting.RLock()
	defer s.fragmenting.RUnlock()
	return s.send(to, data, size, way{})
}

// SendTTL is Send for one datagram that lives for ttl hops, 1 to 255, and no others: the socket's own TTL or hop limit stays
// what it is. It takes one system call.
func (s *Socket) SendTTL(to netip.AddrPort, data []byte, ttl int) error {
	if ttl < 1 || ttl > 255 {
		return fmt.Errorf("udp %s: a TTL of %d: want 1 to 255", s.local, ttl)
	}
	s.fragmenting.RLock()
	defer s.fragmenting.RUnlock()
	return s.send(to, data, 0, way{ttl: ttl})
}

// way is how datagrams go out that are not sent like all others.
type way struct {
	inFragments bool
	ttl         int // 0: the socket's
}

func (s *Socket) send(to netip.AddrPort, data []byte, size int, w way) error {
	if !s.family.reaches(to.Addr()) {
		return fmt.Errorf("udp %s: cannot send to %s: %w", s.local, to, syscall.EAFNOSUPPORT)
	}
	if len(data) == 0 {
		return nil
	}
	if size <= 0 || size > len(data) {
		size = len(data)
	}
	n := s.senders.Get().(*sender)
	defer s.senders.Put(n)
	n.six, n.ttl = !to.Addr().Unmap().Is4(), w.ttl
	n.fragments = fragmentable{on: w.inFragments, six: n.six}
	errno, err := syscall.ENODEV, error(nil)
	if n.hdr.Namelen = encode(&n.name, to, s.family, &s.zones); n.hdr.Namelen > 0 {
		errno, err = n.run(data, size)
		n.iov.Base = nil
	}
	switch {
	case err != nil:
		return err
	case errno != 0:
		return fmt.Errorf("udp %s: cannot send %d bytes to %s: %w", s.local, size, to, errno)
	}
	return nil
}

// run sends all of data.
func (n *sender) run(data []byte, size int) (syscall.Errno, error) {
	together := size < len(data) && !n.fragments.on && n.s.segments()
	for len(data) > 0 {
		k := min(size, len(data))
		if together {
			k = min(len(data), max(1, min(maxSegments, maxRun/size))*size)
		}
		errno, err := n.transmit(data[:k], size)
		switch {
		case err != nil:
			return 0, err
		case errno == 0:
		case errno == unix.EAGAIN || errno == unix.ENOBUFS || errno == unix.ENOMEM:
			n.s.counts.nobuf.Add(int64((len(data) + size - 1) / size))
			return 0, nil
		case k > size && cannotSegment(errno):
			together = false
			// A datagram that is too long is told by older kernels in the same way, so one alone must show who is right.
			k = size
			if alone, err := n.transmit(data[:k], size); err != nil || alone != 0 {
				return alone, err
			}
			n.s.refuseSegments(errno)
		default:
			return errno, nil
		}
		n.s.counts.sent.Add(int64((k + size - 1) / size))
		data = data[k:]
	}
	return 0, nil
}

// transmit makes one system call, whose datagrams have size bytes. The error is the closed socket's.
func (n *sender) transmit(data []byte, size int) (syscall.Errno, error) {
	n.iov.Base = &data[0]
	n.iov.SetLen(len(data))
	switch {
	case len(data) > size:
		binary.NativeEndian.PutUint16(n.cmsg.value[:], uint16(size))
		n.control(unix.SOL_UDP, unix.UDP_SEGMENT, 2)
	case n.ttl > 0:
		binary.NativeEndian.PutUint32(n.cmsg.value[:], uint32(n.ttl))
		if n.six {
			n.control(unix.IPPROTO_IPV6, unix.IPV6_HOPLIMIT, 4)
		} else { // on a dual-stack socket as well, where the kernel ignores IPV6_HOPLIMIT
			n.control(unix.IPPROTO_IP, unix.IP_TTL, 4)
		}
	default:
		n.hdr.Control = nil
		n.hdr.SetControllen(0)
	}
	if err := n.s.raw.Control(n.call); err != nil {
		return 0, &net.OpError{Op: "write", Net: "udp", Source: n.s.local, Err: net.ErrClosed}
	}
	return n.errno, nil
}

// control has the next call carry the message, whose value has so many bytes.
func (n *sender) control(level, kind int32, bytes int) {
	n.cmsg.hdr.Level, n.cmsg.hdr.Type = level, kind
	n.cmsg.hdr.SetLen(unix.CmsgLen(bytes))
	n.hdr.Control = (*byte)(unsafe.Pointer(&n.cmsg))
	n.hdr.SetControllen(int(unsafe.Sizeof(n.cmsg)))
}

func (n *sender) sendmsg(fd uintptr) {
	n.fragments.begin(fd)
	defer n.fragments.end(fd)
	for {
		if n.errno = n.s.kernel.sendmsg(fd, &n.hdr); n.errno != unix.EINTR {
			return
		}
	}
}

// cannotSegment says whether the kernel or the route may not know how to cut up a run.
func cannotSegment(e syscall.Errno) bool {
	return e == unix.EINVAL || e == unix.EIO || e == unix.ENOTSUP || e == unix.ENOPROTOOPT
}

// refuseSegments remembers that the kernel did not cut up a run.
func (s *Socket) refuseSegments(e syscall.Errno) {
	if e == unix.EIO {
		s.single.Store(afterFailed)
		return
	}
	s.single.Store(never)
}

// segments says whether the next run is given to the kernel whole.
func (s *Socket) segments() bool {
	switch v := s.single.Load(); v {
	case 0:
		return true
	case never:
		return false
	default:
		s.single.CompareAndSwap(v, v-1)
		return false
	}
}
