package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/nats-io/nats.go/jetstream"
)

// Restore puts a backup into the store that c describes, which must be empty (ErrNotEmpty). It reads the backup twice: one
// that is damaged or truncated is refused (ErrBadBackup) before anything is written. A store whose restore is cut off
// cannot be opened (ErrDamaged) until Restore has been repeated, which begins anew. Besides those it returns the errors of Open.
func Restore(ctx context.Context, c Config, r io.ReadSeeker) (Summary, error) {
	if _, err := Verify(r); err != nil {
		return Summary{}, err
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return Summary{}, fmt.Errorf("reading the backup again: %w", err)
	}
	s, err := openAny(ctx, c)
	if err != nil {
		return Summary{}, err
	}
	defer s.Close()
	if err := s.clear(ctx); err != nil {
		return Summary{}, err
	}
	if err := s.restoring(ctx, func(op context.Context) error {
		_, err := s.js.CreateKeyValue(op, jetstream.KeyValueConfig{
			Bucket: s.prefix + restoringBucket, History: 1, Storage: jetstream.FileStorage, Replicas: s.replicas,
		})
		return err
	}); err != nil {
		return Summary{}, err
	}
	in := restorer{store: s, tables: make(map[string]*Table[json.RawMessage]), blobs: make(map[string]*Blobs)}
	sum, err := readBackup(r, func(l backupLine) error { return in.put(ctx, l) })
	if err != nil {
		return Summary{}, fmt.Errorf("the restore is not complete, repeat it: %w", err)
	}
	return sum, s.restoring(ctx, func(op context.Context) error { return s.js.DeleteKeyValue(op, s.prefix+restoringBucket) })
}

// restoring does one step that is not a table's or a blob's.
func (s *Store) restoring(ctx context.Context, step func(op context.Context) error) error {
	const what = "restoring"
	op, end, err := s.begin(ctx, what)
	if err != nil {
		return err
	}
	defer end()
	return s.explain(ctx, what, step(op))
}

// clear returns ErrNotEmpty if anything is in the store, unless that is what a restore has left that was cut off.
func (s *Store) clear(ctx context.Context) error {
	buckets, err := s.buckets(ctx)
	if err != nil || len(buckets) == 0 {
		return err
	}
	cutOff, err := s.isRestoring(ctx)
	if err != nil {
		return err
	}
	if !cutOff {
		return fmt.Errorf("%w: there is one %s already: restore into a new folder, or an empty NATS server", ErrNotEmpty, s.where)
	}
	for _, b := range buckets {
		prefix := "OBJ_"
		if b.table {
			prefix = "KV_"
		}
		if err := s.restoring(ctx, func(op context.Context) error { return s.js.DeleteStream(op, prefix+s.prefix+b.name) }); err != nil {
			return err
		}
	}
	return nil
}

// isRestoring tells whether a restore was begun and not completed.
func (s *Store) isRestoring(ctx context.Context) (bool, error) {
	_, err := s.js.Stream(ctx, "KV_"+s.prefix+restoringBucket)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return false, nil
	}
	return err == nil, s.explain(ctx, "opening the store", err)
}

// checkRestored returns ErrDamaged for a store whose restore was cut off.
func (s *Store) checkRestored(ctx context.Context) error {
	if cutOff, err := s.isRestoring(ctx); err != nil || !cutOff {
		return err
	}
	return fmt.Errorf("%w: a restore into the store %s was cut off: repeat it", ErrDamaged, s.where)
}

// restorer writes the lines of a backup.
type restorer struct {
	store  *Store
	tables map[string]*Table[json.RawMessage]
	blobs  map[string]*Blobs
}

func (r *restorer) put(ctx context.Context, l backupLine) (err error) {
	key, err := decodeKey(l.Key)
	if err != nil {
		return err
	}
	if l.Blobs != "" {
		b := r.blobs[l.Blobs]
		if b == nil {
			if b, err = r.store.OpenBlobs(ctx, l.Blobs); err != nil {
				return err
			}
			r.blobs[l.Blobs] = b
		}
		return b.Put(ctx, key, l.Data)
	}
	t := r.tables[l.Table]
	if t == nil {
		if t, err = OpenTable[json.RawMessage](ctx, r.store, l.Table); err != nil {
			return err
		}
		r.tables[l.Table] = t
	}
	return t.Put(ctx, key, l.Value)
}

func sortedKeys[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }
