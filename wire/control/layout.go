package control

import (
	"bufio"
	"crypto/sha1"
	"errors"
	"io"
)

// maxFrameBytes bounds the frames of one layout stream: all paths at their limit, what every file costs beside its path,
// and some for what later versions add.
const maxFrameBytes = MaxPathBytes + MaxFiles*fileOverhead + 16*MaxFrame

// fileOverhead is the most that a file takes in a frame beside its path: the map's head, three keys, the heads of path
// and length, and the padding mark.
const fileOverhead = 1 + 3 + 3 + 9 + 1

// Layout is a layout without its hashes.
type Layout struct {
	LayoutHeader
	FileTable  []LayoutFile // all files in the torrent's order
	HashOffset int64        // where in the stream the first hash begins; piece i's is at HashOffset + 20*i
}

// WriteLayout writes a whole layout stream; the caller closes it. hashes are the SHA-1 of all pieces, 20 bytes each. The
// error is ErrLayout (the parts do not fit together; nothing was written), or w's.
func WriteLayout(w io.Writer, h LayoutHeader, files []LayoutFile, hashes []byte) error {
	if err := h.check(); err != nil {
		return badLayout("%v", err)
	}
	if int64(len(hashes)) != int64(h.Pieces)*sha1.Size {
		return badLayout("%d bytes of hashes for %d pieces", len(hashes), h.Pieces)
	}
	sum := tally{header: h}
	for _, f := range files {
		if err := sum.add(f); err != nil {
			return err
		}
	}
	if err := sum.complete(); err != nil {
		return err
	}
	if err := WriteMessage(w, h); err != nil {
		return err
	}
	for len(files) > 0 {
		n := batch(files)
		if err := WriteMessage(w, LayoutFiles{files[:n]}); err != nil {
			return err
		}
		files = files[n:]
	}
	_, err := w.Write(hashes)
	return err
}

// batch says how many of files go into the next frame; at least one does, by MaxPath.
func batch(files []LayoutFile) int {
	const head = 16 // the frame's own map and array
	size, n := head, 0
	for n < len(files) && n < MaxFrameFiles {
		size += fileOverhead + len(files[n].Path)
		if size > MaxFrame {
			break
		}
		n++
	}
	return n
}

// tally checks that files add up to what the header promised.
type tally struct {
	header LayoutHeader
	files  uint32
	length int64
	paths  int64
}

func (t *tally) add(f LayoutFile) error {
	if err := f.check(); err != nil {
		return badLayout("%v", err)
	}
	if t.files == t.header.Files {
		return badLayout("more than the promised %d files", t.header.Files)
	}
	if f.Length > t.header.Length-t.length {
		return badLayout("the files are longer than the promised %d bytes", t.header.Length)
	}
	t.files++
	t.length += f.Length
	t.paths += int64(len(f.Path))
	if t.paths > MaxPathBytes {
		return badLayout("the paths take more than %d bytes", MaxPathBytes)
	}
	return nil
}

func (t *tally) complete() error {
	switch {
	case t.files != t.header.Files:
		return badLayout("%d files, promised were %d", t.files, t.header.Files)
	case t.length != t.header.Length:
		return badLayout("the files have %d bytes, promised were %d", t.length, t.header.Length)
	}
	return nil
}

// LayoutReader reads a layout stream in parts, for one goroutine, in the order of its methods: all Files, then Hashes. It
// holds no more than one frame, however many files there are.
type LayoutReader struct {
	r   *Reader
	sum tally
}

// NewLayoutReader reads the header from r. Deadlines are the caller's, on r. The error is ErrLayout, or as for
// Reader.Next.
func NewLayoutReader(r io.Reader) (*LayoutReader, error) {
	l := &LayoutReader{r: NewReader(r)}
	m, err := l.next()
	if err != nil {
		return nil, err
	}
	h, ok := m.(LayoutHeader)
	if !ok {
		return nil, badLayout("the stream begins with %T, not with its header", m)
	}
	l.sum.header = h
	return l, nil
}

