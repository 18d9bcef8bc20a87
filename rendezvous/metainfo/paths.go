package metainfo

import (
	"strconv"
	"strings"
)

// pathMaker gives each file of a torrent with a folder its safe path. First every file is added, because a later one
// may need a folder where an earlier one would be; then the paths are assigned.
type pathMaker struct {
	root  string // the torrent's folder, safe
	files []rawFile

	rawFiles   map[string]bool   // raw paths of files
	rawFolders map[string]string // raw paths of folders to safe ones, which have the root before them
	folders    map[string]bool   // folded safe paths of folders
	taken      map[string]bool   // folded safe paths of files
}

type rawFile struct {
	index  int    // in Torrent.Files
	raw    string // the path as the torrent has it
	folder string // safe, with the torrent's folder
	name   string // safe
}

// newPathMaker makes paths for up to n files in the folder root.
func newPathMaker(root string, n int) *pathMaker {
	return &pathMaker{
		root:       root,
		files:      make([]rawFile, 0, n),
		rawFiles:   make(map[string]bool, n),
		rawFolders: make(map[string]string),
		folders:    map[string]bool{fold(root): true},
		taken:      make(map[string]bool, n),
	}
}

// add notes the file with this index and path.
func (m *pathMaker) add(index int, parts []string) error {
	raw := strings.Join(parts, "/")
	if len(parts) == 0 {
		return invalid("its file number %d has an empty path", index+1)
	}
	for _, part := range parts {
		if err := checkName(part); err != nil {
			return invalid("the path of the file %.120q %w", raw, err)
		}
	}
	if m.rawFiles[raw] {
		return invalid("the file %.120q is in it twice", raw)
	}
	m.rawFiles[raw] = true
	name := parts[len(parts)-1]
	folder := strings.TrimSuffix(strings.TrimSuffix(raw, name), "/")
	m.files = append(m.files, rawFile{index: index, raw: raw, folder: m.folder(folder), name: safeName(name)})
	if len(m.rawFolders) > MaxFiles {
		return invalid("it has more than %d folders", MaxFiles)
	}
	return nil
}

// folder returns the safe path of a folder, and notes it with all above it when it is new.
func (m *pathMaker) folder(raw string) string {
	if raw == "" {
		return m.root
	}
	if safe, ok := m.rawFolders[raw]; ok {
		return safe
	}
	slash := strings.LastIndexByte(raw, '/')
	safe := m.folder(raw[:max(slash, 0)])
	if len(safe) <= MaxPath { // else assign refuses it, and it need not grow
		safe += "/" + safeName(raw[slash+1:])
	}
	m.rawFolders[raw] = safe
	m.folders[fold(safe)] = true
	return safe
}

// assign writes the files' paths.
func (m *pathMaker) assign(files []File) error {
	total := 0
	for _, f := range m.files {
		if _, ok := m.rawFolders[f.raw]; ok {
			return invalid("%.120q is both a file and a folder in it", f.raw)
		}
		p := f.folder + "/" + f.name
		key := fold(p)
		for try := 0; !m.free(key); try++ {
			p = f.folder + "/" + mark(f.name, f.raw+"\x00"+strconv.Itoa(try))
			key = fold(p)
		}
		if len(p) > MaxPath {
			return invalid("the path of the file %.120q has more than %d bytes", f.raw, MaxPath)
		}
		m.taken[key] = true
		files[f.index].Path = p
		total += len(p)
	}
	for i := range files {
		if files[i].Pad {
			// Numbered by position, so that no two are alike: BEP 47 lets padding files share a path.
			files[i].Path = m.root + "/.pad/" + strconv.Itoa(i)
			total += len(files[i].Path)
		}
	}
	if total > MaxPathBytes {
		return invalid("its paths have %d bytes, more than the limit of %d", total, MaxPathBytes)
	}
	return nil
}

// free tells whether a file may have the path that folds to key, unfinished and finished.
func (m *pathMaker) free(key string) bool {
	if m.taken[key] || m.folders[key] {
		return false
	}
	if other, ok := strings.CutSuffix(key, partSuffix); ok && m.taken[other] {
		return false
	}
	part := key + partSuffix
	return !m.taken[part] && !m.folders[part]
}
