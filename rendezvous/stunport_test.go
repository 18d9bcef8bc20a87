package rendezvous

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"simplebit/nat/stun"
)

// newReader is a port on loopback whose read runs; its end is told. The socket is told of what its answers meet.
func newReader(t *testing.T) (p *stunPort, ended chan error) {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVERR, 1) }); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	if p, err = newSTUNPort(conn, false); err != nil {
		t.Fatal(err)
	}
	if p.server, err = stun.NewServer(stun.Config{Ports: []uint16{p.bound.Port()}}); err != nil {
		t.Fatal(err)
	}
	p.all = []*stunPort{p}
	ended = make(chan error, 1)
	go func() { ended <- p.read() }()
	return p, ended
}

func TestSTUNIsAnsweredAfterErrorsOfReceiving(t *testing.T) {
	p, ended := newReader(t)
	c := newAsker(t, "udp4", "127.0.0.1:0")
	for range 3 * maxSTUNFailures / 2 { // with answers between them
		gone, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		gone.Close()
		// What is sent to somebody who has gone meets an ICMP message, and receiving fails.
		_, _ = p.conn.WriteToUDPAddrPort([]byte("hello"), gone.LocalAddr().(*net.UDPAddr).AddrPort())
		if _, err := c.Binding(t.Context(), p.bound, stun.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	p.conn.Close()
	if err := <-ended; err != nil {
		t.Errorf("reading ended: %v", err)
	}
}

func TestASocketThatOnlyFailsIsBroken(t *testing.T) {
	p, ended := newReader(t)
	p.conn.SetReadDeadline(time.Unix(1, 0))
	if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("reading ended: %v", err)
	}
}
