//go:build linux

package matrix

import (
	"crypto/sha1"
	"fmt"
	"math/rand/v2"
)

// The torrent of a try: 64 pieces of one block each, so that the first verified data is soon.
const (
	Size      = 1 << 20
	PieceSize = 16 << 10
)

// content returns random bytes and a torrent of one file of that name with them, without trackers (BEP 3).
func content(name string, random *rand.ChaCha8) (data, torrent []byte) {
	data = make([]byte, Size)
	random.Read(data)
	var sums []byte
	for at := 0; at < Size; at += PieceSize {
		sum := sha1.Sum(data[at : at+PieceSize])
		sums = append(sums, sum[:]...)
	}
	return data, fmt.Appendf(nil, "d4:infod6:lengthi%de4:name%d:%s12:piece lengthi%de6:pieces%d:%see",
		Size, len(name), name, PieceSize, len(sums), sums)
}
