package storage

import (
	"bytes"
	"os"
	"testing"
)

func TestFilesThatWereThereBeforeAreNotWrittenOver(t *testing.T) {
	r := newRig(t, severalFiles())
	r.lay()
	mine := bytes.Repeat([]byte("mine"), 40*BlockSize) // longer than the torrent's
	os.WriteFile(r.file("t/a"), mine, 0o666)
	os.WriteFile(r.file("t/b"), []byte("mine too"), 0o666)
	os.WriteFile(r.file("t/b.old"), []byte("older"), 0o666)
	r.reopen()
	r.verified()
	r.wantTree("t/a.old", "t/b.old", "t/b.old2", "t/c.part", "t/empty")
	r.fetch(r.missing()...)
	r.wantFiles()
	for name, want := range map[string][]byte{"t/a.old": mine, "t/b.old": []byte("older"), "t/b.old2": []byte("mine too")} {
		if got, err := os.ReadFile(r.file(name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	if err := r.Delete(); err != nil {
		t.Fatal(err)
	}
	r.wantTree("t/a.old", "t/b.old", "t/b.old2")
}

func TestDeleteLeavesWhatWasThereBeforeTheTorrent(t *testing.T) {
	r := newRig(t, severalFiles())
	r.lay()
	r.reopen()
	if err := r.Delete(); err != nil {
		t.Fatal(err)
	}
	r.wantTree("t/a", "t/b", "t/c", "t/empty")
}
