package rendezvous

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"simplebit/nat/udpmux"
)

// splitter has the kernel give a socket's port what is framed as STUN (see [udpmux.Surrogate]): it returns the number of the
// socket that gets a datagram, 1 for STUN. Offsets count from the UDP payload; to load what is not there returns 0.
var splitter = []unix.SockFilter{
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 0}, // two zero bits
	{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: 0xc0, Jt: 6},
	{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_LEN}, // and the length
	{Code: unix.BPF_MISC | unix.BPF_TAX},
	{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: 2},
	{Code: unix.BPF_ALU | unix.BPF_ADD | unix.BPF_K, K: 20},
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_X, Jf: 1},
	{Code: unix.BPF_RET | unix.BPF_K, K: 1},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0},
}

// splitSTUN opens a second socket on the control socket's port, to which the kernel gives what is STUN from then on: a flood
// of it fills a buffer of its own (SO_ATTACH_REUSEPORT_CBPF, Linux 4.5). Nobody took the port by mistake: the first socket was
// bound without SO_REUSEPORT. It fails where the kernel cannot, and leaves the control socket as it was.
func splitSTUN(control *net.UDPConn) (*net.UDPConn, error) {
	raw, err := control.SyscallConn()
	if err != nil {
		return nil, err
	}
	if err := setReusePort(raw, 1); err != nil {
		return nil, err
	}
	open := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return setReusePort(c, 1) }}
	pc, err := open.ListenPacket(context.Background(), "udp", control.LocalAddr().String())
	if err == nil {
		var failed error
		err = raw.Control(func(fd uintptr) {
			failed = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF,
				&unix.SockFprog{Len: uint16(len(splitter)), Filter: &splitter[0]})
		})
		if err = errors.Join(err, failed); err == nil {
			return pc.(*net.UDPConn), nil
		}
		pc.Close()
	}
	_ = setReusePort(raw, 0)
	return nil, fmt.Errorf("splitting the port: %w", err)
}

func setReusePort(c syscall.RawConn, on int) (err error) {
	failed := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, on) })
	return errors.Join(failed, err)
}

// controlConn is the control socket, as quic-go reads it where the kernel does not split it: what is framed as STUN is
// answered on the way, all else is QUIC's, which keeps what it does with the socket itself: explicit congestion
// notification, segmentation offload, and answers that leave from the address that was asked.
type controlConn struct {
	*net.UDPConn
	batches *ipv4.PacketConn
	routes  *udpmux.Routes
	stun    *stunPort
}

func newControlConn(conn *net.UDPConn, s *stunPort) *controlConn {
	return &controlConn{conn, ipv4.NewPacketConn(conn), udpmux.NewRoutes(udpmux.Surrogate), s}
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
			if from != nil && c.routes.Classify(from.AddrPort(), b) == udpmux.STUN {
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
