package storage

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// maxHandles is how many files of a torrent are kept open.
const maxHandles = 16

// maxVector is how many buffers are written by one system call, 128 KiB of them as a rule. For more, package unix allocates.
const maxVector = 8

// A fileState says under which name a file is on disk.
type fileState uint8

const (
	absent   fileState = iota
	partial            // with partSuffix
	complete           // under its own name
)

// A disk is the files of one torrent. It keeps the ones used last open. All access goes through an os.Root, so that neither
// a name nor a symbolic link that somebody planted leads out of the download folder. It may be used by several goroutines:
// the one at work writes and renames, others read.
type disk struct {
	dir   string
	table *table

	mu      sync.Mutex
	closed  bool
	root    *os.Root // nil as long as the download folder does not exist
	sub     *os.Root // the folder used last
	subPath string
	state   []fileState
	handles []*handle // the one used last comes first

	// Only the goroutine at work uses these.
	bufs    [][]byte
	touched fileSet // written since the last sync
}

// A handle is an open file.
type handle struct {
	file     int
	f        *os.File
	fd       int
	writable bool
	refs     int  // how many are using it
	gone     bool // is to be closed by the last of them
}

func openDisk(dir string, t *table) (*disk, error) {
	d := &disk{dir: dir, table: t, state: make([]fileState, len(t.files))}
	root, err := os.OpenRoot(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, d.fail("opening", "", err)
	}
	d.root = root
	return d, nil
}

// fail makes a DiskError about a path within the download folder.
func (d *disk) fail(op, name string, err error) error {
	return newDiskError(op, filepath.Join(d.dir, filepath.FromSlash(name)), d.dir, err)
}

// makeRoot makes the download folder if it is missing.
func (d *disk) makeRoot() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.root != nil {
		return nil
	}
	if err := os.MkdirAll(d.dir, 0o777); err != nil {
		return d.fail("creating", "", err)
	}
	root, err := os.OpenRoot(d.dir)
	if err != nil {
		return d.fail("opening", "", err)
	}
	d.root = root
	return nil
}

// folder returns the folder of that path, which stays valid until the next call. It needs d.mu.
func (d *disk) folder(dir string, create bool) (*os.Root, error) {
	switch {
	case d.root == nil:
		return nil, fs.ErrNotExist
	case dir == ".":
		return d.root, nil
	case d.sub != nil && d.subPath == dir:
		return d.sub, nil
	}
	sub, err := d.root.OpenRoot(dir)
	if create && errors.Is(err, fs.ErrNotExist) {
		if err := d.root.MkdirAll(dir, 0o777); err != nil {
			return nil, err
		}
		sub, err = d.root.OpenRoot(dir)
	}
	if err != nil {
		return nil, err
	}
	d.leaveFolder()
	d.sub, d.subPath = sub, dir
	return sub, nil
}

// leaveFolder needs d.mu.
func (d *disk) leaveFolder() {
	if d.sub != nil {
		d.sub.Close()
		d.sub = nil
	}
}

// acquire opens a file, or returns it when it is open already. The handle is good until release, whatever happens to the
// file meanwhile.
func (d *disk) acquire(file int, write bool) (*handle, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, ErrClosed
	}
	for i, h := range d.handles {
		if h.file != file {
			continue
		}
		if write && !h.writable {
			d.discard(i)
			break
		}
		copy(d.handles[1:i+1], d.handles[:i])
		d.handles[0] = h
		h.refs++
		return h, nil
	}
	f, err := d.open(file, write)
	if err != nil {
		return nil, err
	}
	h := &handle{file: file, f: f, fd: int(f.Fd()), writable: write, refs: 1}
	d.handles = slices.Insert(d.handles, 0, h)
	for i := len(d.handles) - 1; i > 0 && len(d.handles) > maxHandles; i-- {
		if d.handles[i].refs == 0 {
			d.discard(i)
		}
	}
	return h, nil
}

func (d *disk) release(h *handle) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h.refs--
	if h.gone && h.refs == 0 {
		h.f.Close()
	}
}

// discard needs d.mu.
func (d *disk) discard(i int) {
	h := d.handles[i]
	d.handles = slices.Delete(d.handles, i, i+1)
	h.gone = true
	if h.refs == 0 {
		h.f.Close()
	}
}

