package rendezvous

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"simplebit/rendezvous/account"
	"simplebit/rendezvous/api"
	"simplebit/rendezvous/broker"
	"simplebit/rendezvous/job"
	"simplebit/rendezvous/relay"
	"simplebit/rendezvous/session"
	"simplebit/rendezvous/store"
	"simplebit/wire/control"
)

// Serve runs a surrogate until ctx ends. ready, if not nil, is called when
// everything listens.
func Serve(ctx context.Context, cfg Config, ready func(Info)) error {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return err
	}
	db, err := store.Open(ctx, cfg.storeConfig())
	if err != nil {
		return err
	}
	defer db.Close()
	accounts, err := account.Open(ctx, db)
	if err != nil {
		return err
	}
	k, err := loadKeys(ctx, accounts)
	if err != nil {
		return err
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return err
	}
	l, err := listen(cfg, k, own) // before any job contacts anybody
	if err != nil {
		return err
	}
	defer l.close()
	s := &surrogate{
		cfg: cfg, accounts: accounts, pin: control.PinOf(publicKey(k.deployment)),
		control: l.quic.Addr().(*net.UDPAddr).AddrPort(), controlTCP: l.tcpPort(),
	}
	if err := s.open(ctx, db, l, own); err != nil {
		return err
	}
	defer s.close()
	if ready != nil {
		ready(Info{HTTP: l.http.Addr().String(), Control: l.quic.Addr().String(), ControlTCP: l.tcpAddr(), STUNAlt: l.stun.altAddr(), Peer: l.peers.addr, InviteAddr: s.inviteAddr, TokenFile: TokenFile(cfg.Data)})
	}
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.Go(func() error { return db.Hold(ctx) })
	tasks.Go(func() error { return s.broker.Run(ctx) })
	for _, devices := range l.links {
		tasks.Go(func() error { return s.hub.Serve(ctx, devices) })
	}
	tasks.Go(func() error { return l.stun.run(ctx) })
	tasks.Go(func() error { return s.peering.run(ctx) })
	tasks.Go(func() error { return serveHTTP(ctx, l.http, s.handler(false)) })
	tasks.Go(func() error { return serveHTTP(ctx, l.admin, adminHandler(db, s.handler(true), cfg.Log)) })
	return tasks.Wait()
}

// Info is where a running surrogate is reached.
type Info struct {
	HTTP       string // host:port of the API
	Control    string // host:port of the control socket
	ControlTCP string // host:port for devices whose UDP does not get through; empty: none
	STUNAlt    string // host:port of the second STUN port; empty: none
	Peer       string // host:port for peers
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
	broker     *broker.Broker
	relays     *relay.Relays
	punched    punchCounts
	token      string
	inviteAddr string
	pin        control.Pin
	control    netip.AddrPort // where devices are listened for
	controlTCP uint16         // the port for those without UDP; 0: none
	peering    *peering
}

// open builds the parts on the store and starts the stored jobs.
func (s *surrogate) open(ctx context.Context, db *store.Store, l *listeners, own []net.Addr) (err error) {
	cfg := s.cfg
	g := newGuard(cfg.AllowPrivate, cfg.Public, own, l.peers.number)
	if s.token, err = account.AdminToken(TokenFile(cfg.Data)); err != nil {
		return err
	}
	if s.inviteAddr, err = inviteAddr(cfg.Public, s.control, own, g.dialable); err != nil {
		return err
	}
	if s.devices, err = loadDevices(ctx, s.accounts); err != nil {
		return err
	}
	records, err := store.OpenTable[job.Record](ctx, db, "jobs")
	if err != nil {
		return err
	}
	blobs, err := db.OpenBlobs(ctx, "infos")
	if err != nil {
		return err
	}
	s.hub = session.NewHub(session.Config{Admitter: s.devices, Jobs: wishes{s}, Software: cfg.Software, STUN: l.stun.reachedAt, TCP: s.controlTCP, Log: cfg.Log})
	s.devices.hub = s.hub
	limits := broker.Config{Relays: relay.MaxTotal, DeviceRelays: relay.MaxPerDevice, Log: cfg.Log}
	limits.Carried = func(a, b control.DeviceID, torrent [20]byte) int64 { return s.relays.Carried(a, b, torrent) }
	if cfg.NoRelay {
		limits.Relays = 0
	}
	s.broker = broker.New(reach{s}, limits)
	s.relays = relay.New(relay.Config{Rate: cfg.relayRate(), UserRate: cfg.RelayUserRate, Open: s.hub.Open, Ended: s.broker.Relayed, Log: cfg.Log})

	if s.peering, err = newPeering(ctx, cfg, l.peers, g, db); err != nil {
		return err
	}
	s.jobs, err = job.Open(ctx, job.Config{Store: records, Infos: infos{blobs}, Swarms: s.peering.torrents, Devices: s.devices, Log: cfg.Log})
	s.devices.jobs = s.jobs
	return err
}

// close ends the jobs and their part in swarms.
func (s *surrogate) close() {
	s.relays.Close()
	s.jobs.Close()
	s.peering.close()
}

func (s *surrogate) handler(local bool) http.Handler {
	return api.New(api.Config{
		Jobs: jobs{s.jobs, s.broker, s.relays, s.devices, s.gone}, Devices: s.devices, Invites: s, Log: s.cfg.Log, Local: local,
		Ready:     func(ctx context.Context) error { _, err := s.accounts.Devices(ctx); return err }, // the store answers
		Metrics:   s.metrics,
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
		if srv.Shutdown(patience) != nil {
			srv.Close()
		}
	})
	err := srv.Serve(ln)
	if stop() || !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	<-done
	return nil
}
