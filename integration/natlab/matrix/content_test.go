//go:build linux

package matrix

import (
	"bytes"
	"crypto/sha1"
	"math/rand/v2"
	"testing"

	"github.com/anacrolix/torrent/metainfo"
)

func TestTheTorrentIsOfTheContent(t *testing.T) {
	random := rand.NewChaCha8([32]byte{1})
	data, torrent := content("a7.bin", random)
	meta, err := metainfo.Load(bytes.NewReader(torrent))
	if err != nil {
		t.Fatal(err)
	}
	info, err := meta.UnmarshalInfo()
	if err != nil {
		t.Fatal(err)
	}
	if info.Name != "a7.bin" || info.Length != Size || info.PieceLength != PieceSize || info.NumPieces() != Size/PieceSize || len(meta.AnnounceList) > 0 {
		t.Errorf("the torrent is %+v", info)
	}
	for i := range info.NumPieces() {
		if sum := sha1.Sum(data[i*PieceSize : (i+1)*PieceSize]); !bytes.Equal(sum[:], info.Pieces[i*20:(i+1)*20]) {
			t.Errorf("piece %d has another hash", i)
		}
	}
	if other, _ := content("a7.bin", random); bytes.Equal(other, data) {
		t.Error("the next content is the same")
	}
}
