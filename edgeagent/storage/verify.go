package storage

import (
	"context"
	"crypto/sha1"
	"errors"
	"hash"
	"io"
	"io/fs"

	"golang.org/x/sys/unix"
)

// checkBuffer is how many bytes are read at once when pieces are hashed again.
const checkBuffer = 128 << 10

// Verify hashes everything on disk again, replaces Have and the journal by what it finds, and gives files their final name
// or the suffix .part accordingly. It must not be called while blocks are being written; unfinished pieces are dropped.
// progress, which may be nil, gets the number of bytes looked at so far after each piece, on the storage's own goroutine.
// Have follows piece by piece; no events are sent. When ctx ends, what was found so far is kept and ctx's error returned.
// Other errors are ErrClosed and *DiskError.
func (t *Torrent) Verify(ctx context.Context, progress func(bytes int64)) error {
	if progress == nil {
		progress = func(int64) {}
	}
	var err error
	if stopped := t.do(ctx, func() { err = t.verify(ctx, progress) }); stopped != nil {
		return stopped
	}
	return err
}

func (t *Torrent) verify(ctx context.Context, progress func(int64)) error {
	if t.own.sync.running {
		t.endSync(<-t.own.sync.done)
	}
	if t.own.failed != nil {
		return t.own.failed
	}
	t.dropUnfinished()
	sizes := t.disk.scan(!t.NeedsCheck())
	err := t.checkAll(ctx, sizes, progress)
	t.count()
	// The names and the journal are put right whatever stopped it.
	if settleErr := t.settleAll(sizes); err == nil {
		err = settleErr
	}
	if err == nil {
		t.needsCheck.Store(false)
	}
	return err
}

func (t *Torrent) checkAll(ctx context.Context, sizes []int64, progress func(int64)) error {
	c := newChecker(t, sizes)
	for piece := range t.table.pieces {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.closing:
			return ErrClosed
		default:
		}
		ok, err := c.check(piece)
		if err != nil {
			return err
		}
		if ok {
			t.have.set(piece)
		} else {
			t.have.clear(piece)
		}
		progress(t.table.pieceOffset(piece) + int64(t.table.pieceSize(piece)))
	}
	return nil
}

// settleAll makes names and journal agree with have.
func (t *Torrent) settleAll(sizes []int64) error {
	t.own.begun = false
	t.own.previous = nil
	if t.disk.root == nil {
		return nil
	}
	// A new journal starts with pieces that are on the disk for good.
	if err := t.disk.syncAll(); err != nil {
		return err
	}
	t.disk.takeTouched()
	t.own.sync.disarm()
	t.own.sync.unsynced = t.own.sync.unsynced[:0]
	t.own.oversize = t.table.oversize(sizes)
	if err := t.begin(); err != nil {
		return err
	}
	for file, left := range t.own.left {
		if left > 0 || !t.table.stored(file) {
			continue
		}
		if t.skips(file) && !t.disk.is(file, complete) {
			continue
		}
		if err := t.disk.settle(file, complete); err != nil {
			return err
		}
		if err := t.disk.removePart(file); err != nil {
			return err
		}
	}
	return nil
}

// A checker hashes pieces that are on disk.
type checker struct {
	t     *Torrent
	sizes []int64 // of the files
	hash  hash.Hash
	buf   []byte
	zeros map[int][]byte // the hash of so many zeros
}

func newChecker(t *Torrent, sizes []int64) *checker {
	return &checker{t: t, sizes: sizes, hash: sha1.New(), zeros: make(map[int][]byte)}
}

// check reports whether the piece is on disk and right.
func (c *checker) check(piece int) (bool, error) {
	off, size := c.t.table.pieceOffset(piece), c.t.table.pieceSize(piece)
	hole := true
	for s := range c.t.table.segments(off, size) {
		if c.t.table.files[s.file].Pad {
			continue
		}
		if c.sizes[s.file] < s.off+int64(s.n) {
			return false, nil
		}
		// Of a piece of many small files, each would be opened twice.
		hole = hole && s.n >= min(size, BlockSize) && c.t.disk.hole(s)
	}
	sum, err := c.sum(off, size, hole)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, io.ErrUnexpectedEOF) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return c.t.hashIs(piece, sum)
}

// sum hashes a part of the content. What is a hole in its file, as most of an unfinished file is, needs no reading.
func (c *checker) sum(off int64, size int, hole bool) ([]byte, error) {
	if sum := c.zeros[size]; hole && sum != nil {
		return sum, nil
	}
	if c.buf == nil {
		c.buf = make([]byte, checkBuffer)
	}
	c.hash.Reset()
	for left := size; left > 0; {
		b := c.buf[:min(left, len(c.buf))]
		if err := c.t.disk.read(b, off); err != nil {
			return nil, err
		}
		c.hash.Write(b)
		off += int64(len(b))
		left -= len(b)
	}
	sum := c.hash.Sum(nil)
	if hole {
		c.zeros[size] = sum
	}
	return sum, nil
}

// hole reports whether the segment is known to lie in a hole of its file, and so reads as zeros.
func (d *disk) hole(s segment) bool {
	h, err := d.acquire(s.file, false)
	if err != nil {
		return false
	}
	defer d.release(h)
	data, err := unix.Seek(h.fd, s.off, unix.SEEK_DATA)
	return errors.Is(err, unix.ENXIO) || err == nil && data >= s.off+int64(s.n)
}

// truncate cuts a file, which has its unfinished name then.
func (d *disk) truncate(file int, size int64) error {
	h, err := d.acquire(file, true)
	if err != nil {
		return err
	}
	defer d.release(h)
	if err := h.f.Truncate(size); err != nil {
		return d.fail("writing", d.name(file), err)
	}
	return nil
}
