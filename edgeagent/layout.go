package edgeagent

import (
	"io"
	"os"

	"simplebit/edgeagent/storage"
	"simplebit/wire/control"
)

// layoutFile is a stored layout. The piece hashes stay on disk: they are
// megabytes for large torrents.
type layoutFile struct {
	control.Layout
	f    *os.File
	pads []span
}

// span is a run of the content's bytes.
type span struct{ start, end int64 }

func openLayout(name string) (*layoutFile, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	read, err := control.ReadLayout(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	l := &layoutFile{Layout: read, f: f}
	var at int64
	for _, file := range l.FileTable {
		if file.Pad && file.Length > 0 {
			l.pads = append(l.pads, span{at, at + file.Length})
		}
		at += file.Length
	}
	return l, nil
}

func (l *layoutFile) close() { l.f.Close() }

func (l *layoutFile) storage() storage.Layout {
	files := make([]storage.File, len(l.FileTable))
	for i, f := range l.FileTable {
		files[i] = storage.File(f)
	}
	return storage.Layout{
		PieceLength: int(l.PieceLength), Length: l.Length, Files: files,
		Hashes: io.NewSectionReader(l.f, l.HashOffset, 20*int64(l.Pieces)),
	}
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
	has := func(i int64) bool { return pieces[i/8]&(0x80>>(i%8)) != 0 }
	length := int64(l.PieceLength)
	var n int64
	for i := range int64(l.Pieces) {
		if has(i) {
			n += min(length, l.Length-i*length)
		}
	}
	for _, p := range l.pads {
		for i := p.start / length; i*length < p.end; i++ {
			if has(i) {
				n -= min(p.end, (i+1)*length) - max(p.start, i*length)
			}
		}
	}
	return n
}
