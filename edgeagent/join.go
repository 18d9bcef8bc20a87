package edgeagent

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"net"
	"net/netip"
	"os"

	"github.com/quic-go/quic-go"

	"simplebit/wire/control"
)

// Join enrols the device with the surrogate that the invite names, and stores
// where it belongs; Run works from then on. It returns the device's name in
// force. An agent that joined before moves to the new surrogate. A revoked key
// stays revoked: the device then joins with a new one.
func Join(ctx context.Context, cfg Config, inviteText string) (name string, err error) {
	cfg = cfg.withDefaults()
	invite, err := control.ParseInvite(inviteText)
	if err != nil {
		return "", err
	}
	state, err := openState(cfg.State)
	if err != nil {
		return "", err
	}
	defer state.close()
	key, err := state.key()
	if err != nil {
		return "", err
	}
	if cfg.Name == "" {
		cfg.Name, _ = os.Hostname()
	}
	home := surrogate{Addr: invite.Addr, Pin: invite.Pin.String(), TCP: invite.TCP}
	hello := control.Hello{Version: control.Version, Software: cfg.Software, Name: cmp.Or(cfg.Name, "device"), Token: invite.Token}
	home, err = enrol(ctx, home, key, hello)
	if refused := (control.Refused{}); errors.As(err, &refused) && refused.Code == control.RefusedRevoked {
		if key, err = state.newKey(); err != nil {
			return "", err
		}
		home, err = enrol(ctx, home, key, hello)
	}
	if err != nil {
		return "", err
	}
	return home.Name, state.saveSurrogate(home)
}

// enrol presents the key and the token, and returns the surrogate with what it said.
func enrol(ctx context.Context, home surrogate, key ed25519.PrivateKey, hello control.Hello) (surrogate, error) {
	socket, err := net.ListenPacket("udp", ":0")
	if err != nil {
		return home, err
	}
	defer socket.Close()
	transport := &quic.Transport{Conn: plainConn{socket}}
	defer transport.Close()
	c, err := connect(ctx, road{transport: transport, know: func(netip.AddrPort) error { return nil }}, home, key, hello)
	if err != nil {
		return home, err
	}
	defer c.close()
	return home.welcomed(c), nil
}

// plainConn hides what a UDP socket could do besides: with its SyscallConn quic-go
// would take 7 MB for buffers, which is much to ask of a router, and complain where
// it gets less.
type plainConn struct{ net.PacketConn }

// SetReadBuffer does nothing: the system's default is enough.
func (plainConn) SetReadBuffer(int) error { return nil }

// SetWriteBuffer does nothing, likewise.
func (plainConn) SetWriteBuffer(int) error { return nil }
