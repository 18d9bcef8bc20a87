package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// MaxBlob is the largest blob in bytes: an info dictionary of that size is refused too.
const MaxBlob = 32 << 20

// chunkSize is larger than the customary 128 KiB, since each chunk costs an fsync.
const chunkSize = 512 << 10

// Blobs holds byte strings of up to MaxBlob under names of 1 to MaxKey bytes. Any goroutine may call its methods.
//
// It is a NATS object store (ADR-20), whose chunks are messages on $O.BUCKET.C.ID and whose descriptions are on
// $O.BUCKET.M.NAME. The library's own writer is not used: it sends the description without waiting for the chunks, so a
// write that fails half-way loses the old content too, and its reader waits for missing chunks.
type Blobs struct {
	store  *Store
	bucket string
	stream jetstream.Stream
}

// OpenBlobs opens the blobs with the name bucket and creates it when there is none. The rules of names are those of OpenTable;
// a table and blobs may share one.
func (s *Store) OpenBlobs(ctx context.Context, bucket string) (*Blobs, error) {
	what := "opening blobs " + bucket
	if !bucketName.MatchString(bucket) {
		return nil, fmt.Errorf("%s: the name is %w: want %s", what, ErrInvalid, bucketName)
	}
	_, err := s.js.ObjectStore(ctx, bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		if err := s.room(0); err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		_, err = s.js.CreateObjectStore(ctx, jetstream.ObjectStoreConfig{Bucket: bucket, Storage: jetstream.FileStorage})
	}
	if err != nil {
		return nil, s.explain(ctx, what, err)
	}
	stream, err := s.js.Stream(ctx, "OBJ_"+bucket)
	if err != nil {
		return nil, s.explain(ctx, what, err)
	}
	return &Blobs{store: s, bucket: bucket, stream: stream}, nil
}

// Put stores data under the name, replacing what was there. When it fails the old content stays.
func (b *Blobs) Put(ctx context.Context, name string, data []byte) error {
	what := b.what("writing", name)
	if err := checkBlob(name, len(data)); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if err := b.store.room(len(data)); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	old, err := b.info(ctx, name)
	if err != nil && !errors.Is(err, jetstream.ErrObjectNotFound) {
		return b.store.explain(ctx, what, err)
	}
	info := &jetstream.ObjectInfo{
		ObjectMeta: jetstream.ObjectMeta{Name: name, Opts: &jetstream.ObjectMetaOptions{ChunkSize: chunkSize}},
		Bucket:     b.bucket,
		NUID:       rand.Text(),
		Size:       uint64(len(data)),
		Digest:     digest(data),
	}
	if err := b.send(ctx, info.NUID, data); err != nil {
		b.drop(ctx, info.NUID)
		return b.store.explain(ctx, what, err)
	}
	info.Chunks = uint32((len(data) + chunkSize - 1) / chunkSize)
	// When this fails the new content may be in force all the same: both contents stay until the next start sweeps one away.
	if err := b.describe(ctx, info); err != nil {
		return b.store.explain(ctx, what, err)
	}
	if old != nil {
		b.drop(ctx, old.NUID)
	}
	return nil
}

// Get returns a copy of what is stored under the name, or ErrNotFound, or ErrDamaged when it is not what was stored.
func (b *Blobs) Get(ctx context.Context, name string) ([]byte, error) {
	what := b.what("reading", name)
	if err := checkBlob(name, 0); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	for {
		info, err := b.info(ctx, name)
		if err != nil {
			return nil, b.store.explain(ctx, what, err)
		}
		if info.Size > MaxBlob {
			return nil, fmt.Errorf("%s: %w: it claims %d bytes, more than was ever accepted", what, ErrDamaged, info.Size)
		}
		data, err := b.receive(ctx, info)
		if err != nil {
			return nil, b.store.explain(ctx, what, err)
		}
		if digest(data) == info.Digest {
			return data, nil
		}
		// Either it was replaced or deleted while it was being read, or the disk has lost something.
		now, err := b.info(ctx, name)
		if err != nil {
			return nil, b.store.explain(ctx, what, err)
		}
		if now.NUID == info.NUID {
			return nil, fmt.Errorf("%s: %w: %d of %d bytes are left and some may be wrong: restore a backup", what, ErrDamaged, len(data), info.Size)
		}
	}
}

