package edgeagent

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"simplebit/wire/dial"
	"simplebit/wire/mse"
)

const (
	// maxGreeting bounds the incoming connections of a listener whose handshake is not done, and maxGreetingHost those of one host.
	maxGreeting     = 32
	maxGreetingHost = 4
	// maxExchanges is how many encryption handshakes of strangers are computed in a second, on average. One takes some ten
	// milliseconds of a router, which is to move other bytes.
	maxExchanges = 5
)

// newEntrance returns the entrance of a device: all of its listeners share one, and what it computes for strangers.
func newEntrance(set *torrents, encryption mse.Policy, log *slog.Logger) *entrance {
	return &entrance{
		door: dial.Acceptor{
			Answer: set.answer, Find: set.find, Any: set.anyRuns,
			Exchanges: dial.NewExchanges(1, maxExchanges), Encryption: encryption,
		},
		take: set.accept, log: log, punched: set.swarm.Punched,
	}
}

// anyRuns reports whether there is a torrent that a peer may come for.
func (s *torrents) anyRuns() bool {
	return slices.ContainsFunc(s.all(), func(t *torrent) bool { return t.running() != nil })
}

// entrance is where peers come in.
type entrance struct {
	door dial.Acceptor
	take func(*dial.Conn) // those who are welcome
	log  *slog.Logger

	punched func(*dial.Conn) bool // whether a connection is on a path to another device; nil: none is
}

// serve takes what comes from ln until ctx ends.
func (e *entrance) serve(ctx context.Context, ln net.Listener) error {
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	var greets sync.WaitGroup
	defer greets.Wait()
	greetings := dial.NewGreetings(maxGreeting, maxGreetingHost)
	for {
		c, err := ln.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				dial.Abort(c)
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil:
			e.log.Warn("incoming peers cannot be accepted for a moment", "err", err)
			pause(ctx)
			continue
		}
		greeting, done := greetings.Begin(ctx, dial.Remote(c).Addr())
		greets.Go(func() {
			conn, err := dial.Accept(greeting, c, e.door)
			done()
			if err != nil {
				level := slog.LevelDebug
				if errors.Is(err, mse.ErrPolicy) && e.punched != nil && e.punched(&dial.Conn{Conn: c}) {
					level = slog.LevelInfo // the path will carry nothing
				}
				e.log.Log(ctx, level, "incoming peer refused", "addr", c.RemoteAddr(), "err", err)
				return
			}
			e.take(conn)
		})
	}
}

// pause waits until the system may have resources again, such as files to open.
func pause(ctx context.Context) {
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
	}
}
