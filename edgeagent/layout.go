package edgeagent

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"simplebit/edgeagent/storage"
	"simplebit/wire/control"
)

// maxTables bounds the memory for files and pieces of all torrents that are not
// paused, in bytes: a million files, or six million pieces. A surrogate could name
// 200,000 files in every torrent.
const maxTables = 128 << 20

// Estimates of what a torrent takes in storage and swarm beside its paths.
const (
	fileMemory  = 64 // bytes a file
	pieceMemory = 20 // bytes a piece
)

var (
	errNoLayout = errors.New("the layout is missing")
	errTables   = fmt.Errorf("the device's torrents have too many files and pieces: together they may take %d MiB of memory; pause or remove some", maxTables>>20)
)

// layoutFile is a stored layout. The piece hashes stay on disk: they are
// megabytes for large torrents.
type layoutFile struct {
	control.LayoutHeader
	files      []storage.File
	hashOffset int64
	memory     int64 // estimate for what uses the layout, in bytes

	f    *os.File
	pads []span
}

// span is a run of the content's bytes.
type span struct{ start, end int64 }

// openLayout opens a stored layout. The error is errNoLayout when there is none,
// or one that is damaged: then it is deleted, to be sent again.
func openLayout(name string) (*layoutFile, error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoLayout
	}
	if err != nil {
		return nil, err
	}
	l, err := readLayout(f)
	if err == nil {
		return l, nil
	}
	f.Close()
	if errors.As(err, new(*fs.PathError)) {
		return nil, err
	}
	if err := os.Remove(name); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("%w: it was damaged: %w", errNoLayout, err)
}

func readLayout(f *os.File) (*layoutFile, error) {
	read, err := control.ReadLayout(f)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	l := &layoutFile{LayoutHeader: read.LayoutHeader, hashOffset: read.HashOffset, f: f}
	if want := l.hashOffset + 20*int64(l.Pieces); info.Size() != want {
		return nil, fmt.Errorf("%d bytes, want %d", info.Size(), want)
	}
	l.memory = l.hashOffset + fileMemory*int64(l.Files) + pieceMemory*int64(l.Pieces)
	l.files = make([]storage.File, len(read.FileTable))
	var at int64
	for i, file := range read.FileTable {
		l.files[i] = storage.File(file)
		if file.Pad && file.Length > 0 {
			l.pads = append(l.pads, span{at, at + file.Length})
		}
		at += file.Length
	}
	return l, nil
}

func (l *layoutFile) close() { l.f.Close() }

func (l *layoutFile) storage() storage.Layout {
	return storage.Layout{
		PieceLength: int(l.PieceLength), Length: l.Length, Files: l.files,
		Hashes: io.NewSectionReader(l.f, l.hashOffset, 20*int64(l.Pieces)),
	}
}

// root is the first element of the files' paths: metainfo gives them all the same.
func (l *layoutFile) root() string {
	for _, f := range l.files {
		if !f.Pad {
			root, _, _ := strings.Cut(f.Path, "/")
			return root
		}
	}
	return ""
}

// size is the torrent's length without padding.
func (l *layoutFile) size() int64 {
	n := l.Length
	for _, p := range l.pads {
		n -= p.end - p.start
	}
	return n
}

// have is the number of bytes in the pieces of a BEP 3 bitfield, without padding.
func (l *layoutFile) have(pieces []byte) int64 {
	return l.verified([]span{{0, l.Length}}, pieces) - l.verified(l.pads, pieces)
}

// verified is the number of the spans' bytes that are in the pieces of a BEP 3
// bitfield.
func (l *layoutFile) verified(spans []span, pieces []byte) int64 {
	length := int64(l.PieceLength)
	var n int64
	for _, s := range spans {
		for i := s.start / length; i*length < s.end; i++ {
			if pieces[i/8]&(0x80>>(i%8)) != 0 {
				n += min(s.end, (i+1)*length) - max(s.start, i*length)
			}
		}
	}
	return n
}

// tables bounds the memory of the layouts that are open.
type tables struct {
	reading sync.Mutex // one layout is read at a time, so that no more than one is beyond the bound
	used    atomic.Int64
}

// open opens a layout within the bound. The error is errTables, or as for
// openLayout.
func (t *tables) open(name string) (*layoutFile, error) {
	t.reading.Lock()
	defer t.reading.Unlock()
	l, err := openLayout(name)
	if err != nil {
		return nil, err
	}
	if t.used.Add(l.memory) > maxTables {
		t.close(l)
		return nil, errTables
	}
	return l, nil
}

// close closes what open returned.
func (t *tables) close(l *layoutFile) {
	t.used.Add(-l.memory)
	l.close()
}
