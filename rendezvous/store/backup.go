package store

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
	"time"
)

// A backup is lines of JSON: a header, a line for each record, a line for each blob, and a footer with the SHA-256 of every
// byte before it, by which a truncated or damaged file is known before anything of it is used:
//
//	{"simplebit":"backup","version":1,"created":"2026-11-22T12:00:00Z"}
//	{"table":"jobs","key":"a3f1","value":{…}}
//	{"blobs":"infos","key":"a3f1","data":"…"}
//	{"end":{"records":1,"blobs":1,"sha256":"…"}}
//
// Keys are written as NATS has them: "=" and two hex digits for every byte that is no letter, digit or "-". Data is base64.
const (
	backupMagic   = "backup"
	backupVersion = 1
	// maxLine is a blob of MaxBlob in base64, and its names.
	maxLine = MaxBlob/3*4 + 64<<10
)

// backupLine is one line. Exactly one of the groups is used.
type backupLine struct {
	SimpleBit string     `json:"simplebit,omitempty"`
	Version   int        `json:"version,omitempty"`
	Created   *time.Time `json:"created,omitempty"`

	Table string          `json:"table,omitempty"`
	Blobs string          `json:"blobs,omitempty"`
	Key   string          `json:"key,omitempty"`
	Value json.RawMessage `json:"value,omitempty"` // of a table's record
	Data  []byte          `json:"data,omitempty"`  // of a blob

	End *backupEnd `json:"end,omitempty"`
}

type backupEnd struct {
	Records int    `json:"records"`
	Blobs   int    `json:"blobs"`
	SHA256  string `json:"sha256"`
}

// Summary is what a backup has in it.
type Summary struct {
	Created time.Time // in UTC, to the second
	Records int
	Blobs   int
}

// Backup writes everything in the store, which goes on working: each record as it was at some moment while Backup ran. Tables
// come before blobs, so that what a record refers to is there, unless it was removed meanwhile. What it writes holds
// private keys. An error leaves a backup without an end, which Restore refuses.
func (s *Store) Backup(ctx context.Context, w io.Writer) (Summary, error) {
	b := &backupWriter{w: bufio.NewWriterSize(w, 256<<10), hash: sha256.New()}
	b.sum.Created = time.Now().UTC().Truncate(time.Second)
	if err := b.line(backupLine{SimpleBit: backupMagic, Version: backupVersion, Created: &b.sum.Created}); err != nil {
		return Summary{}, err
	}
	buckets, err := s.buckets(ctx)
	if err != nil {
		return Summary{}, err
	}
	for _, bucket := range buckets {
		if bucket.table {
			err = s.backupTable(ctx, b, bucket.name)
		} else {
			err = s.backupBlobs(ctx, b, bucket.name)
		}
		if err != nil {
			return Summary{}, err
		}
	}
	if err := b.line(backupLine{End: &backupEnd{b.sum.Records, b.sum.Blobs, hex.EncodeToString(b.hash.Sum(nil))}}); err != nil {
		return Summary{}, err
	}
	return b.sum, b.w.Flush()
}

func (s *Store) backupTable(ctx context.Context, b *backupWriter, name string) error {
	t, err := OpenTable[json.RawMessage](ctx, s, name)
	if err != nil {
		return err
	}
	all, err := t.All(ctx)
	if err != nil {
		return err
	}
	for _, key := range sortedKeys(all) {
		k, err := encodeKey(key)
		if err != nil {
			return err
		}
		if err := b.line(backupLine{Table: name, Key: k, Value: all[key]}); err != nil {
			return err
		}
		b.sum.Records++
	}
	return nil
}

func (s *Store) backupBlobs(ctx context.Context, b *backupWriter, name string) error {
	blobs, err := s.OpenBlobs(ctx, name)
	if err != nil {
		return err
	}
	names, err := blobs.names(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		data, err := blobs.Get(ctx, name)
		if errors.Is(err, ErrNotFound) {
			continue // removed meanwhile
		}
		if err != nil {
			return err
		}
		k, err := encodeKey(name)
		if err != nil {
			return err
		}
		if err := b.line(backupLine{Blobs: blobs.bucket, Key: k, Data: data}); err != nil {
			return err
		}
		b.sum.Blobs++
	}
	return nil
}

// backupWriter writes lines and hashes what it has written.
type backupWriter struct {
	w    *bufio.Writer
	hash hash.Hash
	sum  Summary
}

func (b *backupWriter) line(l backupLine) error {
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false) // records stay byte for byte as they are
	if err := e.Encode(l); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	b.hash.Write(buf.Bytes())
	if _, err := b.w.Write(buf.Bytes()); err != nil {
		return fmt.Errorf("writing the backup: %w", err)
	}
	return nil
}

