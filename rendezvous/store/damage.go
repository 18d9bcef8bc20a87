package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/minio/highwayhash"
)

// The server repairs a damaged block by cutting it off at the first bad record, and with it everything acknowledged later in
// that block; a bucket whose description it cannot read it leaves out, to be created anew and empty. So the folder is read
// before the server sees it. A bucket is a folder with meta.inf, meta.sum and blocks msgs/N.blk, a block is a sequence of
//
//	 0        4              12              20          22
//	+--------+--------------+---------------+-----------+---------+- - - - - - - -+------+--------+
//	| length | sequence     | time          | subj. len | subject | header length | data | check  |
//	+--------+--------------+---------------+-----------+---------+- - - - - - - -+------+--------+
//
// little-endian, where length counts all of it, its top bit says that there is a header length (4 bytes; the headers are the
// first part of the data), and check is the 64-bit HighwayHash of sequence, time, subject and data, keyed with the SHA-256 of
// "BUCKET-N". This is what nats-server 2.15.2 writes; a test holds it against the version in use.
const (
	recordHead  = 22
	recordCheck = 8
	hasHeaders  = 1 << 31
)

// checkFolder looks at every bucket in dir and returns ErrDamaged when acknowledged records were lost to anything but our own
// deletions. It removes buckets whose creation was cut off.
func checkFolder(ctx context.Context, dir string, log *slog.Logger) error {
	buckets, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a new store
	}
	if err != nil {
		return fmt.Errorf("cannot read the store: %w", err)
	}
	var buf bytes.Buffer // a block has 8 MiB: one buffer serves all
	for _, bucket := range buckets {
		if strings.HasPrefix(bucket.Name(), ".") {
			continue // one that is being removed by the server
		}
		if err := checkBucket(ctx, filepath.Join(dir, bucket.Name()), &buf, log); err != nil {
			return err
		}
	}
	return nil
}

func checkBucket(ctx context.Context, path string, buf *bytes.Buffer, log *slog.Logger) error {
	blocks, err := blocksOf(path)
	if err != nil {
		return fmt.Errorf("cannot read the store: %w", err)
	}
	if !exists(filepath.Join(path, "meta.inf")) || !exists(filepath.Join(path, "meta.sum")) {
		if len(blocks) > 0 {
			return fmt.Errorf("%w: %s has records and no description: restore a backup", ErrDamaged, path)
		}
		// The description comes before any record, so this one was never in use. The server would fill it and then not load it.
		log.Warn("removing a bucket whose creation was cut off", "folder", path)
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("cannot remove a bucket whose creation was cut off: %w", err)
		}
		return nil
	}
	for i, number := range blocks {
		if ctx.Err() != nil {
			return fmt.Errorf("checking the store: %w", context.Cause(ctx))
		}
		file := filepath.Join(path, "msgs", fmt.Sprint(number)+".blk")
		if err := readInto(buf, file); err != nil {
			return fmt.Errorf("cannot read the store: %w", err)
		}
		c, err := newBlockCheck(filepath.Base(path), number)
		if err != nil {
			return err
		}
		b := buf.Bytes()
		bad := c.firstBad(b)
		if bad == len(b) {
			continue
		}
		if i < len(blocks)-1 || c.goodAfter(b, bad) {
			return fmt.Errorf("%w: %s is wrong at byte %d: restore a backup, or move the file away to lose what is in it", ErrDamaged, file, bad)
		}
		log.Warn("dropping a write that was cut off and never acknowledged", "file", file, "byte", bad, "bytes", len(b)-bad)
	}
	return nil
}

// blocksOf returns the numbers of the bucket's blocks that have a byte in them, in order.
func blocksOf(bucket string) ([]uint32, error) {
	files, err := os.ReadDir(filepath.Join(bucket, "msgs"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var blocks []uint32
	for _, f := range files {
		number, ok := strings.CutSuffix(f.Name(), ".blk")
		n, err := strconv.ParseUint(number, 10, 32)
		if !ok || err != nil {
			continue
		}
		if fi, err := f.Info(); err != nil {
			return nil, err
		} else if fi.Size() > 0 {
			blocks = append(blocks, uint32(n))
		}
	}
	slices.Sort(blocks)
	return blocks, nil
}

func readInto(buf *bytes.Buffer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	buf.Reset()
	_, err = buf.ReadFrom(f)
	return err
}

// blockCheck checks the records of one block.
type blockCheck struct {
	hash *highwayhash.Digest64
}

func newBlockCheck(bucket string, number uint32) (blockCheck, error) {
	key := sha256.Sum256(fmt.Appendf(nil, "%s-%d", bucket, number))
	h, err := highwayhash.NewDigest64(key[:])
	if err != nil {
		return blockCheck{}, fmt.Errorf("checking the store: %w", err)
	}
	return blockCheck{h}, nil
}

// firstBad returns the offset of the first record that is not right, or len(b).
func (c blockCheck) firstBad(b []byte) int {
	off := 0
	for off < len(b) {
		n := c.record(b[off:])
		if n == 0 {
			break
		}
		off += n
	}
	return off
}

// goodAfter tells whether a record that is right starts anywhere behind the bad one. Only records with a subject of ours are
// looked for: that makes the search cheap, and an empty one proves nothing about what was acknowledged.
func (c blockCheck) goodAfter(b []byte, bad int) bool {
	for off := bad + 1; off+recordHead < len(b); {
		i := bytes.IndexByte(b[off+recordHead:], '$')
		if i < 0 {
			return false
		}
		off += i
		subject := b[off+recordHead:]
		if (bytes.HasPrefix(subject, []byte("$KV.")) || bytes.HasPrefix(subject, []byte("$O."))) && c.record(b[off:]) > 0 {
			return true
		}
		off++
	}
	return false
}

// record returns the length of the record at the start of b, or 0 when it is not right.
func (c blockCheck) record(b []byte) int {
	if len(b) < recordHead+recordCheck {
		return 0
	}
	length := binary.LittleEndian.Uint32(b)
	end := int64(length &^ hasHeaders)
	body := int64(recordHead) + int64(binary.LittleEndian.Uint16(b[20:]))
	data := body
	if length&hasHeaders != 0 {
		data += 4
	}
	if end > int64(len(b)) || data+recordCheck > end {
		return 0
	}
	c.hash.Reset()
	// A hash never fails to take what it is given.
	_, _ = c.hash.Write(b[4:20])
	_, _ = c.hash.Write(b[recordHead:body])
	_, _ = c.hash.Write(b[data : end-recordCheck])
	if !bytes.Equal(c.hash.Sum(nil), b[end-recordCheck:end]) {
		return 0
	}
	return int(end)
}

// checkLoaded returns ErrDamaged when there is a bucket that the server has left out.
func (s *Store) checkLoaded(ctx context.Context) error {
	loaded := make(map[string]bool)
	names := s.js.StreamNames(ctx)
	for name := range names.Name() {
		loaded[name] = true
	}
	if names.Err() != nil {
		return s.explain(ctx, "listing buckets", names.Err())
	}
	buckets, err := os.ReadDir(streamsDir(s.dir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot read the store: %w", err)
	}
	for _, b := range buckets {
		if !strings.HasPrefix(b.Name(), ".") && !loaded[b.Name()] {
			return fmt.Errorf("%w: %s cannot be loaded: see the log, then restore a backup", ErrDamaged, filepath.Join(streamsDir(s.dir), b.Name()))
		}
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
