//go:build linux

package integration

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"simplebit/integration/natlab"
)

// bigSegment is a TCP payload that only content fills, in bytes: nothing else that a swarm sends to a leecher is so long.
const bigSegment = 1000

// attempt is one attempt to open a TCP connection.
type attempt struct {
	at       time.Time
	from, to netip.AddrPort
}

// sniffer sees all IPv4 packets of a host's link, at the host's end.
type sniffer struct {
	mu    sync.Mutex
	dials []attempt
	first time.Time        // when the first content came over TCP
	icmp  []netip.AddrPort // where packets were sent that others complained about by ICMP
}

// sniff watches a host until the test ends.
func (s *scene) sniff(h *natlab.Host) *sniffer {
	s.Helper()
	w := &sniffer{}
	s.tap(h, w.packet)
	return w
}

// tap hands the beginning of each IPv4 packet of a host's link to take, from a goroutine, until the test ends.
func (s *scene) tap(h *natlab.Host, take func(at time.Time, b []byte, sent bool)) {
	s.Helper()
	var socket *os.File
	s.ok(h.Do(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(hostOrder(unix.ETH_P_ALL)))
		if err != nil {
			return err
		}
		socket = os.NewFile(uintptr(fd), "packets of "+h.Name())
		// Who reads them may be late.
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
			return err
		}
		// Only the machine's root may have so much; what others get holds some hundred packets.
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20); !errors.Is(err, unix.EPERM) {
			return err
		}
		return nil
	}))
	raw, err := socket.SyscallConn()
	s.ok(err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		b, control := make([]byte, 128), make([]byte, 64) // headers, and when they passed
		for {
			var n, controls int
			var from unix.Sockaddr
			var failed error
			err := raw.Read(func(fd uintptr) bool {
				n, controls, _, from, failed = unix.Recvmsg(int(fd), b, control, unix.MSG_TRUNC)
				return !errors.Is(failed, unix.EAGAIN)
			})
			if err != nil || failed != nil {
				return
			}
			if link, ok := from.(*unix.SockaddrLinklayer); ok && link.Protocol == hostOrder(unix.ETH_P_IP) {
				take(stamp(control[:controls]), b[:min(n, len(b))], link.Pkttype == unix.PACKET_OUTGOING)
			}
		}
	}()
	s.Cleanup(func() {
		socket.Close()
		<-done
	})
}

// stamp is the time at which the kernel saw a packet.
func stamp(control []byte) time.Time {
	_, data, _, err := unix.ParseOneSocketControlMessage(control)
	if err != nil || len(data) < int(unsafe.Sizeof(unix.Timespec{})) {
		return time.Time{}
	}
	return time.Unix((*unix.Timespec)(unsafe.Pointer(&data[0])).Unix())
}

// hostOrder turns a number in network order into what the kernel reads, or back.
func hostOrder(n uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, n))
}

// packet takes note of an IPv4 packet, of which the beginning is given.
func (w *sniffer) packet(at time.Time, b []byte, sent bool) {
	if len(b) < 40 || b[0]>>4 != 4 {
		return
	}
	header := int(b[0]&15) * 4
	if len(b) < header+20 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch b[9] {
	case unix.IPPROTO_ICMP:
		if about := b[header+8:]; !sent && len(about) >= 24 && about[9] == unix.IPPROTO_TCP {
			w.icmp = append(w.icmp, netip.AddrPortFrom(netip.AddrFrom4([4]byte(about[16:20])), binary.BigEndian.Uint16(about[22:])))
		}
	case unix.IPPROTO_TCP:
		tcp := b[header:]
		flags := tcp[13]
		const syn, ack = 2, 16
		payload := int(binary.BigEndian.Uint16(b[2:])) - header - int(tcp[12]>>4)*4
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[12:16])), binary.BigEndian.Uint16(tcp))
		to := netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[16:20])), binary.BigEndian.Uint16(tcp[2:]))
		switch {
		case sent && flags&(syn|ack) == syn:
			again := func(d attempt) bool { return d.from == from && d.to == to && at.Sub(d.at) < time.Minute }
			if !slices.ContainsFunc(w.dials, again) { // else the kernel repeats itself
				w.dials = append(w.dials, attempt{at, from, to})
			}
		case !sent && payload >= bigSegment && w.first.IsZero():
			w.first = at
		}
	}
}

// dialled returns the attempts so far to open connections with addresses that ok wants.
func (w *sniffer) dialled(ok func(netip.AddrPort) bool) []attempt {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(w.dials), func(d attempt) bool { return !ok(d.to) })
}

// content is when the first content came, and zero before.
func (w *sniffer) content() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.first
}

// refused is what could not be reached over TCP, as routers and hosts said by ICMP.
func (w *sniffer) refused() []netip.AddrPort {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.icmp)
}

// busiest is how many attempts there were in the second that had most.
func busiest(dials []attempt) (most int) {
	begin := 0
	for i, d := range dials {
		for d.at.Sub(dials[begin].at) >= time.Second {
			begin++
		}
		most = max(most, i-begin+1)
	}
	return most
}
