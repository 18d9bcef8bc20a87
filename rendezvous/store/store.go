// Package store keeps the surrogate's durable state: tables of JSON records (NATS key-value buckets, history 1) and blobs of
// up to 32 MiB (a NATS object store) in an embedded NATS JetStream server that lives in this process and listens nowhere.
//
// What it promises:
//
//   - A Put, Create, Update or Delete that returned nil has been fsynced. One that returned an error may or may not have
//     happened (the acknowledgement can be lost, the write is not); repeating it is always safe.
//   - One record changes atomically, and Update is a compare-and-swap loop, so any number of goroutines may race for a record.
//     Nothing spans two records.
//   - One folder belongs to one process: a second Open fails with ErrInUse.
//   - A folder with damage in front of acknowledged records is refused (ErrDamaged) and left as it is. A torn last record, as
//     a power cut leaves it, was never acknowledged: it is dropped and logged.
//   - A write that would leave less than 32 MiB free on the disk is refused with ErrFull while reads go on; it works again as
//     soon as there is space.
//
// Folder layout: DIR/lock is locked while a process has the store open and holds its process id; DIR/jetstream belongs to NATS.
package store

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// answerTimeout is how long an operation waits for the server when its context has no deadline. SD cards pause for seconds.
const answerTimeout = 30 * time.Second

// Config says where the store is and how large it may grow. Only Dir is required.
type Config struct {
	// Dir is a folder for the store alone, created with mode 0700 when it does not exist. It holds private keys, so the
	// permissions of others are taken away from an existing one. A relative path is relative to the working directory.
	Dir string
	// MaxMemory bounds JetStream's memory streams in bytes; nothing here uses any. Default 16 MiB.
	MaxMemory int64
	// MaxStore bounds the records and blobs on disk in bytes; writes beyond it fail with ErrFull. Default 8 GiB.
	MaxStore int64
	// Log receives the server's warnings and errors, and what was repaired at start. Default: nowhere.
	Log *slog.Logger
}

// Store is an open store. Its methods may be called by any goroutine.
type Store struct {
	dir     string
	log     *slog.Logger
	lock    *os.File
	server  *server.Server
	conn    *nats.Conn
	js      jetstream.JetStream
	max     int64 // bytes of records and blobs
	reserve int64 // bytes that stay free on the disk
}

// Open locks the folder, checks it and starts the server in it. Its errors are ErrInUse, ErrDamaged, those of the file system, and the context's.
func Open(ctx context.Context, c Config) (_ *Store, err error) {
	if c.Dir == "" {
		return nil, fmt.Errorf("store: no folder given: set Config.Dir")
	}
	if c.MaxMemory <= 0 {
		c.MaxMemory = 16 << 20
	}
	if c.MaxStore <= 0 {
		c.MaxStore = 8 << 30
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Dir, err = filepath.Abs(c.Dir); err != nil {
		return nil, fmt.Errorf("store: cannot find the working directory for %s: %w", c.Dir, err)
	}
	s := &Store{dir: c.Dir, log: c.Log, max: c.MaxStore, reserve: defaultReserve}
	if s.lock, err = lockFolder(c.Dir, c.Log); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if err = checkFolder(streamsDir(c.Dir), c.Log); err != nil {
		return nil, err
	}
	if s.server, err = startServer(c); err != nil {
		return nil, err
	}
	s.conn, err = nats.Connect("", nats.Name("simplebit"), nats.InProcessServer(s.server), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond))
	if err != nil {
		return nil, fmt.Errorf("store in %s: connecting to its own server: %w", c.Dir, err)
	}
	if s.js, err = jetstream.New(s.conn, jetstream.WithDefaultTimeout(answerTimeout)); err != nil {
		return nil, fmt.Errorf("store in %s: %w", c.Dir, err)
	}
	if err = s.checkLoaded(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// Close stops the server and gives the folder back; it returns when both are done. Operations under way fail with ErrClosed.
// It may be called more than once, but not by two goroutines at the same time.
func (s *Store) Close() {
	if s.conn != nil {
		s.conn.Close()
	}
	if s.server != nil {
		s.server.Shutdown()
		s.server.WaitForShutdown()
	}
	// Closing the file releases the lock, and does nothing the second time.
	_ = s.lock.Close()
}
