// Package store keeps the surrogate's durable state: tables of JSON records (NATS key-value buckets, history 1) and blobs of
// up to 32 MiB (a NATS object store) in an embedded NATS JetStream server that lives in this process and listens nowhere, or
// in an external one (Config.URL).
//
// What it promises:
//
//   - A Put, Create, Update or Delete that returned nil has been fsynced. One that returned an error may or may not have
//     happened (the acknowledgement can be lost, the write is not); repeating it is always safe.
//   - One record changes atomically, and Update is a compare-and-swap loop, so any number of goroutines may race for a record.
//     Nothing spans two records.
//   - One folder belongs to one process: a second Open fails with ErrInUse. One external server's buckets belong to one
//     process too, by a lease; one that has lost it (Hold) does nothing any more (ErrLost).
//   - A folder with damage in front of acknowledged records is refused (ErrDamaged) and left as it is. A torn last record, as
//     a power cut leaves it, was never acknowledged: it is dropped and logged.
//   - A write that would leave less than 32 MiB free on the disk is refused with ErrFull while reads go on; it works again as
//     soon as there is space.
//
// With an external server it is that which fsyncs, by its own settings (sync_interval: always), and which limits the space.
// While it is away, operations fail with ErrUnreachable after some seconds, and work again when it is back.
//
// Folder layout: DIR/lock is locked while a process has the store open and holds its process id; DIR/jetstream belongs to the
// embedded server; DIR/id names the folder to an external server.
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

// Config says where the store is and how large it may grow. Dir or URL is required.
type Config struct {
	// Dir is a folder for the store alone, created with mode 0700 when it does not exist. It holds private keys, so the
	// permissions of others are taken away from an existing one. A relative path is relative to the working directory. With
	// URL it may be empty; if not, it is locked all the same, and its next process gets the lease of a killed one at once, unless
	// the folder was copied or the machine started again meanwhile, or there is no /etc/machine-id.
	Dir string
	// URL is the address of an external NATS server with JetStream, nats://HOST:PORT or tls://HOST:PORT, or of several of a
	// cluster, separated by commas. It may contain USER:PASSWORD@ or TOKEN@. Default: the embedded server.
	URL string
	// Credentials is a file with the user's credentials for URL, as `nsc` writes it. Default: those in URL, if any.
	Credentials string
	// Replicas is how many servers of the cluster at URL keep each record, 1 to 5. Default 1.
	Replicas int
	// MaxMemory bounds the embedded JetStream's memory streams in bytes; nothing here uses any. Default 16 MiB.
	MaxMemory int64
	// MaxStore bounds the embedded server's records and blobs on disk in bytes; writes beyond it fail with ErrFull. Default 8 GiB.
	MaxStore int64
	// Log receives the server's warnings and errors, and what was repaired at start. Default: nowhere.
	Log *slog.Logger
}

// Store is an open store. Its methods may be called by any goroutine.
type Store struct {
	dir      string
	where    string // for messages: "in DIR" or "at URL"
	prefix   string // of the names of our buckets
	replicas int
	log      *slog.Logger
	lock     *os.File
	server   *server.Server // nil: external
	lease    *lease         // nil: embedded
	link     *link          // nil: embedded
	conn     *nats.Conn
	js       jetstream.JetStream
	max      int64 // bytes of records and blobs
	reserve  int64 // bytes that stay free on the disk
}

// Open locks the folder, checks it and starts the server in it; or it connects to the external server and gets the lease, for
// which it waits up to 15 s when the last holder was killed. Its errors are ErrInUse, ErrDamaged, ErrUnreachable, those of
// the file system, and the context's.
func Open(ctx context.Context, c Config) (*Store, error) {
	s, err := openAny(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := s.checkRestored(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Exists reports whether the folder has the store of an embedded server in it.
func Exists(dir string) bool { return exists(filepath.Join(dir, server.JetStreamStoreDir)) }

// openAny is Open also for a store whose restore was cut off.
func openAny(ctx context.Context, c Config) (_ *Store, err error) {
	if c.Dir == "" && c.URL == "" {
		return nil, fmt.Errorf("store: no folder given: set Config.Dir")
	}
	if c.MaxMemory <= 0 {
		c.MaxMemory = 16 << 20
	}
	if c.MaxStore <= 0 {
		c.MaxStore = 8 << 30
	}
	if c.Replicas <= 0 {
		c.Replicas = 1
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s := &Store{log: c.Log, max: c.MaxStore, reserve: defaultReserve, replicas: c.Replicas}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if c.Dir != "" {
		if c.Dir, err = filepath.Abs(c.Dir); err != nil {
			return nil, fmt.Errorf("store: cannot find the working directory for %s: %w", c.Dir, err)
		}
		if s.lock, err = lockFolder(c.Dir, c.Log); err != nil {
			return nil, err
		}
	}
	s.dir, s.where = c.Dir, "in "+c.Dir
	if c.URL != "" {
		err = s.openExternal(ctx, c)
	} else {
		err = s.openEmbedded(ctx, c)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// openEmbedded checks the folder and starts the server in it.
func (s *Store) openEmbedded(ctx context.Context, c Config) (err error) {
	if err := checkFolder(streamsDir(c.Dir), c.Log); err != nil {
		return err
	}
	if s.server, err = startServer(c); err != nil {
		return err
	}
	s.conn, err = nats.Connect("", nats.Name("simplebit"), nats.InProcessServer(s.server), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond))
	if err != nil {
		return fmt.Errorf("store in %s: connecting to its own server: %w", c.Dir, err)
	}
	if s.js, err = jetstream.New(s.conn, jetstream.WithDefaultTimeout(answerTimeout)); err != nil {
		return fmt.Errorf("store in %s: %w", c.Dir, err)
	}
	return s.checkLoaded(ctx)
}

// Hold returns nil when ctx ends, or ErrLost when another process took an external store over: then nothing works any more,
// and it is best to end.
func (s *Store) Hold(ctx context.Context) error {
	if s.lease == nil {
		<-ctx.Done()
		return nil
	}
	select {
	case <-ctx.Done():
		return nil
	case <-s.lease.lost:
		return s.lease.err()
	}
}

// Close stops the server, or gives back the lease of the external one, and gives the folder back; it returns when that is
// done. Operations under way fail with ErrClosed. It may be called more than once, but not by two goroutines at the same time.
func (s *Store) Close() {
	if s.lease != nil {
		s.lease.release()
	}
	if s.conn != nil {
		s.conn.Close()
	}
	if s.server != nil {
		s.server.Shutdown()
		s.server.WaitForShutdown()
	}
	if s.lock != nil {
		unlockFolder(s.lock)
	}
}