// open needs d.mu.
func (d *disk) open(file int, write bool) (*os.File, error) {
	if write && d.state[file] == complete {
		if err := d.rename(file, partial); err != nil {
			return nil, err
		}
	}
	op, flags := "opening", os.O_RDONLY
	switch {
	case write && d.state[file] == absent:
		// That nothing has the name yet also finds names that are the same to a file system which ignores case.
		op, flags = "creating", os.O_RDWR|os.O_CREATE|os.O_EXCL
	case write:
		flags = os.O_RDWR
	}
	dir, base := split(d.table.files[file].Path)
	name := base
	if write || d.state[file] == partial {
		name = partName(base)
	}
	folder, err := d.folder(dir, write)
	if err != nil {
		return nil, d.fail(op, path.Join(dir, name), err)
	}
	// A FIFO in the place of the file must not block the open.
	f, err := folder.OpenFile(name, flags|unix.O_NONBLOCK, 0o666)
	if err != nil {
		return nil, d.fail(op, path.Join(dir, name), err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errNotRegular
	}
	if err != nil {
		f.Close()
		return nil, d.fail(op, path.Join(dir, name), err)
	}
	if write {
		d.state[file] = partial
	}
	return f, nil
}

// close makes every further acquire fail. Handles in use stay good until they are released.
func (d *disk) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	d.closed = true
	for len(d.handles) > 0 {
		d.discard(len(d.handles) - 1)
	}
	d.leave()
}

// leave needs d.mu.
func (d *disk) leave() {
	d.leaveFolder()
	if d.root != nil {
		d.root.Close()
		d.root = nil
	}
}

// writeBlocks stores blocks that follow each other at the given offset of the content, without the padding in them. Only
// the goroutine at work may call it.
func (d *disk) writeBlocks(off int64, blocks []*Block) error {
	total := 0
	for _, b := range blocks {
		total += b.N
	}
	used := 0 // bytes of blocks[0]
	for s := range d.table.segments(off, total) {
		d.bufs = d.bufs[:0]
		for n := s.n; n > 0; {
			b := blocks[0].data[used:blocks[0].N]
			b = b[:min(len(b), n)]
			d.bufs = append(d.bufs, b)
			n -= len(b)
			used += len(b)
			if used == blocks[0].N {
				blocks, used = blocks[1:], 0
			}
		}
		if d.table.files[s.file].Pad {
			continue
		}
		if err := d.write(s.file, d.bufs, s.off); err != nil {
			return err
		}
	}
	return nil
}

// write stores the buffers, one after the other, in a file that has its unfinished name then. It changes bufs.
func (d *disk) write(file int, bufs [][]byte, off int64) error {
	h, err := d.acquire(file, true)
	if err != nil {
		return err
	}
	defer d.release(h)
	d.touched.add(file)
	for len(bufs) > 0 {
		n, err := unix.Pwritev(h.fd, bufs[:min(len(bufs), maxVector)], off)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err == nil && n == 0 {
			err = io.ErrShortWrite
		}
		if err != nil {
			return d.fail("writing", d.name(file), err)
		}
		off += int64(n)
		for len(bufs) > 0 && n >= len(bufs[0]) {
			n -= len(bufs[0])
			bufs = bufs[1:]
		}
		if n > 0 {
			bufs[0] = bufs[0][n:]
		}
	}
	return nil
}

// read fills dst from the given offset of the content. Padding reads as zeros.
func (d *disk) read(dst []byte, off int64) error {
	for s := range d.table.segments(off, len(dst)) {
		b := dst[:s.n]
		dst = dst[s.n:]
		if d.table.files[s.file].Pad {
			clear(b)
			continue
		}
		if err := d.readFile(s.file, b, s.off); err != nil {
			return err
		}
	}
	return nil
}

func (d *disk) readFile(file int, b []byte, off int64) error {
	h, err := d.acquire(file, false)
	if err != nil {
		return err
	}
	defer d.release(h)
	if _, err := h.f.ReadAt(b, off); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return d.fail("reading", d.name(file), err)
	}
	return nil
}
