package store

import (
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/nats-io/nats-server/v2/server"
)

// streamsDir is where the server keeps a folder for each bucket: in its global account, "$G".
func streamsDir(dir string) string {
	return filepath.Join(dir, server.JetStreamStoreDir, "$G", "streams")
}

// startServer runs an embedded server without any listener. It returns when everything stored is loaded.
func startServer(c Config) (*server.Server, error) {
	srv, err := server.NewServer(&server.Options{
		ServerName:             "simplebit", // JetStream's node name is made of it, so it must not change between starts
		DontListen:             true,
		NoSigs:                 true,
		JetStream:              true,
		DisableJetStreamBanner: true,
		StoreDir:               c.Dir,
		SyncAlways:             true, // without it an acknowledged write is fsynced up to two minutes later
		JetStreamMaxMemory:     c.MaxMemory,
		JetStreamMaxStore:      c.MaxStore + defaultReserve, // ours comes first: the server's would refuse deletions too
	})
	if err != nil {
		return nil, fmt.Errorf("store in %s: configuring the embedded server: %w", c.Dir, err)
	}
	l := &serverLog{log: c.Log.With("part", "nats"), fatal: make(chan string, 1)}
	srv.SetLoggerV2(l, false, false, false)
	srv.Start()
	select {
	case reason := <-l.fatal:
		srv.Shutdown()
		srv.WaitForShutdown()
		return nil, fmt.Errorf("store in %s: the embedded server does not start: %s", c.Dir, reason)
	default:
		return srv, nil
	}
}

// serverLog hands the server's warnings and errors to slog; its notices are a page of banner at every start.
type serverLog struct {
	log   *slog.Logger
	fatal chan string // the first fatal message: after it Start returns without having started
}

func (l *serverLog) Noticef(string, ...any) {}
func (l *serverLog) Debugf(string, ...any)  {}
func (l *serverLog) Tracef(string, ...any)  {}

func (l *serverLog) Warnf(format string, v ...any)  { l.log.Warn(fmt.Sprintf(format, v...)) }
func (l *serverLog) Errorf(format string, v ...any) { l.log.Error(fmt.Sprintf(format, v...)) }

func (l *serverLog) Fatalf(format string, v ...any) {
	reason := fmt.Sprintf(format, v...)
	l.log.Error(reason)
	select {
	case l.fatal <- reason:
	default:
	}
}
