package edgeagent

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"simplebit/wire/dial"
	"simplebit/wire/mse"
)

// maxGreeting bounds incoming connections whose handshake is not done.
const maxGreeting = 32

// accept takes incoming peers until ctx ends and hands each to its torrent.
func accept(ctx context.Context, ln net.Listener, set *torrents, encryption mse.Policy, log *slog.Logger) error {
	door := dial.Acceptor{Answer: set.answer, Find: set.find, Encryption: encryption}
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	var greets sync.WaitGroup
	defer greets.Wait()
	greeting := make(chan struct{}, maxGreeting)
	for {
		c, err := ln.Accept()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil:
			log.Warn("incoming peers cannot be accepted for a moment", "err", err)
			pause(ctx)
			continue
		}
		select {
		case greeting <- struct{}{}:
		default:
			c.Close()
			continue
		}
		greets.Go(func() {
			defer func() { <-greeting }()
			greet(ctx, c, door, set, log)
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

// greet shakes hands with an incoming peer.
func greet(ctx context.Context, c net.Conn, door dial.Acceptor, set *torrents, log *slog.Logger) {
	conn, err := dial.Accept(ctx, c, door)
	if err != nil {
		log.Debug("incoming peer refused", "addr", c.RemoteAddr(), "err", err)
		return
	}
	set.accept(conn)
}
