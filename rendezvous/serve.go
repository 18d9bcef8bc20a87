package rendezvous

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/sync/errgroup"

	"simplebit/rendezvous/account"
	"simplebit/rendezvous/api"
	"simplebit/rendezvous/front"
	"simplebit/rendezvous/job"
	"simplebit/rendezvous/session"
	"simplebit/rendezvous/store"
	"simplebit/rendezvous/tracker"
	"simplebit/wire/control"
	"simplebit/wire/dial"
)

// peerIDPrefix names the client in its peer ids (BEP 20).
const peerIDPrefix = "-SB0100-"

// Serve runs a surrogate until ctx ends. ready, if not nil, is called when
// everything listens.
func Serve(ctx context.Context, cfg Config, ready func(Info)) error {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return err
	}
	db, err := store.Open(ctx, store.Config{Dir: filepath.Join(cfg.Data, "store"), Log: cfg.Log})
	if err != nil {
		return err
	}
	defer db.Close()
	s, err := open(ctx, cfg, db)
	if err != nil {
		return err
	}
	defer s.jobs.Close()
	l, err := s.listen()
	if err != nil {
		return err
	}
	defer l.close()
	if ready != nil {
		ready(Info{HTTP: l.http.Addr().String(), Control: l.quic.Addr().String(), InviteAddr: s.inviteAddr, TokenFile: TokenFile(cfg.Data)})
	}
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.Go(func() error { return s.hub.Serve(ctx, l.quic) })
	tasks.Go(func() error { return serveHTTP(ctx, l.http, s.handler(false)) })
	tasks.Go(func() error { return serveHTTP(ctx, l.admin, s.handler(true)) })
	return tasks.Wait()
}

// Info is where a running surrogate is reached.
type Info struct {
	HTTP       string // host:port of the API
	Control    string // host:port of the control socket
	InviteAddr string // host:port in invites
	TokenFile  string // the administrator's token
}

// surrogate is the parts, wired.
type surrogate struct {
	cfg        Config
	accounts   *account.Accounts
	devices    *devices
	jobs       *job.Manager
	hub        *session.Hub
	token      string
	inviteAddr string
	pin        control.Pin
}

// open builds the parts on the store and starts the stored jobs.
func open(ctx context.Context, cfg Config, db *store.Store) (*surrogate, error) {
	s := &surrogate{cfg: cfg}
	port, err := peerPort(cfg.Peer)
	if err != nil {
		return nil, err
	}
	g, err := newGuard(cfg.AllowPrivate, cfg.Public, port)
	if err != nil {
		return nil, err
	}
	if s.accounts, err = account.Open(ctx, db); err != nil {
		return nil, err
	}
	if s.token, err = account.AdminToken(TokenFile(cfg.Data)); err != nil {
		return nil, err
	}
	if s.inviteAddr, err = inviteAddr(cfg.Public, cfg.Control, g.dialable); err != nil {
		return nil, err
	}
	if s.devices, err = loadDevices(ctx, s.accounts); err != nil {
		return nil, err
	}
	records, err := store.OpenTable[job.Record](ctx, db, "jobs")
	if err != nil {
		return nil, err
	}
	infos, err := db.OpenBlobs(ctx, "infos")
	if err != nil {
		return nil, err
	}
	s.hub = session.NewHub(session.Config{Admitter: s.devices, Jobs: wishes{s}, Software: cfg.Software, Log: cfg.Log})
	s.devices.hub = s.hub

	peerID := newPeerID()
	peers := front.New(front.Config{
		Dialer: &dial.Dialer{Net: &net.Dialer{Control: g.control}}, PeerID: peerID, Software: cfg.Software, Log: cfg.Log,
	})
	s.jobs, err = job.Open(ctx, job.Config{
		Store: records, Infos: infos, Metadata: metadata{peers}, Devices: s.devices, Dialable: g.candidate, Log: cfg.Log,
		Trackers: trackers{
			client: tracker.NewClient(tracker.Config{Control: g.control, UserAgent: cfg.Software}),
			peerID: peerID, port: port, log: cfg.Log,
		},
	})
	return s, err
}

// peerPort is the port that is announced to trackers.
func peerPort(addr string) (uint16, error) {
	_, text, err := net.SplitHostPort(addr)
	if err != nil {
		return 0, fmt.Errorf("--peer %q: want HOST:PORT or :PORT", addr)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return 0, fmt.Errorf("--peer %q: want a port from 1 to 65535", addr)
	}
	return uint16(port), nil
}

func newPeerID() (id [20]byte) {
	copy(id[:], peerIDPrefix)
	rand.Read(id[len(peerIDPrefix):])
	return id
}

// listeners are the open ports.
type listeners struct {
	http, admin net.Listener
	socket      net.PacketConn // of quic
	transport   *quic.Transport
	quic        *quic.Listener
}

// listen opens all ports or none.
func (s *surrogate) listen() (_ *listeners, err error) {
	l := &listeners{}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if l.http, err = net.Listen("tcp", s.cfg.HTTP); err != nil {
		return nil, fmt.Errorf("HTTP port: %w: choose another with --http", err)
	}
	socket := AdminSocket(s.cfg.Data)
	os.Remove(socket) // the store's lock says that its surrogate is dead
	if l.admin, err = net.Listen("unix", socket); err != nil {
		return nil, fmt.Errorf("administration socket: %w: choose a shorter path with --data", err)
	}
	if err = os.Chmod(socket, 0o600); err != nil {
		return nil, err
	}
	deployment, err := s.accounts.DeploymentKey(context.Background())
	if err != nil {
		return nil, err
	}
	own, err := s.accounts.SurrogateKey(context.Background())
	if err != nil {
		return nil, err
	}
	tlsConfig, err := control.SurrogateTLS(own, deployment)
	if err != nil {
		return nil, err
	}
	s.pin = control.PinOf(publicKey(deployment))
	if l.socket, err = net.ListenPacket("udp", s.cfg.Control); err != nil {
		return nil, fmt.Errorf("control port: %w: choose another with --control", err)
	}
	l.transport = &quic.Transport{Conn: l.socket, StatelessResetKey: resetKey(own)}
	l.quic, err = l.transport.Listen(tlsConfig, session.QUICConfig())
	return l, err
}

// resetKey derives what stateless resets (RFC 9000 section 10.3) are made with.
// It outlives the process, so that agents of a surrogate that was killed learn
// that from the first packet they send to its successor.
func resetKey(own ed25519.PrivateKey) *quic.StatelessResetKey {
	key := quic.StatelessResetKey(sha256.Sum256(append([]byte("simplebit stateless reset "), own.Seed()...)))
	return &key
}

func (l *listeners) close() {
	for _, ln := range []net.Listener{l.http, l.admin} {
		if ln != nil {
			ln.Close()
		}
	}
	if l.transport != nil {
		l.transport.Close()
	}
	if l.socket != nil {
		l.socket.Close()
	}
}

func (s *surrogate) handler(local bool) http.Handler {
	return api.New(api.Config{
		Jobs: jobs{s.jobs}, Devices: s.devices, Invites: s, Log: s.cfg.Log, Local: local,
		Authorize: func(token string) bool { return account.CheckToken(s.token, token) },
	})
}

// serveHTTP serves until ctx ends and then lets running requests end.
func serveHTTP(ctx context.Context, ln net.Listener, h http.Handler) error {
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 6 * time.Minute,
		WriteTimeout: 10 * time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
	}
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		patience, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		srv.Shutdown(patience)
	})
	err := srv.Serve(ln)
	if stop() || !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	<-done
	return nil
}