// Header returns the header.
func (l *LayoutReader) Header() LayoutHeader { return l.sum.header }

// Files returns the next files, and io.EOF once all have been returned and fit the header. The error is ErrLayout, or as
// for Reader.Next (a stream that ends early is io.ErrUnexpectedEOF).
func (l *LayoutReader) Files() ([]LayoutFile, error) {
	if l.sum.files == l.sum.header.Files {
		if err := l.sum.complete(); err != nil {
			return nil, err
		}
		return nil, io.EOF
	}
	m, err := l.next()
	if err != nil {
		return nil, err
	}
	run, ok := m.(LayoutFiles)
	if !ok {
		return nil, badLayout("%T between the files", m)
	}
	for _, f := range run.Files {
		if err := l.sum.add(f); err != nil {
			return nil, err
		}
	}
	return run.Files, nil
}

// next is Reader.Next with a bound on the whole stream, so that messages to be skipped cannot go on for ever.
func (l *LayoutReader) next() (Message, error) {
	for {
		frame, err := l.r.frame()
		if err != nil {
			return nil, noEOF(err)
		}
		if l.r.read > maxFrameBytes {
			return nil, badLayout("more than %d bytes of frames", maxFrameBytes)
		}
		m, err := ParseMessage(frame)
		if !errors.Is(err, ErrUnknownType) {
			return m, err
		}
	}
}

// HashOffset returns how many bytes of the stream come before the hashes. Call it when Files has returned io.EOF.
func (l *LayoutReader) HashOffset() int64 { return l.r.read }

// Hashes returns a reader of the hashes, 20 bytes for each piece. It ends with io.EOF if the stream ends there,
// io.ErrUnexpectedEOF if that was too early, and ErrLayout if more follows. Call it when Files has returned io.EOF.
func (l *LayoutReader) Hashes() io.Reader {
	return &hashReader{l.r.r, int64(l.sum.header.Pieces) * sha1.Size}
}

type hashReader struct {
	r    *bufio.Reader
	left int64
}

func (h *hashReader) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if h.left == 0 {
		_, err := h.r.ReadByte()
		if err == nil {
			err = badLayout("bytes after the last hash")
		}
		return 0, err
	}
	n, err := h.r.Read(b[:min(int64(len(b)), h.left)])
	h.left -= int64(n)
	if h.left > 0 {
		err = noEOF(err)
	} else if err == io.EOF {
		err = nil
	}
	return n, err
}

// ReadLayout reads a layout up to its hashes and checks all of it but them; it may read a few KiB further. Two files with
// one path are not noticed, for want of memory: the surrogate lets none through. Memory grows with what was read, to at
// most MaxPathBytes and 32 bytes for each file; LayoutReader needs less. The error is ErrLayout, or as for Reader.Next.
func ReadLayout(r io.Reader) (Layout, error) {
	l, err := NewLayoutReader(r)
	if err != nil {
		return Layout{}, err
	}
	table := []LayoutFile(nil)
	for {
		files, err := l.Files()
		if err == io.EOF {
			return Layout{l.Header(), table, l.HashOffset()}, nil
		}
		if err != nil {
			return Layout{}, err
		}
		table = append(table, files...)
	}
}

// CopyLayout copies a whole layout stream to w, byte for byte, and checks it on the way; what is in w may be used
// when the error is nil. It needs little memory. The error is ErrLayout, as for Reader.Next, or w's.
func CopyLayout(w io.Writer, r io.Reader) (LayoutHeader, error) {
	l, err := NewLayoutReader(io.TeeReader(r, w))
	if err != nil {
		return LayoutHeader{}, err
	}
	for err == nil {
		_, err = l.Files()
	}
	if err != io.EOF {
		return LayoutHeader{}, err
	}
	if _, err := io.Copy(io.Discard, l.Hashes()); err != nil {
		return LayoutHeader{}, err
	}
	return l.Header(), nil
}
