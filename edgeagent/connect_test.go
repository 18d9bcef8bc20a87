package edgeagent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/sys/unix"

	"simplebit/wire/control"
	"simplebit/wire/link"
)

// deadConn is a socket on which nothing arrives.
type deadConn struct {
	net.PacketConn
	sending error // what becomes of what is sent
	ended   chan struct{}
	end     func()
}

func (c deadConn) WriteTo(b []byte, _ net.Addr) (int, error) { return len(b), c.sending }

func (c deadConn) ReadFrom([]byte) (int, net.Addr, error) {
	<-c.ended
	return 0, nil, net.ErrClosed
}

// SetReadDeadline is how quic-go ends reading.
func (c deadConn) SetReadDeadline(time.Time) error {
	c.end()
	return nil
}

func (c deadConn) LocalAddr() net.Addr { return &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1} }

func TestWhatKeepsTheSurrogateOutOfReachIsSaidInOneLine(t *testing.T) {
	key, pin := newKey(t), newHome(t).pin
	for name, c := range map[string]struct {
		sending error
		want    string
	}{
		"silence":  {nil, "surrogate 198.18.1.2:4433: no answer in 5s: check that it runs, and that UDP to port 4433 passes the firewalls on the way"},
		"no route": {unix.ENETUNREACH, "surrogate 198.18.1.2:4433: this device has no route to 198.18.1.2: check its network"},
		"firewall": {unix.EPERM, "surrogate 198.18.1.2:4433: this device's firewall forbids UDP to port 4433: allow it"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn := deadConn{ended: make(chan struct{})}
				conn.end = sync.OnceFunc(func() { close(conn.ended) })
				if c.sending != nil {
					conn.sending = &net.OpError{Op: "write", Err: os.NewSyscallError("sendto", c.sending)}
				}
				transport := &quic.Transport{Conn: plainConn{conn}}
				_, err := connect(t.Context(), road{transport: transport, know: func(netip.AddrPort) error { return nil }},
					surrogate{Addr: "198.18.1.2:4433", Pin: pin.String()}, key, control.Hello{})
				transport.Close()
				if err == nil || err.Error() != c.want {
					t.Errorf("got  %v\nwant %s", err, c.want)
				}
			})
		})
	}
}

func TestWhyTCPDoesNotLeadToTheSurrogateIsSaidToo(t *testing.T) {
	home, where := surrogate{Addr: "a.example.org:4433", TCP: 443}, netip.MustParseAddrPort("198.18.1.2:4433")
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", unix.ECONNREFUSED)}
	for tcp, want := range map[error]string{
		nil:                    "passes the firewalls on the way",
		refused:                "passes the firewalls on the way; by TCP to port 443: connection refused",
		errSilent:              "passes the firewalls on the way; by TCP to port 443: no answer in 5s",
		os.ErrDeadlineExceeded: "by TCP to port 443: no welcome in 10s: check that it has not too much to do",
		link.ErrClosed:         "by TCP to port 443: " + link.ErrClosed.Error(),
	} {
		got := unreachedByAny(home, where, [2]error{&quic.IdleTimeoutError{}, tcp})
		if !strings.HasPrefix(got.Error(), "surrogate a.example.org:4433: no answer in 5s: ") || !strings.HasSuffix(got.Error(), want) {
			t.Errorf("%v becomes %v", tcp, got)
		}
	}
}

func TestAWayThatCarriesSmallPacketsOnlyIsGuessed(t *testing.T) {
	at := netip.MustParseAddrPort("198.18.1.2:4433")
	for _, err := range []error{
		context.DeadlineExceeded, os.ErrDeadlineExceeded, &quic.HandshakeTimeoutError{}, fmt.Errorf("hello: %w", context.DeadlineExceeded),
	} {
		if got := unreached("a.example.org:4433", at, err).Error(); !strings.HasPrefix(got, "surrogate a.example.org:4433: not connected in 10s: ") ||
			!strings.Contains(got, "UDP to port 4433") || !strings.Contains(got, "1280 bytes") {
			t.Errorf("%v becomes %s", err, got)
		}
	}
	if got := unreached("a:1", at, context.Canceled); !errors.Is(got, context.Canceled) || got.Error() != "surrogate a:1: context canceled" {
		t.Errorf("being interrupted becomes %v", got)
	}
}
