package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// MaxRecord is the largest record, in bytes of JSON. NATS limits a message with its headers to 1 MiB.
const MaxRecord = 1000 << 10

// Table holds records of one type under keys of 1 to MaxKey bytes; any byte may be in a key. Any goroutine may call its
// methods. A context without a deadline waits at most 30 s for the disk.
//
// A deleted record leaves a marker of about 100 bytes behind for good. (Removing the markers would not be safe: replaced values
// leave no trace of their removal on disk, so one would come back after a crash.)
type Table[T any] struct {
	store  *Store
	bucket string
	kv     jetstream.KeyValue
	stream jetstream.Stream
}

// OpenTable opens the table with the name bucket and creates it when there is none. The name is a lower-case letter and up to
// 31 more letters, digits or "-", else ErrInvalid.
func OpenTable[T any](ctx context.Context, s *Store, bucket string) (*Table[T], error) {
	what := "opening table " + bucket
	if !bucketName.MatchString(bucket) {
		return nil, fmt.Errorf("%s: the name is %w: want %s", what, ErrInvalid, bucketName)
	}
	op, end, err := s.begin(ctx, what)
	if err != nil {
		return nil, err
	}
	defer end()
	kv, err := s.openKV(op, bucket)
	if err != nil {
		return nil, s.explain(ctx, what, err)
	}
	stream, err := s.js.Stream(op, "KV_"+s.prefix+bucket)
	if err != nil {
		return nil, s.explain(ctx, what, err)
	}
	return &Table[T]{store: s, bucket: bucket, kv: kv, stream: stream}, nil
}

// openKV opens a bucket, and creates it when there is none.
func (s *Store) openKV(ctx context.Context, bucket string) (jetstream.KeyValue, error) {
	name := s.prefix + bucket
	kv, err := s.js.KeyValue(ctx, name)
	if err == nil {
		return kv, s.spread(ctx, "KV_"+name)
	}
	if !errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil, err
	}
	if err := s.room(0); err != nil {
		return nil, err
	}
	// Two who create at once get the same bucket, since their configurations are the same.
	return s.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: name, History: 1, Storage: jetstream.FileStorage, Replicas: s.replicas})
}

// Get returns the record with the key, or ErrNotFound.
func (t *Table[T]) Get(ctx context.Context, key string) (T, error) {
	v, _, err := t.get(ctx, key)
	return v, err
}

func (t *Table[T]) get(ctx context.Context, key string) (v T, e jetstream.KeyValueEntry, err error) {
	what := t.what("reading", key)
	k, err := encodeKey(key)
	if err != nil {
		return v, nil, fmt.Errorf("%s: %w", what, err)
	}
	op, end, err := t.store.begin(ctx, what)
	if err != nil {
		return v, nil, err
	}
	defer end()
	if e, err = t.kv.Get(op, k); err != nil {
		return v, nil, t.store.explain(ctx, what, err)
	}
	if v, err = decodeRecord[T](e.Value()); err != nil {
		return v, nil, fmt.Errorf("%s: %w", what, err)
	}
	return v, e, nil
}

// Create stores a new record, or returns ErrExists and leaves the old one. Of several at once exactly one succeeds.
func (t *Table[T]) Create(ctx context.Context, key string, v T) error {
	what := t.what("creating", key)
	k, b, err := t.encode(what, key, v)
	if err != nil {
		return err
	}
	op, end, err := t.store.begin(ctx, what)
	if err != nil {
		return err
	}
	defer end()
	_, err = t.kv.Create(op, k, b)
	return t.store.explain(ctx, what, err)
}

// Put stores a record, new or not. To change one that others may change too, use Update.
func (t *Table[T]) Put(ctx context.Context, key string, v T) error {
	what := t.what("writing", key)
	k, b, err := t.encode(what, key, v)
	if err != nil {
		return err
	}
	op, end, err := t.store.begin(ctx, what)
	if err != nil {
		return err
	}
	defer end()
	_, err = t.kv.Put(op, k, b)
	return t.store.explain(ctx, what, err)
}

