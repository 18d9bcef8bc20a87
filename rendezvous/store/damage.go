package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// The server leaves out a bucket whose description it cannot read, to be created anew and empty, and fills but then does not
// load one whose creation was cut off. checkFolder, before it starts, and checkLoaded, after, keep both from losing records.
// A bucket is a folder with meta.inf, meta.sum and the records in msgs/N.blk.

// checkFolder removes buckets whose creation was cut off, and returns ErrDamaged for one that has records and no description.
func checkFolder(dir string, log *slog.Logger) error {
	buckets, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a new store
	}
	if err != nil {
		return fmt.Errorf("cannot read the store: %w", err)
	}
	for _, bucket := range buckets {
		path := filepath.Join(dir, bucket.Name())
		if strings.HasPrefix(bucket.Name(), ".") || exists(filepath.Join(path, "meta.inf")) && exists(filepath.Join(path, "meta.sum")) {
			continue // being removed by the server, or whole
		}
		records, err := hasRecords(path)
		if err != nil {
			return fmt.Errorf("cannot read the store: %w", err)
		}
		if records {
			return fmt.Errorf("%w: %s has records and no description: restore a backup", ErrDamaged, path)
		}
		// The description comes before any record, so this one was never in use.
		log.Warn("removing a bucket whose creation was cut off", "folder", path)
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("cannot remove a bucket whose creation was cut off: %w", err)
		}
	}
	return nil
}

// hasRecords reports whether a block of the bucket has a byte in it.
func hasRecords(bucket string) (bool, error) {
	blocks, err := filepath.Glob(filepath.Join(bucket, "msgs", "*.blk"))
	for _, b := range blocks {
		fi, err := os.Stat(b)
		if err != nil || fi.Size() > 0 {
			return err == nil, err
		}
	}
	return false, err
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
