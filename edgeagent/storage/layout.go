package storage

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"sort"
	"strings"
)

const (
	maxPieceLength = 64 << 20
	maxPieces      = 4 << 20
)

// A Layout says how a torrent's content is cut into pieces and files. The content is the files' bytes one after the other.
type Layout struct {
	PieceLength int         // bytes, 1 to 64 Mi; every piece but the last has this length
	Length      int64       // bytes of content, the sum of the files' lengths, padding included; 1 byte to 4 Mi pieces
	Files       []File      // in the order of the content; kept, must not be changed afterwards
	Hashes      io.ReaderAt // the SHA-1 of piece i is at 20*i; read from one goroutine at a time, when a piece is complete
}

// A File is one file of a layout.
type File struct {
	Path   string // slash-separated, relative to the download folder, without "." and ".." (fs.ValidPath)
	Length int64  // bytes, 0 or more
	Pad    bool   // a padding file (BEP 47): zeros that are hashed but never stored; its path is not looked at
}

// A table answers where the bytes of the content are. It is never changed.
type table struct {
	files    []File
	starts   []int64 // offset of each file in the content, and after the last one the content's length
	pieceLen int64
	pieces   int
}

func newTable(l Layout) (*table, error) {
	if l.PieceLength < 1 || l.PieceLength > maxPieceLength {
		return nil, fmt.Errorf("%w: piece length %d is not within 1 and %d", ErrLayout, l.PieceLength, maxPieceLength)
	}
	t := &table{files: l.Files, starts: make([]int64, len(l.Files)+1), pieceLen: int64(l.PieceLength)}
	limit := t.pieceLen * maxPieces
	for i, f := range l.Files {
		if !f.Pad && (!fs.ValidPath(f.Path) || f.Path == "." || strings.ContainsRune(f.Path, 0)) {
			return nil, fmt.Errorf("%w: the path %q is not allowed", ErrLayout, f.Path)
		}
		if f.Length < 0 || f.Length > limit-t.starts[i] {
			return nil, fmt.Errorf("%w: the length %d of %q is negative or makes more than %d pieces",
				ErrLayout, f.Length, f.Path, maxPieces)
		}
		t.starts[i+1] = t.starts[i] + f.Length
	}
	if sum := t.starts[len(l.Files)]; sum != l.Length || sum == 0 {
		return nil, fmt.Errorf("%w: %d bytes of files, %d bytes of content", ErrLayout, sum, l.Length)
	}
	t.pieces = int((l.Length + t.pieceLen - 1) / t.pieceLen)
	return t, t.checkNames()
}

// checkNames refuses two files that would be one on disk, whether finished or not.
func (t *table) checkNames() error {
	byPath := make([]int32, 0, len(t.files))
	for i, f := range t.files {
		if !f.Pad {
			byPath = append(byPath, int32(i))
		}
	}
	slices.SortFunc(byPath, func(a, b int32) int { return strings.Compare(t.files[a].Path, t.files[b].Path) })
	for k, i := range byPath {
		path := t.files[i].Path
		if k > 0 && t.files[byPath[k-1]].Path == path {
			return fmt.Errorf("%w: two files are named %q", ErrLayout, path)
		}
		stem, ok := strings.CutSuffix(path, partSuffix)
		if !ok {
			continue
		}
		if _, clash := slices.BinarySearchFunc(byPath, stem, func(j int32, s string) int {
			return strings.Compare(t.files[j].Path, s)
		}); clash {
			return fmt.Errorf("%w: %q is the name of the unfinished %q", ErrLayout, path, stem)
		}
	}
	return nil
}

func (t *table) length() int64 { return t.starts[len(t.files)] }

func (t *table) pieceOffset(piece int) int64 { return int64(piece) * t.pieceLen }

func (t *table) pieceSize(piece int) int {
	return int(min(t.pieceLen, t.length()-t.pieceOffset(piece)))
}

// maxBlocks is the number of blocks of a full piece.
func (t *table) maxBlocks() int { return int((t.pieceLen + BlockSize - 1) / BlockSize) }

// stored reports whether the file has bytes on disk.
func (t *table) stored(file int) bool { return !t.files[file].Pad && t.files[file].Length > 0 }

// oversize returns the files that are longer than they should be.
func (t *table) oversize(sizes []int64) (files []int) {
	for i, f := range t.files {
		if !f.Pad && sizes[i] > f.Length {
			files = append(files, i)
		}
	}
	return files
}

// piecesOf returns the first piece that holds bytes of the file and the one after the last, counting the file's bytes from
// the given one. The file must not be empty.
func (t *table) piecesOf(file int, from int64) (first, end int) {
	return int((t.starts[file] + from) / t.pieceLen), int((t.starts[file+1]-1)/t.pieceLen) + 1
}

// touched reports whether any piece that there is has bytes of the file.
func (t *table) touched(file int, has func(piece int) bool) bool {
	if !t.stored(file) {
		return false
	}
	first, end := t.piecesOf(file, 0)
	for piece := first; piece < end; piece++ {
		if has(piece) {
			return true
		}
	}
	return false
}

// A segment is a run of bytes within one file.
type segment struct {
	file int
	off  int64 // in the file
	n    int
}

// segments cuts n bytes of the content, from the given offset, into those of each file. Empty files have none.
func (t *table) segments(off int64, n int) iter.Seq[segment] {
	return func(yield func(segment) bool) {
		// The first file that ends behind off is the one that holds it.
		file := sort.Search(len(t.files), func(i int) bool { return t.starts[i+1] > off })
		for ; n > 0; file++ {
			s := segment{file: file, off: off - t.starts[file], n: int(min(int64(n), t.starts[file+1]-off))}
			if s.n == 0 {
				continue
			}
			if !yield(s) {
				return
			}
			off += int64(s.n)
			n -= s.n
		}
	}
}

// fingerprint identifies the layout: everything of it, except that only the first 64 KiB of the piece hashes count, since
// there may be 80 MiB of them.
func (t *table) fingerprint(hashes io.ReaderAt) ([32]byte, error) {
	h := sha256.New()
	var b []byte
	b = binary.BigEndian.AppendUint64(b, uint64(t.pieceLen))
	b = binary.BigEndian.AppendUint64(b, uint64(len(t.files)))
	h.Write(b)
	for _, f := range t.files {
		b = binary.BigEndian.AppendUint64(b[:0], uint64(f.Length))
		if f.Pad {
			b = append(b, 1)
		} else {
			b = append(b, 0)
			b = binary.BigEndian.AppendUint32(b, uint32(len(f.Path)))
			b = append(b, f.Path...)
		}
		h.Write(b)
	}
	n := min(int64(t.pieces)*hashSize, 64<<10)
	if got, err := io.Copy(h, io.NewSectionReader(hashes, 0, n)); err != nil {
		return [32]byte{}, fmt.Errorf("storage: reading the piece hashes: %w", err)
	} else if got < n {
		return [32]byte{}, fmt.Errorf("storage: reading the piece hashes: %w", io.ErrUnexpectedEOF)
	}
	return [32]byte(h.Sum(nil)), nil
}
