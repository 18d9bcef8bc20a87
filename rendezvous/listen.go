package rendezvous

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"github.com/quic-go/quic-go"

	"simplebit/rendezvous/account"
	"simplebit/rendezvous/session"
	"simplebit/wire/control"
	"simplebit/wire/link"
)

// listeners are the open ports.
type listeners struct {
	http, admin net.Listener
	socket      *net.UDPConn // of quic and stun
	stun        *stunService
	peers       *peerPort
	transport   *quic.Transport
	quic        *quic.Listener
	tcp         net.Listener    // for devices; nil: none
	links       []link.Listener // quic, and tcp
}

// listen opens all ports or none. The caller holds the store's lock. own is the machine's addresses.
func listen(cfg Config, keys keys, own []net.Addr) (_ *listeners, err error) {
	l := &listeners{}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if l.http, err = net.Listen("tcp", cfg.HTTP); err != nil {
		return nil, fmt.Errorf("HTTP port: %w: choose another with --http", err)
	}
	socket := AdminSocket(cfg.Data)
	os.Remove(socket) // the store's lock says that its surrogate is dead
	if l.admin, err = net.Listen("unix", socket); err != nil {
		return nil, fmt.Errorf("administration socket: %w: choose a shorter path with --data", err)
	}
	if err = os.Chmod(socket, 0o600); err != nil {
		return nil, err
	}
	tlsConfig, err := control.SurrogateTLS(keys.own, keys.deployment)
	if err != nil {
		return nil, err
	}
	if l.peers, err = listenPeers(cfg); err != nil {
		return nil, err
	}
	pc, err := net.ListenPacket("udp", cfg.Control)
	if err != nil {
		return nil, fmt.Errorf("control port: %w: choose another with --control", err)
	}
	l.socket = pc.(*net.UDPConn)
	if l.stun, err = listenSTUN(cfg, l.socket, own); err != nil {
		return nil, err
	}
	l.transport = &quic.Transport{Conn: l.stun.quic, StatelessResetKey: resetKey(keys.own)}
	link.LimitQUIC(l.transport, link.Limits{})
	if l.quic, err = l.transport.Listen(tlsConfig, session.QUICConfig()); err != nil {
		return nil, err
	}
	l.links = []link.Listener{link.ListenQUIC(l.quic)}
	if cfg.ControlTCP != "" {
		if l.tcp, err = listenTCP(context.Background(), cfg.ControlTCP); err != nil {
			return nil, err
		}
		l.links = append(l.links, link.ListenTCP(l.tcp, tlsConfig, link.Limits{}))
	}
	return l, nil
}

// listenTCP opens the port for devices whose UDP does not get through. Their links have pings of their own: the kernel's would be
// traffic beside them, every 15 s.
func listenTCP(ctx context.Context, address string) (net.Listener, error) {
	c := net.ListenConfig{KeepAlive: -1}
	l, err := c.Listen(ctx, "tcp", address)
	if err != nil {
		advice := "choose another with --control-tcp"
		if errors.Is(err, syscall.EACCES) {
			advice += ", or allow this program ports below 1024 (CAP_NET_BIND_SERVICE)"
		}
		return nil, fmt.Errorf("control port over TCP: %w: %s", err, advice)
	}
	return l, nil
}

// tcpAddr is where devices are listened for over TCP; empty: nowhere.
func (l *listeners) tcpAddr() string {
	if l.tcp == nil {
		return ""
	}
	return l.tcp.Addr().String()
}

// tcpPort is the port of tcpAddr; 0: none.
func (l *listeners) tcpPort() uint16 {
	if l.tcp == nil {
		return 0
	}
	return l.tcp.Addr().(*net.TCPAddr).AddrPort().Port()
}

// keys are a surrogate's own key and the deployment's, which signs it.
type keys struct{ own, deployment ed25519.PrivateKey }

func loadKeys(ctx context.Context, a *account.Accounts) (k keys, err error) {
	if k.deployment, err = a.DeploymentKey(ctx); err != nil {
		return k, err
	}
	k.own, err = a.SurrogateKey(ctx)
	return k, err
}

// resetKey derives what stateless resets (RFC 9000 section 10.3) are made with.
// It outlives the process, so that agents of a surrogate that was killed learn
// that from the first packet they send to its successor.
func resetKey(own ed25519.PrivateKey) *quic.StatelessResetKey {
	key := quic.StatelessResetKey(sha256.Sum256(append([]byte("simplebit stateless reset "), own.Seed()...)))
	return &key
}

func (l *listeners) close() {
	for _, ln := range []net.Listener{l.http, l.admin, l.tcp} {
		if ln != nil {
			ln.Close()
		}
	}
	if l.transport != nil {
		l.transport.Close()
	}
	if l.stun != nil {
		l.stun.close()
	}
	if l.socket != nil {
		l.socket.Close()
	}
	if l.peers != nil {
		l.peers.close()
	}
}
