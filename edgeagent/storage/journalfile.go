package storage

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A journalFile is the journal on disk, open for appending. Its owner is the torrent's goroutine; only flush may be called
// from another, and not after close.
type journalFile struct {
	path    string
	f       *os.File // nil as long as nothing has to be recorded
	seed    uint32
	size    int64
	records int
	buf     []byte
}

func (j *journalFile) fail(op string, err error) error {
	return newDiskError(op, j.path, filepath.Dir(j.path), err)
}

// readJournal returns nil without an error when there is no journal of this layout. Then damage tells why, if there is
// a file.
func readJournal(path string, pieces int, layout [32]byte) (s *journalState, damage, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	j := journalFile{path: path}
	if err != nil {
		return nil, nil, j.fail("opening", err)
	}
	defer f.Close()
	s, err = parseJournal(f, pieces, layout)
	switch {
	case errors.Is(err, errJournalDamaged), errors.Is(err, errJournalForeign):
		return nil, err, nil
	case err != nil:
		return nil, nil, j.fail("reading", err)
	}
	return s, nil, nil
}

// resume goes on with a journal as it was read.
func (j *journalFile) resume(s *journalState) error {
	f, err := os.OpenFile(j.path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return j.fail("opening", err)
	}
	j.f, j.seed, j.size, j.records = f, s.seed, s.size, s.records
	return nil
}

// rewrite replaces the journal, at one stroke, by one with a header and records of the given pieces.
func (j *journalFile) rewrite(h journalHeader, tail []uint32) error {
	if err := os.MkdirAll(filepath.Dir(j.path), 0o700); err != nil {
		return j.fail("creating", err)
	}
	b, seed := h.appendMarshal(nil)
	for _, piece := range tail {
		b = appendRecord(b, seed, piece)
	}
	temp := j.path + ".new"
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return j.fail("creating", err)
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(temp, j.path)
	}
	if err != nil {
		f.Close()
		os.Remove(temp)
		return j.fail("writing", err)
	}
	j.close()
	j.f, j.seed, j.size, j.records = f, seed, int64(len(b)), len(tail)
	return j.syncFolder()
}

func (j *journalFile) syncFolder() error {
	dir, err := os.Open(filepath.Dir(j.path))
	if err != nil {
		return j.fail("opening", err)
	}
	defer dir.Close()
	// Some file systems cannot sync a folder, and need not.
	if err := dir.Sync(); err != nil && !errors.Is(err, unix.EINVAL) {
		return j.fail("syncing", err)
	}
	return nil
}

func (j *journalFile) append(word uint32) error {
	j.buf = appendRecord(j.buf[:0], j.seed, word)
	if n, err := j.f.Write(j.buf); err != nil {
		if n > 0 {
			// What follows a torn record would be lost.
			j.f.Truncate(j.size)
		}
		return j.fail("writing", err)
	}
	j.size += recordSize
	j.records++
	return nil
}

func (j *journalFile) flush() error {
	if err := unix.Fdatasync(int(j.f.Fd())); err != nil {
		return j.fail("syncing", err)
	}
	return nil
}

func (j *journalFile) close() {
	if j.f != nil {
		j.f.Close()
		j.f = nil
	}
}

func (j *journalFile) remove() error {
	for _, p := range []string{j.path + ".new", j.path} {
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return j.fail("removing", err)
		}
	}
	return nil
}
