package edgeagent

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"simplebit/wire/control"
)

func writeLayout(t *testing.T, files ...control.LayoutFile) string {
	t.Helper()
	h := control.LayoutHeader{ID: infoHash{1}, Name: "t", PieceLength: 10, Files: uint32(len(files))}
	for _, f := range files {
		h.Length += f.Length
	}
	h.Pieces = uint32((h.Length + 9) / 10)
	var b bytes.Buffer
	if err := control.WriteLayout(&b, h, files, make([]byte, 20*h.Pieces)); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "layout")
	if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestPaddingCountsNeitherAsSizeNorAsHad(t *testing.T) {
	l, err := openLayout(writeLayout(t,
		control.LayoutFile{Path: "t/a", Length: 7},
		control.LayoutFile{Path: "t/.pad/13", Length: 13, Pad: true},
		control.LayoutFile{Path: "t/b", Length: 5}))
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	if got := l.size(); got != 12 {
		t.Errorf("size %d, want 12", got)
	}
	for _, c := range []struct {
		pieces byte
		want   int64
	}{{0b000_00000, 0}, {0b100_00000, 7}, {0b010_00000, 0}, {0b001_00000, 5}, {0b111_00000, 12}} {
		if got := l.have([]byte{c.pieces}); got != c.want {
			t.Errorf("pieces %03b: have %d, want %d", c.pieces>>5, got, c.want)
		}
	}
}
