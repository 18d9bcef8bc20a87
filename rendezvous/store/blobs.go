package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// MaxBlob is the largest blob in bytes: an info dictionary of that size is refused too.
const MaxBlob = 32 << 20

// chunkSize is larger than the customary 128 KiB, since each chunk costs an fsync.
const chunkSize = 512 << 10

// blobTime bounds the reading or writing of one blob: the library waits for chunks that the disk has lost.
const blobTime = time.Minute

// Blobs holds byte strings of up to MaxBlob under names of 1 to MaxKey bytes, in a NATS object store (ADR-20). They are meant
// for content that its name determines, such as info dictionaries by their info-hash: a Put that is cut off may lose what was
// there before. Any goroutine may call its methods.
type Blobs struct {
	store   *Store
	bucket  string
	objects jetstream.ObjectStore
}

// OpenBlobs opens the blobs with the name bucket and creates it when there is none. The rules of names are those of OpenTable;
// a table and blobs may share one.
func (s *Store) OpenBlobs(ctx context.Context, bucket string) (*Blobs, error) {
	what := "opening blobs " + bucket
	if !bucketName.MatchString(bucket) {
		return nil, fmt.Errorf("%s: the name is %w: want %s", what, ErrInvalid, bucketName)
	}
	op, end, err := s.begin(ctx, what)
	if err != nil {
		return nil, err
	}
	defer end()
	name := s.prefix + bucket
	config := jetstream.ObjectStoreConfig{Bucket: name, Storage: jetstream.FileStorage, Replicas: s.replicas}
	objects, err := s.js.ObjectStore(op, name)
	switch {
	case errors.Is(err, jetstream.ErrBucketNotFound):
		if err := s.room(0); err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		objects, err = s.js.CreateObjectStore(op, config)
	case err == nil:
		err = s.spread(op, "OBJ_"+name)
	}
	if err != nil {
		return nil, s.explain(ctx, what, err)
	}
	return &Blobs{store: s, bucket: bucket, objects: objects}, nil
}

// Put stores data under the name, replacing what was there. It writes nothing where the same is stored already, so that whoever
// reads it meanwhile is not disturbed: a replaced blob loses its chunks at once.
func (b *Blobs) Put(ctx context.Context, name string, data []byte) error {
	what := b.what("writing", name)
	if err := checkBlob(name, len(data)); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if err := b.store.room(len(data)); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	op, end, err := b.store.begin(ctx, what)
	if err != nil {
		return err
	}
	defer end()
	op, cancel := context.WithTimeout(op, blobTime)
	defer cancel()
	if b.holds(op, name, data) {
		return nil
	}
	meta := jetstream.ObjectMeta{Name: name, Opts: &jetstream.ObjectMetaOptions{ChunkSize: chunkSize}}
	_, err = b.objects.Put(op, meta, bytes.NewReader(data))
	return b.store.explain(ctx, what, err)
}

// holds reports whether exactly data is stored under the name. It reads all of it: a description alone could belong to chunks that
// the disk has lost, which this Put is to mend.
func (b *Blobs) holds(ctx context.Context, name string, data []byte) bool {
	info, err := b.objects.GetInfo(ctx, name)
	if err != nil || info.Size != uint64(len(data)) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, blobTime/6)
	defer cancel()
	stored, err := b.objects.GetBytes(ctx, name)
	return err == nil && bytes.Equal(stored, data)
}

// Get returns a copy of what is stored under the name, or ErrNotFound, or ErrDamaged when it is not what was stored.
func (b *Blobs) Get(ctx context.Context, name string) ([]byte, error) {
	what := b.what("reading", name)
	if err := checkBlob(name, 0); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	op, end, err := b.store.begin(ctx, what)
	if err != nil {
		return nil, err
	}
	defer end()
	op, cancel := context.WithTimeout(op, blobTime)
	defer cancel()
	data, err := b.objects.GetBytes(op, name)
	if errors.Is(err, jetstream.ErrDigestMismatch) {
		return nil, fmt.Errorf("%s: %w: restore a backup", what, ErrDamaged)
	}
	return data, b.store.explain(ctx, what, err)
}

// Delete removes the blob; that there is none is no error. It works on a full disk too. A marker of about 300 bytes remains.
func (b *Blobs) Delete(ctx context.Context, name string) error {
	what := b.what("deleting", name)
	if err := checkBlob(name, 0); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	op, end, err := b.store.begin(ctx, what)
	if err != nil {
		return err
	}
	defer end()
	err = b.objects.Delete(op, name)
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return nil
	}
	return b.store.explain(ctx, what, err)
}

// names lists the blobs, by name.
func (b *Blobs) names(ctx context.Context) ([]string, error) {
	what := "listing blobs " + b.bucket
	op, end, err := b.store.begin(ctx, what)
	if err != nil {
		return nil, err
	}
	defer end()
	infos, err := b.objects.List(op)
	if errors.Is(err, jetstream.ErrNoObjectsFound) {
		return nil, nil
	}
	if err != nil {
		return nil, b.store.explain(ctx, what, err)
	}
	var names []string
	for _, i := range infos {
		names = append(names, i.Name)
	}
	slices.Sort(names)
	return names, nil
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