// Verify reads a whole backup and returns what is in it, or ErrBadBackup with the reason.
func Verify(r io.Reader) (Summary, error) {
	return readBackup(r, func(backupLine) error { return nil })
}

// readBackup calls each with every record and blob of a backup. What it was called with counts only if there is no error.
func readBackup(r io.Reader, each func(backupLine) error) (Summary, error) {
	in := bufio.NewReaderSize(r, 256<<10)
	sum := sha256.New()
	var s Summary
	for n := 1; ; n++ {
		before := hex.EncodeToString(sum.Sum(nil))
		b, err := readLine(in)
		switch {
		case errors.Is(err, io.EOF):
			return Summary{}, fmt.Errorf("%w: it ends at line %d, before its end", ErrBadBackup, n)
		case err != nil:
			return Summary{}, fmt.Errorf("line %d: %w", n, err)
		}
		sum.Write(b)
		l, err := parseLine(b, n == 1)
		if err != nil {
			return Summary{}, fmt.Errorf("%w: line %d: %w", ErrBadBackup, n, err)
		}
		switch {
		case n == 1:
			s.Created = l.Created.UTC()
			continue
		case l.End != nil:
			if *l.End != (backupEnd{s.Records, s.Blobs, before}) {
				return Summary{}, fmt.Errorf("%w: its checksum is wrong", ErrBadBackup)
			}
			if _, err := in.ReadByte(); !errors.Is(err, io.EOF) {
				return Summary{}, fmt.Errorf("%w: something follows its end", ErrBadBackup)
			}
			return s, nil
		case l.Table != "":
			s.Records++
		default:
			s.Blobs++
		}
		if err := each(l); err != nil {
			return Summary{}, err
		}
	}
}

// readLine returns a line with its end.
func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return line, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err // a last line without an end is cut off, too
		case len(line) > maxLine:
			return nil, fmt.Errorf("%w: it has more than %d bytes", ErrBadBackup, maxLine)
		}
	}
}

var errNoBackup = errors.New("it does not begin as a backup does")

// parseLine reads a line and accepts what Backup writes only.
func parseLine(b []byte, first bool) (l backupLine, err error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err != nil {
		if first {
			return l, errNoBackup
		}
		return l, fmt.Errorf("it is not what a backup has: %w", err)
	}
	isHeader := l.SimpleBit == backupMagic && l.Created != nil && l.Version > 0
	bucket, size, limit := l.Table, len(l.Value), MaxRecord
	if l.Blobs != "" {
		bucket, size, limit = l.Blobs, len(l.Data), MaxBlob
	}
	_, badKey := decodeKey(l.Key)
	switch {
	case d.InputOffset() < int64(len(bytes.TrimSpace(b))):
		return l, errors.New("it is more than one line")
	case first && !isHeader:
		return l, errNoBackup
	case first && l.Version != backupVersion:
		return l, fmt.Errorf("its version is %d, this program knows %d: restore it with a newer one", l.Version, backupVersion)
	case first || l.End != nil:
		return l, nil
	case l.Table != "" && l.Blobs != "" || l.Table != "" && l.Value == nil || !bucketName.MatchString(bucket) || isOurs(bucket):
		return l, errors.New("it is neither a record nor a blob")
	case badKey != nil:
		return l, badKey
	case size > limit:
		return l, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, size, limit)
	}
	return l, nil
}

// bucket is a table or a store of blobs.
type bucket struct {
	table bool
	name  string
}

// The names of buckets that the store uses for itself.
const restoringBucket = "restoring"

func isOurs(name string) bool { return name == leaseBucket || name == restoringBucket }

// buckets lists the tables and then the blobs that are there, by name.
func (s *Store) buckets(ctx context.Context) ([]bucket, error) {
	const what = "listing buckets"
	op, end, err := s.begin(ctx, what)
	if err != nil {
		return nil, err
	}
	defer end()
	var all []bucket
	names := s.js.StreamNames(op)
	for stream := range names.Name() {
		if name, ok := strings.CutPrefix(stream, "KV_"+s.prefix); ok && bucketName.MatchString(name) && !isOurs(name) {
			all = append(all, bucket{true, name})
		} else if name, ok := strings.CutPrefix(stream, "OBJ_"+s.prefix); ok && bucketName.MatchString(name) {
			all = append(all, bucket{false, name})
		}
	}
	if err := names.Err(); err != nil {
		return nil, s.explain(ctx, what, err)
	}
	slices.SortFunc(all, func(a, b bucket) int {
		if a.table != b.table && a.table {
			return -1
		}
		if a.table != b.table {
			return 1
		}
		return strings.Compare(a.name, b.name)
	})
	return all, nil
}
