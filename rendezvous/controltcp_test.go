package rendezvous

import (
	"context"
	"net"
	"net/netip"
	"testing"

	"github.com/quic-go/quic-go"
	"golang.org/x/sys/unix"

	"simplebit/wire/control"
	"simplebit/wire/link"
)

// hello says hello on a new connection, and that there is nothing to tell, and returns the answer.
func hello(t *testing.T, c link.Conn, h control.Hello) control.Welcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	stream, err := c.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := control.WriteMessage(stream, h); err != nil {
		t.Fatal(err)
	}
	m, _, err := control.ReadHeader(stream)
	if err != nil {
		t.Fatal(err)
	}
	welcome, ok := m.(control.Welcome)
	if !ok {
		t.Fatalf("answered with %+v", m)
	}
	if err := control.WriteMessage(stream, control.Synced{}); err != nil {
		t.Fatal(err)
	}
	return welcome
}

func TestDevicesWithoutUDPReachTheSurrogateOverTCP(t *testing.T) {
	cfg := local(t)
	cfg.ControlTCP = "127.0.0.1:0"
	s := serve(t, cfg)
	at := netip.MustParseAddrPort(s.ControlTCP)
	invite, err := control.ParseInvite(s.invite())
	if err != nil || invite.TCP != at.Port() {
		t.Fatalf("the invite names TCP port %d (%v), want %v", invite.TCP, err, at)
	}
	key, err := control.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	conf, err := control.AgentTLS(key, invite.Pin)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tcp, err := link.DialTCP(ctx, at, conf)
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close(0, "")
	if got := hello(t, tcp, control.Hello{Version: control.Version, Name: "attic", Token: invite.Token}); got.TCP != at.Port() || got.Observed != tcp.Local() {
		t.Errorf("welcome is %+v", got)
	}
	over := func(want string) func() bool {
		return func() bool {
			d, err := s.api().Device(context.Background(), "attic")
			return err == nil && d.Online && d.Control == want
		}
	}
	eventually(t, "the device is shown over TCP", over("tcp"))
	c, err := quic.DialAddr(ctx, s.Control, conf, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseWithError(0, "")
	hello(t, link.FromQUIC(c), control.Hello{Version: control.Version, Name: "attic"})
	eventually(t, "the device is shown over QUIC", over("quic"))
	select {
	case <-tcp.Done():
	case <-ctx.Done():
		t.Error("the session over TCP goes on")
	}
	eventually(t, "the device is still shown over QUIC", over("quic"))
}

func TestWithoutAPortForTCPNoneIsNamed(t *testing.T) {
	s := serve(t, local(t))
	if invite, err := control.ParseInvite(s.invite()); err != nil || invite.TCP != 0 || s.ControlTCP != "" {
		t.Errorf("the invite names TCP port %d (%v), the surrogate %q", invite.TCP, err, s.ControlTCP)
	}
}

func TestTheKernelKeepsNoControlConnectionAlive(t *testing.T) {
	l, err := listenTCP(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	device, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		if on, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE); on != 0 || err != nil {
			t.Errorf("SO_KEEPALIVE is %d, %v", on, err)
		}
	})
}
