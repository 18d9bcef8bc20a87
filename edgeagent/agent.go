// Package edgeagent is the agent: it keeps a session with the surrogate, holds
// the torrents that the surrogate assigns, and runs their data plane.
//
// Desired state comes down the session and is stored before it is obeyed;
// observed state goes up. Without a surrogate the agent goes on with what it
// has. Everything durable lies in the state folder: the key, the surrogate's
// address and pin, and for each torrent its assignment, layout and journal.
package edgeagent

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/sync/errgroup"

	"simplebit/edgeagent/storage"
	"simplebit/edgeagent/swarm"
	"simplebit/wire/dial"
	"simplebit/wire/mse"
)

// Config configures an agent. State and Dir are needed.
type Config struct {
	State    string // state folder, made when missing
	Dir      string // download folder, made when missing
	Listen   string // host:port for peers (TCP and uTP) and the control connection; default ":6882"
	Name     string // wished device name when joining; default the host's name
	Memory   int64  // bytes for blocks in flight; default 4 MiB, at least 1 MiB, at most 16 GiB
	MaxPeers int    // connections of all torrents together; default 40
	Down, Up int64  // payload bytes/s of all torrents together; 0: no limit
	Software string // program and version, shown to the surrogate and to peers
	// Transports and Encryption are those of connections with peers; default dial.Both and mse.Prefer.
	Transports dial.Transports
	Encryption mse.Policy
	// NoPortMapping leaves the peer port closed on a router that would open it on request (PCP, NAT-PMP, UPnP).
	NoPortMapping bool
	Log           *slog.Logger

	retry       func(failures int) time.Duration // wait before the surrogate is tried again; default backoff
	reportEvery time.Duration                    // least time between two reports of a torrent; default 1 s
	retryQUIC   time.Duration                    // how often QUIC is tried while control runs over TCP; default 5 min
	tick        time.Duration                    // how often a running torrent is looked after; default 1 s
	saveEvery   time.Duration                    // how often its counters are stored; default 5 min
}

func (c Config) withDefaults() Config {
	c.Listen = cmp.Or(c.Listen, ":6882")
	c.Memory = min(cmp.Or(c.Memory, 4<<20), 16<<30)
	c.MaxPeers = cmp.Or(c.MaxPeers, 40)
	c.Software = cmp.Or(c.Software, "SimpleBit")
	c.Log = cmp.Or(c.Log, slog.New(slog.DiscardHandler))
	c.reportEvery = cmp.Or(c.reportEvery, time.Second)
	c.retryQUIC = cmp.Or(c.retryQUIC, 5*time.Minute)
	c.tick = cmp.Or(c.tick, time.Second)
	c.saveEvery = cmp.Or(c.saveEvery, saveEvery)
	if c.retry == nil {
		c.retry = func(failures int) time.Duration { return backoff(failures, rand.Float64()) }
	}
	return c
}

// Run runs the agent until ctx ends. It fails when the state folder cannot be
// used, when no surrogate has been joined, when the port is taken, and when the
// surrogate refuses the device for good (a control.Refused).
func Run(ctx context.Context, cfg Config) error {
	cfg = cfg.withDefaults()
	state, err := openState(cfg.State)
	if err != nil {
		return err
	}
	defer state.close()
	home, err := state.loadSurrogate()
	if err != nil {
		return err
	}
	key, err := state.key()
	if err != nil {
		return err
	}
	ports, err := listen(cfg)
	if err != nil {
		return err
	}
	defer ports.close()
	status, err := listenStatus(state.statusSocket())
	if err != nil {
		return err
	}
	defer status.Close()

	pool := storage.NewPool(cfg.Memory)
	set := &torrents{
		state: state, dir: cfg.Dir, pool: pool, log: cfg.Log,
		swarm: swarm.Config{
			Pool: pool, Dialer: ports.dialer(dial.Dialer{Encryption: cfg.Encryption}), Port: ports.number,
			Software: cfg.Software,
			Shared:   swarm.NewShared(swarm.SharedConfig{MaxPeers: cfg.MaxPeers, Down: cfg.Down, Up: cfg.Up}),
		},
		tick: cfg.tick, saveEvery: cfg.saveEvery,
		byID: map[infoHash]*torrent{}, changed: make(signal, 1),
	}
	defer set.wait()
	punching := newPunching(cfg, ports, set.answer, set.accept)
	ports.punched, set.swarm.Punched = punching.receive, punching.punched
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	tasks, ctx := errgroup.WithContext(ctx)
	if err := set.load(ctx); err != nil {
		return err
	}
	network := newNetwork(cfg, ports)
	punching.connected = set.peerAt
	punching.openerTTL = func() int { return network.current().OpenerTTL }
	s := &session{
		cfg: cfg, home: home, key: key, state: state, set: set, network: network, punching: punching, port: ports.number,
		relaying: &relaying{set: set, kept: punching.keeps, log: cfg.Log},
	}
	afloat, sink := context.WithCancel(context.WithoutCancel(ctx)) // the socket, until the surrogate has had its farewell
	tasks.Go(func() error { return ports.socket.Run(afloat) })
	tasks.Go(func() error {
		defer sink()
		return s.run(ctx, road{transport: &quic.Transport{Conn: ports.control}, know: ports.know})
	})
	tasks.Go(func() error { return network.run(ctx) })
	tasks.Go(func() error { return punching.run(ctx) })
	tasks.Go(func() error { return ports.run(ctx, newEntrance(set, cfg.Encryption, cfg.Log).serve) })
	tasks.Go(func() error { return serveStatus(ctx, status, s.status) })
	cfg.Log.Info("agent runs", "device", s.device(), "peers", ports.socket.LocalAddr().String(), "downloads", cfg.Dir, "surrogate", home.Addr)
	return tasks.Wait()
}

// signal is a wake-up that any number of senders may set.
type signal chan struct{}

func (s signal) set() {
	select {
	case s <- struct{}{}:
	default:
	}
}
