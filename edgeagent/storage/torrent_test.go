package storage

import (
	"testing"
)

func TestPiecesInOrderBecomeFiles(t *testing.T) {
	c := newContent(1, 3*BlockSize+100,
		File{Path: "t/a", Length: 70000}, File{Path: "t/empty"}, File{Path: "t/.pad/1", Length: 333, Pad: true},
		File{Path: "t/deep/er/b", Length: 200000}, File{Path: "c", Length: 1})
	r := newRig(t, c)
	r.fetch(c.allPieces()...)
	r.wantHave(c.allPieces()...)
	r.wantFiles()
	r.wantTree("c", "t/a", "t/deep/er/b", "t/empty")
	r.reopen()
	r.wantHave(c.allPieces()...)
}
