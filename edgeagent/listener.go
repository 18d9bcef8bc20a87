package edgeagent

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"simplebit/wire/dial"
)

// maxGreeting bounds incoming connections whose handshake is not done.
const maxGreeting = 32

// accept takes incoming peers until ctx ends and hands each to its torrent.
func accept(ctx context.Context, ln net.Listener, set *torrents, log *slog.Logger) error {
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
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
			time.Sleep(100 * time.Millisecond)
			continue
		}
		select {
		case greeting <- struct{}{}:
		default:
			c.Close()
			continue
		}
		go func() {
			defer func() { <-greeting }()
			greet(ctx, c, set, log)
		}()
	}
}

// greet shakes hands with an incoming peer.
func greet(ctx context.Context, c net.Conn, set *torrents, log *slog.Logger) {
	conn, err := dial.Accept(ctx, c, set.answer)
	if err != nil {
		log.Debug("incoming peer refused", "addr", c.RemoteAddr(), "err", err)
		c.Close()
		return
	}
	if t := set.get(conn.Peer.InfoHash); t != nil {
		if sw := t.running(); sw != nil {
			sw.Accept(conn)
			return
		}
	}
	conn.Close()
}
