package edgeagent

import (
	"strings"
	"testing"
)

func TestANameBelongsToOneTorrent(t *testing.T) {
	var r roots
	red, blue := infoHash{1}, infoHash{2}
	for range 2 {
		if err := r.claim("Album", red); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"Album", "album", "ALBUM.part"} {
		if err := r.claim(name, blue); err == nil || !strings.Contains(err.Error(), "remove that one") {
			t.Errorf("%s for another torrent: %v", name, err)
		}
	}
	if err := r.claim("album 2", blue); err != nil {
		t.Error(err)
	}
	r.release(red)
	if err := r.claim("album", blue); err != nil {
		t.Errorf("after the owner let go: %v", err)
	}
}
