package storage

import (
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

const (
	// partSuffix marks the name of an unfinished file.
	partSuffix = ".part"
	// oldSuffix marks the name of a file that was in the way of the torrent's.
	oldSuffix = ".old"
	// maxName is the longest name, in bytes, that the usual file systems take.
	maxName = 255
)

// split returns the folder, "." for the download folder itself, and the name of a file in it.
func split(p string) (dir, base string) {
	if i := strings.LastIndexByte(p, '/'); i >= 0 {
		return p[:i], p[i+1:]
	}
	return ".", p
}

// partName returns the name of an unfinished file.
func partName(base string) string { return suffixed(base, partSuffix) }

// suffixed returns the name with the suffix. A name that leaves no room for it is cut, and made unique again by its hash.
func suffixed(base, suffix string) string {
	if len(base)+len(suffix) <= maxName {
		return base + suffix
	}
	sum := sha1.Sum([]byte(base))
	tail := "~" + hex.EncodeToString(sum[:8]) + suffix
	return strings.ToValidUTF8(base[:maxName-len(tail)], "") + tail
}

// name returns the file's path within the download folder, as it is now.
func (d *disk) name(file int) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.table.files[file].Path
	if d.state[file] != partial {
		return p
	}
	dir, base := split(p)
	return path.Join(dir, partName(base))
}

// settle gives the file the name of the wanted state, if it is there at all.
func (d *disk) settle(file int, want fileState) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.state[file] == absent || d.state[file] == want {
		return nil
	}
	return d.rename(file, want)
}

// rename needs d.mu and a file that is there under the other name.
func (d *disk) rename(file int, want fileState) error {
	dir, base := split(d.table.files[file].Path)
	from, to := base, partName(base)
	if want == complete {
		from, to = to, from
	}
	folder, err := d.folder(dir, false)
	if err != nil {
		return d.fail("renaming", path.Join(dir, from), err)
	}
	if want == complete {
		// Whatever took the name meanwhile is not ours to replace.
		if _, err := folder.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
			if err == nil {
				err = fs.ErrExist
			}
			return d.fail("creating", path.Join(dir, to), err)
		}
	}
	if err := folder.Rename(from, to); err != nil {
		return d.fail("renaming", path.Join(dir, from), err)
	}
	d.state[file] = want
	return nil
}

// is reports whether the file is in that state.
func (d *disk) is(file int, s fileState) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state[file] == s
}

// setAside renames a finished file to the first free one of NAME.old, NAME.old2 and so on, which it returns.
func (d *disk) setAside(file int) (to string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	dir, base := split(d.table.files[file].Path)
	folder, err := d.folder(dir, false)
	for n := 1; err == nil; n++ {
		suffix := oldSuffix
		if n > 1 {
			suffix += strconv.Itoa(n)
		}
		to = suffixed(base, suffix)
		if _, err = folder.Lstat(to); errors.Is(err, fs.ErrNotExist) {
			err = folder.Rename(base, to)
			break
		}
	}
	if err != nil {
		return "", d.fail("renaming", path.Join(dir, base), err)
	}
	d.state[file] = absent
	return path.Join(dir, to), nil
}

// scan looks which files are there and returns their sizes, 0 for absent ones. Where a file is there under both its names,
// the unfinished one counts if preferPart is set or the other has not the right length.
func (d *disk) scan(preferPart bool) []int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.root == nil {
		d.root, _ = os.OpenRoot(d.dir) // it may have come to be since
	}
	sizes := make([]int64, len(d.table.files))
	for i, f := range d.table.files {
		d.state[i] = absent
		if f.Pad {
			continue
		}
		dir, base := split(f.Path)
		folder, err := d.folder(dir, false)
		if err != nil {
			continue
		}
		own, ownErr := regularSize(folder, base)
		part, partErr := regularSize(folder, partName(base))
		switch {
		case partErr == nil && (preferPart || ownErr != nil || own != f.Length):
			d.state[i], sizes[i] = partial, part
		case ownErr == nil:
			d.state[i], sizes[i] = complete, own
		}
	}
	return sizes
}

func regularSize(folder *os.Root, name string) (int64, error) {
	info, err := folder.Stat(name)
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() {
		return 0, errNotRegular
	}
	return info.Size(), nil
}

// removePart removes the unfinished version of a finished file, if somebody left one.
func (d *disk) removePart(file int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	dir, base := split(d.table.files[file].Path)
	folder, err := d.folder(dir, false)
	if err == nil {
		err = removeFile(folder, partName(base))
	}
	if err != nil {
		return d.fail("removing", path.Join(dir, partName(base)), err)
	}
	return nil
}

// createEmpty makes the files that have no bytes, without those that are skipped.
func (d *disk) createEmpty(skip bitfield) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, f := range d.table.files {
		if f.Pad || f.Length > 0 || skip.includes(i) || d.state[i] != absent {
			continue
		}
		dir, base := split(f.Path)
		folder, err := d.folder(dir, true)
		if err != nil {
			return d.fail("creating", f.Path, err)
		}
		file, err := folder.OpenFile(base, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if err != nil {
			return d.fail("creating", f.Path, err)
		}
		file.Close()
		d.state[i] = complete
	}
	return nil
}

// remove deletes the files of a closed disk, finished or not, and the folders that are empty then. Of the files to keep,
// only an unfinished version is deleted. It goes on after an error and returns the first.
func (d *disk) remove(keep func(file int) bool) (first error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	root, err := os.OpenRoot(d.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return d.fail("opening", "", err)
	}
	d.root = root
	defer d.leave()
	folders := make(map[string]struct{})
	for i, f := range d.table.files {
		if f.Pad {
			continue
		}
		dir, base := split(f.Path)
		for p := dir; p != "."; p, _ = split(p) {
			if _, ok := folders[p]; ok {
				break
			}
			folders[p] = struct{}{}
		}
		folder, err := d.folder(dir, false)
		if err != nil {
			continue
		}
		names := []string{partName(base), base}
		if d.state[i] == complete && keep(i) {
			names = names[:1]
		}
		for _, name := range names {
			if err := removeFile(folder, name); err != nil && first == nil {
				first = d.fail("removing", path.Join(dir, name), err)
			}
		}
		d.state[i] = absent
	}
	d.leaveFolder()
	// A folder's path is longer than that of the folder it is in.
	byDepth := make([]string, 0, len(folders))
	for p := range folders {
		byDepth = append(byDepth, p)
	}
	slices.SortFunc(byDepth, func(a, b string) int { return len(b) - len(a) })
	for _, p := range byDepth {
		// Folders only: a symbolic link to one is not ours.
		if info, err := d.root.Lstat(p); err == nil && info.IsDir() {
			d.root.Remove(p) // fails for one that is not empty, as it should
		}
	}
	return first
}

func removeFile(folder *os.Root, name string) error {
	info, err := folder.Lstat(name)
	if err == nil && !info.IsDir() {
		err = folder.Remove(name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
