package storage

import (
	"bytes"
	"crypto/sha1"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const patience = time.Minute // for what must happen

// A content is a torrent as its maker has it.
type content struct {
	layout Layout
	bytes  []byte
}

func newContent(seed uint64, pieceLength int, files ...File) *content {
	c := &content{layout: Layout{PieceLength: pieceLength, Files: files}}
	rng := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
	for _, f := range files {
		b := make([]byte, f.Length)
		if !f.Pad {
			rng.Read(b)
		}
		c.bytes = append(c.bytes, b...)
	}
	c.layout.Length = int64(len(c.bytes))
	var hashes []byte
	for piece := range slices.Chunk(c.bytes, pieceLength) {
		sum := sha1.Sum(piece)
		hashes = append(hashes, sum[:]...)
	}
	c.layout.Hashes = bytes.NewReader(hashes)
	return c
}

func (c *content) pieces() int {
	return (len(c.bytes) + c.layout.PieceLength - 1) / c.layout.PieceLength
}

func (c *content) piece(i int) []byte {
	off := i * c.layout.PieceLength
	return c.bytes[off:min(off+c.layout.PieceLength, len(c.bytes))]
}

// A position is where a block belongs.
type position struct{ piece, begin int }

func (c *content) blocks(pieces ...int) (all []position) {
	for _, i := range pieces {
		for begin := 0; begin < len(c.piece(i)); begin += BlockSize {
			all = append(all, position{i, begin})
		}
	}
	return all
}

func (c *content) allPieces() []int {
	all := make([]int, c.pieces())
	for i := range all {
		all[i] = i
	}
	return all
}

// A rig is a torrent under test, in folders of its own.
type rig struct {
	*Torrent
	t       testing.TB
	content *content
	config  Config
	boot    [16]byte
}

func newRig(t testing.TB, c *content) *rig {
	r := &rig{t: t, content: c, boot: [16]byte{1}}
	base := memoryDir(t)
	r.config = Config{
		Dir: filepath.Join(base, "downloads"), Journal: filepath.Join(base, "state", "journal"),
		Layout: c.layout, Pool: NewPool(0),
	}
	r.open()
	t.Cleanup(func() { r.Close() })
	return r
}

func (r *rig) open() {
	r.t.Helper()
	if err := r.tryOpen(); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) tryOpen() error {
	opened, err := open(r.config, r.boot)
	if err == nil {
		r.Torrent = opened
	}
	return err
}

func (r *rig) reopen() {
	r.t.Helper()
	if err := r.Close(); err != nil {
		r.t.Fatal(err)
	}
	r.open()
}

// write writes blocks in the given order, as peers would.
func (r *rig) write(blocks ...position) {
	r.t.Helper()
	for _, p := range blocks {
		r.writeBytes(p, r.content.piece(p.piece)[p.begin:])
	}
}

func (r *rig) writeBytes(p position, data []byte) {
	b, err := r.config.Pool.Get(r.t.Context())
	if err != nil {
		r.t.Error(err) // peers write from their own goroutines
		return
	}
	b.N = copy(b.Bytes(), data)
	r.Write(p.piece, p.begin, b)
}

// next returns the next event.
func (r *rig) next() Event {
	r.t.Helper()
	select {
	case e := <-r.Events():
		return e
	case <-time.After(patience):
		r.t.Fatal("no event came")
		return Event{}
	}
}

// fetch writes pieces in order and waits until they are verified.
func (r *rig) fetch(pieces ...int) {
	r.t.Helper()
	for _, piece := range pieces {
		r.write(r.content.blocks(piece)...)
		if e := r.next(); e.Kind != PieceVerified || e.Piece != piece {
			r.t.Fatalf("event %+v, want piece %d verified", e, piece)
		}
	}
}

// wantHave compares Have with a list of pieces, and the pieces with the content.
func (r *rig) wantHave(want ...int) {
	r.t.Helper()
	var got []int
	for i := range r.content.pieces() {
		if bitfield(r.Have()).has(i) {
			got = append(got, i)
		}
	}
	if !slices.Equal(got, want) {
		r.t.Fatalf("have %v, want %v", got, want)
	}
	for _, i := range got {
		r.wantPiece(i)
	}
}

func (r *rig) wantPiece(i int) {
	r.t.Helper()
	b := make([]byte, len(r.content.piece(i)))
	if err := r.ReadBlock(i, 0, b); err != nil {
		r.t.Fatalf("piece %d: %v", i, err)
	}
	if !bytes.Equal(b, r.content.piece(i)) {
		r.t.Fatalf("piece %d reads differently from what was written", i)
	}
}

// wantTree compares the names of all files in the download folder.
func (r *rig) wantTree(want ...string) {
	r.t.Helper()
	got := tree(r.t, r.config.Dir)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		r.t.Fatalf("the folder holds\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// wantFiles compares all files with the content.
func (r *rig) wantFiles() {
	r.t.Helper()
	off := int64(0)
	for _, f := range r.content.layout.Files {
		want := r.content.bytes[off : off+f.Length]
		off += f.Length
		if f.Pad {
			continue
		}
		got, err := os.ReadFile(filepath.Join(r.config.Dir, f.Path))
		if err != nil {
			r.t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			r.t.Fatalf("%s differs", f.Path)
		}
	}
}

func (r *rig) file(name string) string { return filepath.Join(r.config.Dir, name) }

// tree returns the paths of all files, and of folders that are empty with a slash behind.
func tree(t testing.TB, dir string) (paths []string) {
	t.Helper()
	var walk func(string)
	walk = func(rel string) {
		entries, err := os.ReadDir(filepath.Join(dir, rel))
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) == 0 && rel != "" {
			paths = append(paths, rel+"/")
		}
		for _, e := range entries {
			p := filepath.Join(rel, e.Name())
			if e.IsDir() {
				walk(p)
			} else {
				paths = append(paths, p)
			}
		}
	}
	walk("")
	slices.Sort(paths)
	return paths
}

// kill leaves what a kill would: the journal and the files as they are at this moment, and nothing of the
// process's own memory.
func (r *rig) kill() {
	r.t.Helper()
	state, err := os.ReadFile(r.config.Journal)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(r.config.Journal, state, 0o600); err != nil {
		r.t.Fatal(err)
	}
}
