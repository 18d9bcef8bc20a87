package store

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// lockFolder creates dir when needed, keeps others out of it and locks it. The lock ends with unlockFolder, or with the process,
// however that dies.
func lockFolder(dir string, log *slog.Logger) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, folderError(dir, err)
	}
	if fi, err := os.Stat(dir); err == nil && fi.Mode().Perm()&0o077 != 0 {
		// Volumes of some kinds have no permissions to set: better to run with a warning than not at all.
		if err := os.Chmod(dir, 0o700); err != nil {
			log.Warn("other users may read the store's private keys: make the folder private", "folder", dir, "error", err)
		}
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, folderError(dir, err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		holder := lockHolder(f)
		_ = f.Close()
		return nil, fmt.Errorf("%w: the store in %s is in use by another process%s: stop it first", ErrInUse, dir, holder)
	}
	if err != nil {
		_ = f.Close()
		return nil, folderError(dir, err)
	}
	if err := writeHolder(f); err != nil {
		unlockFolder(f)
		return nil, folderError(dir, err)
	}
	return f, nil
}

// unlockFolder lets others have the folder at once: a program that is just being started holds what is open here a moment longer.
// Calling it again does nothing.
func unlockFolder(f *os.File) {
	_ = unix.Flock(int(f.Fd()), unix.LOCK_UN)
	_ = f.Close()
}

// writeHolder leaves our process id for the error message of the next one who tries.
func writeHolder(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

func lockHolder(f *os.File) string {
	b := make([]byte, 16)
	n, _ := f.ReadAt(b, 0)
	pid, err := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	if err != nil {
		return "" // it has locked the file and not yet written its id
	}
	return fmt.Sprintf(" (process %d)", pid)
}

func folderError(dir string, err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, unix.EROFS):
		return fmt.Errorf("the store folder %s is not writable by this user: change its owner or choose another folder: %w", dir, err)
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.EEXIST):
		return fmt.Errorf("the store folder %s is not a folder: choose another: %w", dir, err)
	case errors.Is(err, unix.ENOSPC):
		return fmt.Errorf("%w: cannot create the store in %s: free some space and start again", ErrFull, dir)
	default:
		return fmt.Errorf("cannot open the store folder %s: %w", dir, err)
	}
}
