package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sys/unix"
)

var (
	// ErrNotFound means that there is no record or blob with the key.
	ErrNotFound = errors.New("not found")
	// ErrExists means that Create found a record with the key.
	ErrExists = errors.New("exists already")
	// ErrInvalid means that a key, bucket name or value is not acceptable, whatever the state of the store.
	ErrInvalid = errors.New("not acceptable")
	// ErrTooLarge means a record above MaxRecord or a blob above MaxBlob.
	ErrTooLarge = errors.New("too large")
	// ErrFull means that the disk is (nearly) full, or that Config.MaxStore is reached. Nothing was written; reads work.
	ErrFull = errors.New("disk full")
	// ErrInUse means that another process has the folder open.
	ErrInUse = errors.New("store not opened")
	// ErrDamaged means that something acknowledged cannot be read back. Only a backup helps.
	ErrDamaged = errors.New("store damaged")
	// ErrClosed means that the store was closed.
	ErrClosed = errors.New("store closed")
	// ErrFailed means that the embedded server stopped answering, as it does for good after a disk error.
	ErrFailed = errors.New("store failed")
)

// defaultReserve is what must stay free on the disk: after a failed write the server disables itself until a restart, and it
// rewrites blocks of up to 8 MiB to compact them.
const defaultReserve = 32 << 20

// room refuses a write of size bytes that the disk cannot take with the reserve to spare, or that exceeds the limit. Deletions
// are not asked: they make room.
func (s *Store) room(size int) error {
	if used := int64(s.server.GlobalAccount().JetStreamUsage().Store); used+int64(size) > s.max {
		return fmt.Errorf("%w: the store in %s holds %d of at most %d bytes: remove something or raise the limit", ErrFull, s.dir, used, s.max)
	}
	free, err := freeBytes(s.dir)
	if err == nil && free < s.reserve+int64(size) {
		return fmt.Errorf("%w: %d bytes free in %s, the store needs %d: free some space and try again", ErrFull, free, s.dir, s.reserve+int64(size))
	}
	return nil // a file system that cannot be asked will say so at the write
}

func freeBytes(dir string) (int64, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 0, err
	}
	return int64(fs.Bavail) * int64(fs.Bsize), nil
}

// explain turns an error of the server or its client into one of ours. what names the operation and the record; ctx is the
// caller's, to tell his deadline from our own.
func (s *Store) explain(ctx context.Context, what string, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", what, context.Cause(ctx))
	case errors.Is(err, ErrDamaged):
		return fmt.Errorf("%s: %w", what, err)
	case errors.Is(err, jetstream.ErrKeyNotFound), errors.Is(err, jetstream.ErrObjectNotFound):
		return fmt.Errorf("%s: %w", what, ErrNotFound)
	case errors.Is(err, jetstream.ErrKeyExists):
		return fmt.Errorf("%s: %w", what, ErrExists)
	case errors.Is(err, nats.ErrConnectionClosed), s.conn.IsClosed():
		return fmt.Errorf("%s: %w", what, ErrClosed)
	case errors.Is(err, nats.ErrTimeout), errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrNoStreamResponse):
		free, _ := freeBytes(s.dir)
		return fmt.Errorf("%s: %w: the store in %s does not answer, most likely after a disk error (%d bytes free): see the log, then restart: %w", what, ErrFailed, s.dir, free, err)
	default:
		return fmt.Errorf("%s: the store in %s: %w", what, s.dir, err)
	}
}
