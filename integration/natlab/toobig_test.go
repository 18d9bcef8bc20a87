//go:build linux

package natlab

import (
	"errors"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestPacketsTooLongForALinkAreAnsweredWithItsSize(t *testing.T) {
	Require(t)
	t.Parallel()
	lab, err := New(Config{Core: &CoreConfig{}})
	if err != nil {
		t.Fatal(err)
	}
	defer lab.Close()
	attic, err := lab.Host("attic")
	if err != nil {
		t.Fatal(err)
	}
	cellar, err := lab.Host("cellar")
	if err != nil {
		t.Fatal(err)
	}
	const mtu = 1300
	if err := lab.core.do(func() error { return batch(toolIP, "link set to-cellar mtu 1300") }); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{cellar.Addr().String(), cellar.Addr6().String()} {
		c, err := attic.DialContext(t.Context(), "udp", net.JoinHostPort(to, "9"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		raw, err := c.(*net.UDPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		known := 0
		for deadline := time.Now().Add(time.Minute); known != mtu && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			_, err := c.Write(make([]byte, 1400))
			if err != nil && !errors.Is(err, unix.EMSGSIZE) && !errors.Is(err, unix.ECONNREFUSED) {
				t.Fatal(err)
			}
			raw.Control(func(fd uintptr) {
				level, name := unix.IPPROTO_IP, unix.IP_MTU
				if c.LocalAddr().(*net.UDPAddr).IP.To4() == nil {
					level, name = unix.IPPROTO_IPV6, unix.IPV6_MTU
				}
				known, _ = unix.GetsockoptInt(int(fd), level, name)
			})
		}
		if known != mtu {
			t.Errorf("the path to %s takes %d bytes, says the kernel, want %d", to, known, mtu)
		}
	}
}