// Update lets change edit the record and stores the result if nobody stored another meanwhile; otherwise it starts again from
// the newer record, until ctx ends. So change may be called several times and must have no other effect. Its error ends the
// update and is returned as it is. A record that change left alone is not written. It returns the record as it is stored now.
func (t *Table[T]) Update(ctx context.Context, key string, change func(*T) error) (T, error) {
	var none T
	what := t.what("updating", key)
	for {
		v, e, err := t.get(ctx, key)
		if err != nil {
			return none, err
		}
		if err := change(&v); err != nil {
			return none, err
		}
		k, b, err := t.encode(what, key, v)
		if err != nil {
			return none, err
		}
		if bytes.Equal(b, e.Value()) {
			return v, nil
		}
		op, end, err := t.store.begin(ctx, what)
		if err != nil {
			return none, err
		}
		_, err = t.kv.Update(op, k, b, e.Revision())
		end()
		if err == nil {
			return v, nil
		}
		// ErrKeyExists has the code of every lost race for a subject (10071).
		if ctx.Err() != nil || !errors.Is(err, jetstream.ErrKeyRevisionMismatch) && !errors.Is(err, jetstream.ErrKeyExists) {
			return none, t.store.explain(ctx, what, err)
		}
	}
}

// Delete removes the record; that there is none is no error. It works on a full disk too.
func (t *Table[T]) Delete(ctx context.Context, key string) error {
	what := t.what("deleting", key)
	k, err := encodeKey(key)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	op, end, err := t.store.begin(ctx, what)
	if err != nil {
		return err
	}
	defer end()
	// Without this a marker would be left for every key that somebody asked to delete.
	if _, err := t.kv.Get(op, k); errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil
	}
	return t.store.explain(ctx, what, t.kv.Delete(op, k))
}

// All returns every record by key, as of the moment at which it returns. It reads them one by one, some 10,000 a second.
func (t *Table[T]) All(ctx context.Context) (map[string]T, error) {
	what := "reading table " + t.bucket
	op, end, err := t.store.begin(ctx, what)
	if err != nil {
		return nil, err
	}
	defer end()
	all := make(map[string]T)
	prefix := "$KV." + t.store.prefix + t.bucket + "."
	// A record that changes meanwhile moves to the end, so each is seen in its last state, however many change.
	err = eachMessage(op, t.stream, prefix+">", func(m *jetstream.RawStreamMsg) error {
		key, err := decodeKey(m.Subject[len(prefix):])
		if err != nil {
			return fmt.Errorf("%w: the key %w", ErrDamaged, err)
		}
		if m.Header.Get("KV-Operation") != "" {
			delete(all, key)
			return nil
		}
		if all[key], err = decodeRecord[T](m.Data); err != nil {
			return fmt.Errorf("%.64q: %w", key, err)
		}
		return nil
	})
	if err != nil {
		return nil, t.store.explain(ctx, what, err)
	}
	return all, nil
}

// eachMessage calls f with every message of a stream on the subjects, oldest first. It needs no consumer, so there is nothing
// to clean up whenever it ends.
func eachMessage(ctx context.Context, s jetstream.Stream, subjects string, f func(*jetstream.RawStreamMsg) error) error {
	for seq := uint64(1); ; {
		m, err := s.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(subjects))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := f(m); err != nil {
			return err
		}
		seq = m.Sequence + 1
	}
}

func (t *Table[T]) what(doing, key string) string {
	return fmt.Sprintf("%s %.64q in table %s", doing, key, t.bucket)
}

// encode does all that can be refused before anything is sent.
func (t *Table[T]) encode(what, key string, v T) (string, []byte, error) {
	k, err := encodeKey(key)
	if err != nil {
		return "", nil, fmt.Errorf("%s: %w", what, err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return "", nil, fmt.Errorf("%s: %w: %w", what, ErrInvalid, err)
	}
	if len(b) > MaxRecord {
		return "", nil, fmt.Errorf("%s: %w: %d bytes, at most %d", what, ErrTooLarge, len(b), MaxRecord)
	}
	if err := t.store.room(len(b)); err != nil {
		return "", nil, fmt.Errorf("%s: %w", what, err)
	}
	return k, b, nil
}

func decodeRecord[T any](b []byte) (v T, err error) {
	if err := json.Unmarshal(b, &v); err != nil {
		return v, fmt.Errorf("%w: the record is not the JSON that it was: %w", ErrDamaged, err)
	}
	return v, nil
}
