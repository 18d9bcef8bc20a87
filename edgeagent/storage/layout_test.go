package storage

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestLayoutsThatContradictThemselvesAreRefused(t *testing.T) {
	file := func(path string, n int64) File { return File{Path: path, Length: n} }
	tests := []struct {
		name   string
		layout Layout
		reason string
	}{
		{"no piece length", Layout{PieceLength: 0, Length: 1, Files: []File{file("a", 1)}}, "piece length"},
		{"huge pieces", Layout{PieceLength: 64<<20 + 1, Length: 1, Files: []File{file("a", 1)}}, "piece length"},
		{"nothing", Layout{PieceLength: 1, Length: 0}, "0 bytes"},
		{"only empty files", Layout{PieceLength: 1, Length: 0, Files: []File{file("a", 0)}}, "0 bytes"},
		{"sum", Layout{PieceLength: 1, Length: 3, Files: []File{file("a", 1), file("b", 1)}}, "3 bytes"},
		{"negative", Layout{PieceLength: 1, Length: 1, Files: []File{file("a", 2), file("b", -1)}}, "negative"},
		{"too many pieces", Layout{PieceLength: 1, Length: 4<<20 + 1, Files: []File{file("a", 4<<20), file("b", 1)}}, "pieces"},
		{"overflow", Layout{PieceLength: 1, Length: 1, Files: []File{file("a", 1<<62), file("b", 1<<62), file("c", 1<<62)}}, "pieces"},
		{"parent", Layout{PieceLength: 1, Length: 1, Files: []File{file("../a", 1)}}, "path"},
		{"absolute", Layout{PieceLength: 1, Length: 1, Files: []File{file("/a", 1)}}, "path"},
		{"empty", Layout{PieceLength: 1, Length: 1, Files: []File{file("", 1)}}, "path"},
		{"dot", Layout{PieceLength: 1, Length: 1, Files: []File{file(".", 1)}}, "path"},
		{"zero byte", Layout{PieceLength: 1, Length: 1, Files: []File{file("a\x00b", 1)}}, "path"},
		{"twice", Layout{PieceLength: 1, Length: 3, Files: []File{file("a", 1), file("b", 1), file("a", 1)}}, "two files"},
		{"name of an unfinished file", Layout{PieceLength: 1, Length: 2, Files: []File{file("a.part", 1), file("a", 1)}}, "unfinished"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.layout.Hashes = bytes.NewReader(make([]byte, hashSize*10))
			_, err := Open(Config{Dir: t.TempDir(), Layout: tt.layout, Pool: NewPool(0)})
			if !errors.Is(err, ErrLayout) || !strings.Contains(err.Error(), tt.reason) {
				t.Fatalf("error %v, want one about %q", err, tt.reason)
			}
		})
	}
}

func TestPaddingFilesMayShareAName(t *testing.T) {
	c := newContent(1, BlockSize, File{Path: "a", Length: 1}, File{Path: ".pad/1", Length: 9, Pad: true},
		File{Path: "b", Length: 1}, File{Path: ".pad/1", Length: 9, Pad: true})
	newRig(t, c)
}

func TestMissingPieceHashesAreAnError(t *testing.T) {
	c := newContent(1, BlockSize, File{Path: "a", Length: 3 * BlockSize})
	c.layout.Hashes = bytes.NewReader(make([]byte, 59))
	if _, err := Open(Config{Dir: t.TempDir(), Layout: c.layout, Pool: NewPool(0)}); err == nil {
		t.Fatal("no error")
	}
}

func TestSegmentsCoverEveryByteOnce(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		files := randomFiles(rng, 1+rng.IntN(20), 50)
		c := newContent(1, 1+rng.IntN(100), files...)
		table, err := newTable(c.layout)
		if err != nil {
			t.Fatal(err)
		}
		off := rng.Int64N(c.layout.Length)
		n := 1 + rng.Int64N(c.layout.Length-off)
		at := off
		for s := range table.segments(off, int(n)) {
			if s.n <= 0 || s.off < 0 || s.off+int64(s.n) > files[s.file].Length || table.starts[s.file]+s.off != at {
				t.Fatalf("segment %+v at byte %d of files %v", s, at, files)
			}
			at += int64(s.n)
		}
		if at != off+n {
			t.Fatalf("segments end at %d, want %d", at, off+n)
		}
	}
}

func TestFingerprintChangesWithEverythingThatMatters(t *testing.T) {
	seen := make(map[[32]byte]string)
	for name, c := range map[string]*content{
		"original":     newContent(1, 100, File{Path: "a", Length: 150}, File{Path: "b", Length: 50}),
		"hashes":       newContent(2, 100, File{Path: "a", Length: 150}, File{Path: "b", Length: 50}),
		"piece length": newContent(1, 101, File{Path: "a", Length: 150}, File{Path: "b", Length: 50}),
		"name":         newContent(1, 100, File{Path: "a", Length: 150}, File{Path: "c", Length: 50}),
		"lengths":      newContent(1, 100, File{Path: "a", Length: 151}, File{Path: "b", Length: 49}),
		"padding":      newContent(1, 100, File{Path: "a", Length: 150}, File{Path: "b", Length: 50, Pad: true}),
	} {
		table, err := newTable(c.layout)
		if err != nil {
			t.Fatal(err)
		}
		fingerprint, err := table.fingerprint(c.layout.Hashes)
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := seen[fingerprint]; ok {
			t.Errorf("%s and %s have the same fingerprint", name, other)
		}
		seen[fingerprint] = name
	}
}
