package discovery

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"syscall"

	message "github.com/pion/stun/v2"
	"golang.org/x/sys/unix"
)

// hopTTL ends a datagram at the second router.
const hopTTL = 2

// secondHop sends to the server with a TTL that ends on the way, and waits for who says so. It takes a socket of its own, since
// only a connected one hears of what became of its datagrams, in its queue of errors. A silent router tells nothing.
func secondHop(ctx context.Context, a action) (outcome, error) {
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
		failed := c.Control(func(fd uintptr) {
			if err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVERR, 1); err == nil {
				err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TTL, hopTTL)
			}
		})
		if failed != nil {
			return failed
		}
		return err
	}}
	c, err := d.DialContext(ctx, "udp4", a.to.String())
	if err != nil {
		return outcome{}, err
	}
	defer c.Close()
	raw, err := c.(*net.UDPConn).SyscallConn()
	if err != nil {
		return outcome{}, err
	}
	probe, err := message.Build(message.TransactionID, message.BindingRequest, message.Fingerprint)
	if err != nil {
		return outcome{}, err
	}
	back, who := make(chan struct{}, 1), make(chan netip.Addr, 1)
	go func() {
		a := awaitExceeded(raw)
		if who <- a; a.IsValid() {
			back <- struct{}{}
		}
	}()
	o, err := repeat(ctx, a.profile, back, func() error {
		// What became of the last one may be told here as well, as an error of this one.
		_, _ = c.Write(probe.Raw)
		return nil
	})
	c.Close() // ends the reading
	o.hop = hopSeen{<-who, c.LocalAddr().(*net.UDPAddr).AddrPort().Addr()}
	return o, err
}

// awaitExceeded reads the socket's queue of errors until a router says that a TTL was exceeded, whose address it returns, or
// the socket is closed.
func awaitExceeded(c syscall.RawConn) (who netip.Addr) {
	var data [128]byte
	var control [256]byte
	// It fails when the socket is closed.
	_ = c.Read(func(fd uintptr) bool {
		for {
			_, n, _, _, err := unix.Recvmsg(int(fd), data[:], control[:], unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
			if err != nil {
				return false
			}
			if who = exceeded(control[:n]); who.IsValid() {
				return true
			}
		}
	})
	return who
}

// exceeded finds in the control messages who exceeded a TTL:
//
//	struct sock_extended_err: errno 4, origin 1, type 1, code 1, pad 1, info 4, data 4
//	struct sockaddr_in:       family 2, port 2, address 4, zero 8
func exceeded(control []byte) (who netip.Addr) {
	const icmpTimeExceeded, offender = 11, 16
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return who
	}
	for _, m := range messages {
		b := m.Data
		if m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_RECVERR && len(b) >= offender+8 &&
			b[4] == unix.SO_EE_ORIGIN_ICMP && b[5] == icmpTimeExceeded &&
			binary.NativeEndian.Uint16(b[offender:]) == unix.AF_INET {
			return netip.AddrFrom4([4]byte(b[offender+4:]))
		}
	}
	return who
}
