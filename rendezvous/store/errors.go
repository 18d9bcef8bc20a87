package store

import (
	"context"
	"errors"
	"fmt"
	"time"

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
	// ErrInUse means that another process has the folder, or the external store, open.
	ErrInUse = errors.New("store not opened")
	// ErrDamaged means that something acknowledged cannot be read back. Only a backup helps.
	ErrDamaged = errors.New("store damaged")
	// ErrClosed means that the store was closed.
	ErrClosed = errors.New("store closed")
	// ErrUnreachable means that the external server is away, or does not answer. Operations work again when it is back.
	ErrUnreachable = errors.New("store not reachable")
	// ErrLost means that another process took the external store over, since this one was cut off from it for too long.
	ErrLost = errors.New("store taken over")
	// ErrNotEmpty means that there is something in a store into which a backup was to be restored.
	ErrNotEmpty = errors.New("store not empty")
	// ErrBadBackup means that a backup is damaged, truncated or none.
	ErrBadBackup = errors.New("not a whole backup")
	// ErrFailed means that the embedded server stopped answering, as it does for good after a disk error.
	ErrFailed = errors.New("store failed")
)

// defaultReserve is what must stay free on the disk: after a failed write the server disables itself until a restart, and it
// rewrites blocks of up to 8 MiB to compact them.
const defaultReserve = 32 << 20

// room refuses a write of size bytes that the disk cannot take with the reserve to spare, or that exceeds the limit. Deletions
// are not asked: they make room.
func (s *Store) room(size int) error {
	if s.server == nil {
		return nil // the external server says so itself
	}
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

// begin returns the context for one operation and what ends it, or why it cannot be done now: the lease of an external store is
// lost, or its server is away. It waits a moment for a server that is just being restarted. The operation's context also
// ends when the server goes away, so that nobody waits for an answer that is lost, and when the lease runs out.
func (s *Store) begin(ctx context.Context, what string) (context.Context, context.CancelFunc, error) {
	if s.lease == nil {
		return ctx, func() {}, nil
	}
	for patience := time.Now().Add(awayPatience); ; {
		switch {
		case s.lease.isLost():
			return nil, nil, fmt.Errorf("%s: %w", what, s.lease.err())
		case s.conn.IsClosed():
			return nil, nil, fmt.Errorf("%s: %w", what, ErrClosed)
		case s.conn.IsConnected() && s.link.isUp() && s.lease.valid(time.Now()):
			op, end := s.link.follow(ctx)
			return op, end, nil
		case time.Now().After(patience):
			return nil, nil, fmt.Errorf("%s: %w: no connection to the NATS server %s: check it; all goes on when it is back", what, ErrUnreachable, s.where)
		}
		if sleep(ctx, 50*time.Millisecond) != nil {
			return nil, nil, fmt.Errorf("%s: %w", what, context.Cause(ctx))
		}
	}
}

// explain turns an error of the server or its client into one of ours. what names the operation and the record; ctx is the
// caller's, to tell his deadline from our own.
func (s *Store) explain(ctx context.Context, what string, err error) error {
	var api *jetstream.APIError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", what, context.Cause(ctx))
	case errors.Is(err, ErrDamaged), errors.Is(err, ErrFull):
		return fmt.Errorf("%s: %w", what, err)
	case errors.Is(err, jetstream.ErrKeyNotFound), errors.Is(err, jetstream.ErrObjectNotFound):
		return fmt.Errorf("%s: %w", what, ErrNotFound)
	case errors.Is(err, jetstream.ErrKeyExists):
		return fmt.Errorf("%s: %w", what, ErrExists)
	case errors.Is(err, nats.ErrConnectionClosed), s.conn.IsClosed():
		return fmt.Errorf("%s: %w", what, ErrClosed)
	case errors.As(err, &api) && isFull(api.ErrorCode):
		return fmt.Errorf("%s: %w: the NATS server of the store %s takes no more: free some space or raise its limits: %w", what, ErrFull, s.where, err)
	case !isSilence(err):
		return fmt.Errorf("%s: the store %s: %w", what, s.where, err)
	case s.server == nil:
		return fmt.Errorf("%s: %w: the NATS server %s does not answer: check it; all goes on when it is back: %w", what, ErrUnreachable, s.where, err)
	}
	free, _ := freeBytes(s.dir)
	return fmt.Errorf("%s: %w: the store in %s does not answer, most likely after a disk error (%d bytes free): see the log, then restart: %w", what, ErrFailed, s.dir, free, err)
}

// isSilence tells whether an error is that no answer came.
func isSilence(err error) bool {
	for _, silence := range []error{
		nats.ErrTimeout, context.DeadlineExceeded, context.Canceled, nats.ErrNoResponders, jetstream.ErrNoStreamResponse,
		nats.ErrReconnectBufExceeded, nats.ErrDisconnected, nats.ErrStaleConnection,
	} {
		if errors.Is(err, silence) {
			return true
		}
	}
	return false
}

// isFull tells whether a server's error code means that it has no room left: for the server's, the account's or a stream's.
func isFull(code jetstream.ErrorCode) bool {
	switch code {
	case 10023, 10028, 10047, 10077: // of nats-server/server/errors.json
		return true
	}
	return false
}
