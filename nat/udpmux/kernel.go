package udpmux

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kernel is the system calls that move datagrams, so that tests can take them away.
type kernel struct {
	recvmmsg func(fd uintptr, m []mmsghdr) (int, syscall.Errno)
	sendmsg  func(fd uintptr, m *unix.Msghdr) syscall.Errno
	setGRO   func(fd uintptr, on int) error
}

// mmsghdr is the kernel's struct mmsghdr. Its alignment pads it at the end where the kernel does.
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32 // bytes received
}

var linux = kernel{
	recvmmsg: func(fd uintptr, m []mmsghdr) (int, syscall.Errno) {
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&m[0])), uintptr(len(m)), unix.MSG_DONTWAIT, 0, 0)
		return int(n), errno
	},
	sendmsg: func(fd uintptr, m *unix.Msghdr) syscall.Errno {
		_, _, errno := unix.Syscall(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(m)), unix.MSG_DONTWAIT)
		return errno
	},
	setGRO: func(fd uintptr, on int) error {
		return unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_GRO, on)
	},
}
