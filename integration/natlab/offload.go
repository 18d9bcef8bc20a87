//go:build linux

package natlab

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// plain makes both ends of the machine's link send packets as a wire carries them, rather than in packets of up to 64 KiB
// whose checksums are not yet there.
func (m *machine) plain() error {
	for _, e := range []end{m.near, m.far} {
		if err := e.ns.do(func() error { return offloadsOff(e.device) }); err != nil {
			return fmt.Errorf("natlab: turn the offloads of %s in %s off: %w", e.device, e.ns.path, err)
		}
	}
	return nil
}

// offloadsOff turns those of an interface in the calling thread's namespace off, as `ethtool -K DEVICE tx off` does: the
// kernel does without segmentation where it cannot do without checksums. The interface may be gone.
func offloadsOff(device string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	value := struct{ command, on uint32 }{unix.ETHTOOL_STXCSUM, 0}
	request := struct {
		name  [unix.IFNAMSIZ]byte
		value unsafe.Pointer
		_     [16]byte // struct ifreq is a union
	}{value: unsafe.Pointer(&value)}
	copy(request.name[:unix.IFNAMSIZ-1], device)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
	if errno != 0 && !errors.Is(errno, unix.ENODEV) {
		return errno
	}
	return nil
}