// Delete removes the blob; that there is none is no error. It works on a full disk too. A marker of about 300 bytes remains.
func (b *Blobs) Delete(ctx context.Context, name string) error {
	what := b.what("deleting", name)
	if err := checkBlob(name, 0); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	old, err := b.info(ctx, name)
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return nil
	}
	if err == nil {
		gone := *old
		gone.Deleted, gone.Size, gone.Chunks, gone.Digest = true, 0, 0, ""
		err = b.describe(ctx, &gone)
	}
	if err != nil {
		return b.store.explain(ctx, what, err)
	}
	b.drop(ctx, old.NUID)
	return nil
}

// send stores the content as chunks, each acknowledged before the next.
func (b *Blobs) send(ctx context.Context, id string, data []byte) error {
	for chunk := range slices.Chunk(data, chunkSize) {
		if _, err := b.store.js.Publish(ctx, b.chunks(id), chunk); err != nil {
			return err
		}
	}
	return nil
}

// receive returns what is there of the content, at most one chunk more than there should be.
func (b *Blobs) receive(ctx context.Context, info *jetstream.ObjectInfo) ([]byte, error) {
	data := make([]byte, 0, info.Size)
	for seq := uint64(1); uint64(len(data)) < info.Size; {
		m, err := b.stream.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(b.chunks(info.NUID)))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			break
		}
		if err != nil {
			return nil, err
		}
		data, seq = append(data, m.Data...), m.Sequence+1
	}
	return data, nil
}

// info returns the description of a blob, or jetstream.ErrObjectNotFound.
func (b *Blobs) info(ctx context.Context, name string) (*jetstream.ObjectInfo, error) {
	m, err := b.stream.GetLastMsgForSubject(ctx, b.description(name))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, jetstream.ErrObjectNotFound
	}
	if err != nil {
		return nil, err
	}
	var info jetstream.ObjectInfo
	if err := json.Unmarshal(m.Data, &info); err != nil {
		return nil, fmt.Errorf("%w: its description: %w", ErrDamaged, err)
	}
	if info.Deleted {
		return nil, jetstream.ErrObjectNotFound
	}
	return &info, nil
}

// describe stores a description in place of the older ones.
func (b *Blobs) describe(ctx context.Context, info *jetstream.ObjectInfo) error {
	data, err := json.Marshal(info)
	if err != nil {
		return err
	}
	m := nats.NewMsg(b.description(info.Name))
	m.Header.Set(jetstream.MsgRollup, jetstream.MsgRollupSubject)
	m.Data = data
	_, err = b.store.js.PublishMsg(ctx, m)
	return err
}

// drop frees chunks that no description names any more. What it misses is swept at the next start.
func (b *Blobs) drop(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTimeout)
	defer cancel()
	if err := b.stream.Purge(ctx, jetstream.WithPurgeSubject(b.chunks(id))); err != nil {
		b.store.log.Warn("old blob content stays on disk until the next start", "bucket", b.bucket, "error", err)
	}
}

func (b *Blobs) chunks(id string) string { return "$O." + b.bucket + ".C." + id }

func (b *Blobs) description(name string) string {
	return "$O." + b.bucket + ".M." + base64.URLEncoding.EncodeToString([]byte(name))
}

func (b *Blobs) what(doing, name string) string {
	return fmt.Sprintf("%s blob %.64q in %s", doing, name, b.bucket)
}

func checkBlob(name string, size int) error {
	if name == "" || len(name) > MaxKey {
		return fmt.Errorf("a name of %d bytes is %w: 1 to %d", len(name), ErrInvalid, MaxKey)
	}
	if size > MaxBlob {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, size, MaxBlob)
	}
	return nil
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return "SHA-256=" + base64.URLEncoding.EncodeToString(sum[:])
}
