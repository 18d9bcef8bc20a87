//go:build linux

package programs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"simplebit/integration/natlab"
)

// NATSConfig says where a NATS server runs. Host and Dir are required.
type NATSConfig struct {
	// Host is where the server runs.
	Host *natlab.Host
	// Dir is the server's own folder: configuration, streams and log. It is made if it is not there.
	Dir string
	// Port is where the server listens. Default 4222.
	Port uint16
}

// NATS is a running nats-server with JetStream, as of version 2.9. What to know about it:
//
//   - Before 2.10 it knows no sync_interval and fsyncs every two minutes: kill -9 loses nothing, a power cut may.
//   - It takes connections some milliseconds before JetStream answers.
type NATS struct {
	*Process
	cfg     NATSConfig
	program string
}

// StartNATS starts a NATS server and returns when it takes connections. It ends with ctx.
func StartNATS(ctx context.Context, c NATSConfig) (*NATS, error) {
	if c.Port == 0 {
		c.Port = 4222
	}
	if _, err := (Config{Host: c.Host, Dir: c.Dir, Port: c.Port}).prepared(); err != nil {
		return nil, err
	}
	program, err := find(NATSServer)
	if err != nil {
		return nil, fmt.Errorf("programs: %w", err)
	}
	n := &NATS{cfg: c, program: program}
	settings := fmt.Sprintf("listen: %q\njetstream { store_dir: %q }\n", n.addr(), filepath.Join(c.Dir, "streams"))
	if err := os.WriteFile(n.file(), []byte(settings), 0o600); err != nil {
		return nil, fmt.Errorf("programs: configure %s: %w", NATSServer, err)
	}
	return n, n.Restart(ctx)
}

// Restart starts the server again, after Kill or Stop, with the same folder.
func (n *NATS) Restart(ctx context.Context) error {
	p, err := start(ctx, n.cfg.Host, n.cfg.Dir, n.program, "-c", n.file())
	if err != nil {
		return err
	}
	n.Process = p
	return p.waitAnswer(ctx, func(ctx context.Context) error {
		conn, err := n.cfg.Host.DialContext(ctx, "tcp", n.addr())
		if err != nil {
			return err
		}
		// The server speaks first: INFO and a description in JSON.
		hello := make([]byte, 5)
		_, err = conn.Read(hello)
		return errors.Join(err, conn.Close())
	})
}

// URL is what --nats wants.
func (n *NATS) URL() string { return "nats://" + n.addr() }

func (n *NATS) addr() string {
	return net.JoinHostPort(n.cfg.Host.Addr().String(), fmt.Sprint(n.cfg.Port))
}

func (n *NATS) file() string { return filepath.Join(n.cfg.Dir, "nats.conf") }
