package control

import (
	"bytes"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
)

// layoutOf makes a layout of n files of length bytes each with paths from path.
func layoutOf(n int, length int64, path func(int) string) (LayoutHeader, []LayoutFile, []byte) {
	files := make([]LayoutFile, n)
	for i := range files {
		files[i] = LayoutFile{Path: path(i), Length: length}
	}
	h := LayoutHeader{ID: testID, Name: "src", PieceLength: 16 << 10, Length: int64(n) * length, Files: uint32(n)}
	h.Pieces = uint32((h.Length + 16<<10 - 1) / (16 << 10))
	hashes := make([]byte, int(h.Pieces)*sha1.Size)
	for i := range hashes {
		hashes[i] = byte(i)
	}
	return h, files, hashes
}

func shortPath(i int) string { return fmt.Sprintf("src/%06d.go", i) }

func layoutStream(t testing.TB, h LayoutHeader, files []LayoutFile, hashes []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := WriteLayout(&b, h, files, hashes); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestLayoutArrivesAsItWasSent(t *testing.T) {
	for name, c := range map[string]struct {
		files int
		path  func(int) string
	}{
		"one file":          {1, shortPath},
		"a frame full":      {MaxFrameFiles, shortPath},
		"one more":          {MaxFrameFiles + 1, shortPath},
		"the longest paths": {100, func(i int) string { return longPath[:len(longPath)-6] + fmt.Sprintf("%06d", i) }},
		"a Go source tree":  {11500, shortPath},
	} {
		h, files, hashes := layoutOf(c.files, 1000, c.path)
		b := layoutStream(t, h, files, hashes)
		got, err := ReadLayout(iotest.HalfReader(bytes.NewReader(b)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got.LayoutHeader != h || !reflect.DeepEqual(got.FileTable, files) {
			t.Errorf("%s: header %+v and %d files", name, got.LayoutHeader, len(got.FileTable))
		}
		if !bytes.Equal(b[got.HashOffset:], hashes) {
			t.Errorf("%s: the hashes are not at %d", name, got.HashOffset)
		}
	}
}

func TestStoredLayoutIsTheStream(t *testing.T) {
	h, files, hashes := layoutOf(2000, 1000, shortPath)
	b := layoutStream(t, h, files, hashes)
	for name, r := range map[string]io.Reader{"at once": bytes.NewReader(b), "byte by byte": iotest.OneByteReader(bytes.NewReader(b))} {
		var stored bytes.Buffer
		got, err := CopyLayout(&stored, r)
		if err != nil || got != h || !bytes.Equal(stored.Bytes(), b) {
			t.Errorf("%s: %+v, %d of %d bytes, %v", name, got, stored.Len(), len(b), err)
		}
	}
	if _, err := CopyLayout(io.Discard, bytes.NewReader(append(bytes.Clone(b), 0))); !errors.Is(err, ErrLayout) {
		t.Errorf("a byte after the last hash: %v", err)
	}
	full := errors.New("disk full")
	if _, err := CopyLayout(brokenWriter{full}, bytes.NewReader(b)); !errors.Is(err, full) {
		t.Errorf("a full disk: %v", err)
	}
}

type brokenWriter struct{ err error }

func (w brokenWriter) Write([]byte) (int, error) { return 0, w.err }

func TestEveryTruncationOfALayoutFails(t *testing.T) {
	h, files, hashes := layoutOf(40, 1000, shortPath)
	files[3] = LayoutFile{Length: 1000, Pad: true}
	b := layoutStream(t, h, files, hashes)
	whole, err := ReadLayout(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	for n := range b {
		if _, err := CopyLayout(io.Discard, bytes.NewReader(b[:n])); err != io.ErrUnexpectedEOF {
			t.Errorf("copied, cut to %d bytes: %v", n, err)
		}
		_, err := ReadLayout(bytes.NewReader(b[:n]))
		if int64(n) < whole.HashOffset && err != io.ErrUnexpectedEOF || int64(n) >= whole.HashOffset && err != nil {
			t.Errorf("read, cut to %d bytes: %v", n, err)
		}
	}
}

func TestLayoutThatDoesNotFitTogetherIsNotWritten(t *testing.T) {
	for name, spoil := range map[string]func(h *LayoutHeader, files *[]LayoutFile, hashes *[]byte){
		"a file missing":    func(_ *LayoutHeader, f *[]LayoutFile, _ *[]byte) { *f = (*f)[1:] },
		"a file too many":   func(_ *LayoutHeader, f *[]LayoutFile, _ *[]byte) { *f = append(*f, LayoutFile{Path: "x"}) },
		"a byte missing":    func(_ *LayoutHeader, f *[]LayoutFile, _ *[]byte) { (*f)[0].Length-- },
		"a byte too many":   func(_ *LayoutHeader, f *[]LayoutFile, _ *[]byte) { (*f)[0].Length++ },
		"a negative length": func(_ *LayoutHeader, f *[]LayoutFile, _ *[]byte) { (*f)[0].Length = -1; (*f)[1].Length += 1001 },
		"lengths that wrap": func(_ *LayoutHeader, f *[]LayoutFile, _ *[]byte) { (*f)[1].Length = 1<<63 - 1 },
		"a sum that wraps": func(h *LayoutHeader, f *[]LayoutFile, _ *[]byte) {
			(*f)[0].Length, (*f)[1].Length, (*f)[2].Length, (*f)[3].Length = 1000, 1<<63-1, 1<<63-1, 3002
		},
		"a hash missing":      func(_ *LayoutHeader, _ *[]LayoutFile, h *[]byte) { *h = (*h)[20:] },
		"half a hash":         func(_ *LayoutHeader, _ *[]LayoutFile, h *[]byte) { *h = append(*h, 1) },
		"a piece too many":    func(h *LayoutHeader, _ *[]LayoutFile, s *[]byte) { h.Pieces++; *s = append(*s, make([]byte, 20)...) },
		"piece length 0":      func(h *LayoutHeader, _ *[]LayoutFile, _ *[]byte) { h.PieceLength = 0 },
		"piece length 64M+1":  func(h *LayoutHeader, _ *[]LayoutFile, _ *[]byte) { h.PieceLength = MaxPieceLength + 1 },
		"no length":           func(h *LayoutHeader, _ *[]LayoutFile, _ *[]byte) { h.Length = 0 },
		"path with ..":        func(_ *LayoutHeader, f *[]LayoutFile, _ *[]byte) { (*f)[0].Path = "src/../../x" },
		"path with .":         func(_ *LayoutHeader, f *[]LayoutFile, _ *[]byte) { (*f)[0].Path = "src/./x" },
		"path with //":        func(_ *LayoutHeader, f *[]LayoutFile, _ *[]byte) { (*f)[0].Path = "src//x" },
		"path ends with /":    func(_ *LayoutHeader, f *[]LayoutFile, _ *[]byte) { (*f)[0].Path = "src/" },
		"absolute path":       func(_ *LayoutHeader, f *[]LayoutFile, _ *[]byte) { (*f)[0].Path = "/etc/passwd" },
		"empty path":          func(_ *LayoutHeader, f *[]LayoutFile, _ *[]byte) { (*f)[0].Path = "" },
		"path with zero byte": func(_ *LayoutHeader, f *[]LayoutFile, _ *[]byte) { (*f)[0].Path = "a\x00" },
		"path not UTF-8":      func(_ *LayoutHeader, f *[]LayoutFile, _ *[]byte) { (*f)[0].Path = "a\xff" },
		"path too long":       func(_ *LayoutHeader, f *[]LayoutFile, _ *[]byte) { (*f)[0].Path = longPath + "/x" },
		"name too long":       func(_ *LayoutHeader, f *[]LayoutFile, _ *[]byte) { (*f)[0].Path = strings.Repeat("x", 256) },
	} {
		h, files, hashes := layoutOf(40, 1000, shortPath)
		spoil(&h, &files, &hashes)
		var w countingWriter
		if err := WriteLayout(&w, h, files, hashes); !errors.Is(err, ErrLayout) || w.calls != 0 {
			t.Errorf("%s: %v, %d bytes written", name, err, w.bytes)
		}
	}
	h, files, hashes := layoutOf(MaxPathBytes/4000+1, 1000, func(int) string { return longPath[:4000] })
	if err := WriteLayout(io.Discard, h, files, hashes); !errors.Is(err, ErrLayout) {
		t.Errorf("too many bytes of paths: %v", err)
	}
}

func TestHostileLayoutStreamsAreRefused(t *testing.T) {
	h, files, _ := layoutOf(4, 1000, shortPath)
	longer := LayoutFile{Path: "x", Length: 2000}
	for name, b := range map[string][]byte{
		"no header":          stream(t, LayoutFiles{files}),
		"another message":    stream(t, Synced{}),
		"header twice":       stream(t, h, h),
		"message amid files": stream(t, h, LayoutFiles{files[:2]}, Synced{}, LayoutFiles{files[2:]}),
		"more files":         stream(t, h, LayoutFiles{files[:2]}, LayoutFiles{files[1:]}),
		"longer files":       stream(t, h, LayoutFiles{files[:3]}, LayoutFiles{[]LayoutFile{longer}}),
		"shorter files":      stream(t, h, LayoutFiles{files[:3]}, LayoutFiles{[]LayoutFile{{Path: "x", Length: 1}}}),
		"a sum that wraps": stream(t, h, LayoutFiles{[]LayoutFile{
			{Path: "a", Length: 1000}, {Path: "b", Length: 1<<63 - 1}, {Path: "c", Length: 1<<63 - 1}, {Path: "d", Length: 3002}}}),
		"lengths that wrap": stream(t, h, LayoutFiles{files[:3]}, LayoutFiles{[]LayoutFile{{Path: "x", Length: 1<<63 - 1}}}),
	} {
		if _, err := ReadLayout(bytes.NewReader(b)); !errors.Is(err, ErrLayout) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := CopyLayout(io.Discard, bytes.NewReader(b)); !errors.Is(err, ErrLayout) {
			t.Errorf("%s, copied: %v", name, err)
		}
	}
	b := append(stream(t, h), unknownFrame...)
	b = append(b, stream(t, LayoutFiles{files})...)
	if l, err := ReadLayout(bytes.NewReader(b)); err != nil || l.HashOffset != int64(len(b)) {
		t.Errorf("a later version's frame amid the files: %+v, %v", l, err)
	}
}

func TestLayoutStreamWithoutEndIsRefused(t *testing.T) {
	h, _, _ := layoutOf(4, 1000, shortPath)
	skipped := append(unhex("80 80 04 a2 00 18 63 01 59"), byte((MaxFrame-8)>>8), byte((MaxFrame-8)&0xff))
	skipped = append(skipped, make([]byte, MaxFrame-8)...)
	endless := &repeated{frame: skipped}
	if _, err := CopyLayout(io.Discard, io.MultiReader(bytes.NewReader(stream(t, h)), endless)); !errors.Is(err, ErrLayout) {
		t.Errorf("messages to skip: %v", err)
	}
	if endless.read > maxFrameBytes+2*MaxFrame {
		t.Errorf("%d bytes were read", endless.read)
	}

	h = LayoutHeader{PieceLength: 1 << 20, Length: 1, Files: MaxFiles, Pieces: 1}
	endless = &repeated{frame: stream(t, LayoutFiles{slicesOf(LayoutFile{Path: longPath[:4000]}, 16)})}
	if _, err := CopyLayout(io.Discard, io.MultiReader(bytes.NewReader(stream(t, h)), endless)); !errors.Is(err, ErrLayout) {
		t.Errorf("paths: %v", err)
	}
	if endless.read > MaxPathBytes+3*MaxFrame {
		t.Errorf("%d bytes of paths were read", endless.read)
	}
}

// repeated is a stream of one frame again and again.
type repeated struct {
	frame []byte
	read  int
}

func (r *repeated) Read(b []byte) (int, error) {
	n := copy(b, r.frame[r.read%len(r.frame):])
	r.read += n
	return n, nil
}

func TestStoringAHugeLayoutTakesLittleMemory(t *testing.T) {
	h, files, hashes := layoutOf(MaxFiles, 1000, shortPath)
	b := layoutStream(t, h, files, hashes)
	files = nil
	var before, during runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	l, err := NewLayoutReader(bytes.NewReader(b))
	for n := 0; err == nil; n++ {
		_, err = l.Files()
		if n == 200 {
			runtime.GC()
			runtime.ReadMemStats(&during)
		}
	}
	if err != io.EOF {
		t.Fatal(err)
	}
	if grown := int64(during.HeapAlloc) - int64(before.HeapAlloc); grown > 1<<20 {
		t.Errorf("half-way the reader holds %d bytes", grown)
	}
	runtime.KeepAlive(b)
}

func TestDocumentedLayoutFramesMakeAStream(t *testing.T) {
	var b []byte
	for _, e := range examples(t) {
		if m, _ := ParseMessage(e.frame); m != nil {
			switch m.(type) {
			case LayoutHeader, LayoutFiles:
				b = append(b, stream(t, m)...)
			}
		}
	}
	l, err := ReadLayout(bytes.NewReader(b))
	if err != nil || len(l.FileTable) != 3 || l.Pieces != 2 {
		t.Errorf("%+v, %v", l, err)
	}
}
