package swarm

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"simplebit/wire/peer"
)

// A vectorConn reads from a TCP connection of the kernel's into several buffers with one system call.
type vectorConn struct {
	net.Conn
	raw  syscall.RawConn
	try  func(fd uintptr) (done bool) // reads into bufs; made once, so that nothing is allocated for a read
	bufs [][]byte
	n    int
	err  error
}

// vectored makes a connection a [peer.VectorReader] where it can be one.
func vectored(c net.Conn) io.Reader {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return c
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return c
	}
	v := &vectorConn{Conn: c, raw: raw}
	v.try = func(fd uintptr) bool {
		for {
			v.n, v.err = unix.Readv(int(fd), v.bufs)
			if !errors.Is(v.err, unix.EINTR) {
				return !errors.Is(v.err, unix.EAGAIN)
			}
		}
	}
	return v
}

var _ peer.VectorReader = (*vectorConn)(nil)

func (v *vectorConn) ReadVector(bufs [][]byte) (int, error) {
	v.bufs = bufs
	err := v.raw.Read(v.try)
	v.bufs = nil
	switch {
	case err != nil:
		return 0, err
	case v.err != nil:
		return 0, os.NewSyscallError("readv", v.err)
	case v.n <= 0:
		return 0, io.EOF
	}
	return v.n, nil
}
