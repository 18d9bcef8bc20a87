package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Errors that a caller may want to tell apart.
var (
	// ErrClosed is returned by every method of a torrent that has been closed or deleted.
	ErrClosed = errors.New("storage: the torrent is closed")
	// ErrNotVerified is returned by ReadBlock for data of a piece that is not verified.
	ErrNotVerified = errors.New("storage: the piece is not verified")
	// ErrLayout is wrapped by the error of Open when the layout contradicts itself or names an impossible path.
	ErrLayout = errors.New("storage: invalid layout")
)

// A DiskError says which operation on which file failed, and how much room its file system has. After one, a torrent
// accepts no further block until it is opened again.
type DiskError struct {
	Op   string // what was being done, a verb in -ing: writing, reading, opening, creating, renaming, syncing
	Path string // the file, as the owner of the machine would name it
	Dir  string // the folder whose file system Free was asked of
	Free int64  // bytes free for this user in Dir when it failed; -1 when that could not be found out
	Err  error  // the cause, from the operating system
}

// Error says in one line what failed and what the owner of the machine can do about it.
func (e *DiskError) Error() string {
	if e.Full() {
		return fmt.Sprintf("disk full: %s %s: %d bytes free in %s; free some space and resume", e.Op, e.Path, e.Free, e.Dir)
	}
	return fmt.Sprintf("disk: %s %s: %v; %s and resume", e.Op, e.Path, e.Err, e.remedy())
}

// Unwrap returns the cause.
func (e *DiskError) Unwrap() error { return e.Err }

// Full reports whether the disk, or the user's quota on it, is used up.
func (e *DiskError) Full() bool {
	return errors.Is(e.Err, syscall.ENOSPC) || errors.Is(e.Err, syscall.EDQUOT)
}

func (e *DiskError) remedy() string {
	switch {
	case errors.Is(e.Err, syscall.EROFS):
		return "make the file system writable"
	case errors.Is(e.Err, fs.ErrPermission):
		return "allow the agent to write there"
	case errors.Is(e.Err, fs.ErrExist):
		return "move that file away"
	case errors.Is(e.Err, fs.ErrNotExist):
		return "check that the disk is mounted"
	}
	return "check the disk"
}

var errNotRegular = errors.New("not a regular file")

// newDiskError asks the file system that dir is on for its free bytes.
func newDiskError(op, path, dir string, err error) *DiskError {
	// The cause of an error of package os names the path a second time.
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	} else if le, ok := errors.AsType[*os.LinkError](err); ok {
		err = le.Err
	}
	e := &DiskError{Op: op, Path: path, Dir: dir, Free: -1, Err: err}
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) == nil {
		e.Free = int64(st.Bavail) * int64(st.Bsize)
	}
	return e
}
