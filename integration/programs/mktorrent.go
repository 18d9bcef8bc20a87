//go:build linux

package programs

import (
	"context"
	"fmt"
	"math/bits"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/anacrolix/torrent/metainfo"
)

// MakeConfig says what torrent to make. Content and File are required.
type MakeConfig struct {
	// Content is the file or folder that the torrent is of; the torrent gets its name.
	Content string
	// File is where the torrent is written; an older one is replaced.
	File string
	// Announce are the URLs of trackers, each a tier of its own. Default none.
	Announce []string
	// PieceLength is in bytes: a power of two from 32 KiB to 256 MiB. Default 256 KiB.
	PieceLength int
	// Private forbids DHT and peer exchange (BEP 27). Default no.
	Private bool
}

// Torrent is a torrent that was made.
type Torrent struct {
	File     string // of the metainfo
	InfoHash [20]byte
	Name     string
	Length   int64 // bytes
	Files    int
	Pieces   int
}

// Magnet returns a magnet link with the torrent's info-hash, name and the given trackers.
func (t Torrent) Magnet(trackers ...string) string {
	return metainfo.Magnet{InfoHash: t.InfoHash, DisplayName: t.Name, Trackers: trackers}.String()
}

// MakeTorrent runs mktorrent 1.1 on this machine. What to know about it:
//
//   - It refuses to overwrite a file, and makes a torrent without pieces of an empty folder.
//   - It sorts the files and is told to leave out the date, so equal content and name give an equal info-hash.
//   - It makes v1 torrents only, without padding files.
//   - A folder with one file makes a torrent of many files that has one.
func MakeTorrent(ctx context.Context, c MakeConfig) (Torrent, error) {
	t, err := makeTorrent(ctx, c)
	if err != nil {
		return Torrent{}, fmt.Errorf("programs: make torrent of %s: %w", c.Content, err)
	}
	return t, nil
}

func makeTorrent(ctx context.Context, c MakeConfig) (Torrent, error) {
	if c.PieceLength == 0 {
		c.PieceLength = 256 << 10
	}
	exponent := bits.TrailingZeros(uint(c.PieceLength))
	if c.PieceLength < 0 || c.PieceLength != 1<<exponent || exponent < 15 || exponent > 28 {
		return Torrent{}, fmt.Errorf("piece length %d: want a power of two from 32 KiB to 256 MiB", c.PieceLength)
	}
	file, err := filepath.Abs(c.File)
	if err != nil {
		return Torrent{}, err
	}
	if err := os.Remove(file); err != nil && !os.IsNotExist(err) {
		return Torrent{}, err
	}
	args := []string{"-l", strconv.Itoa(exponent), "-o", file, "-d"}
	for _, url := range c.Announce {
		args = append(args, "-a", url)
	}
	if c.Private {
		args = append(args, "-p")
	}
	out, err := exec.CommandContext(ctx, Mktorrent, append(args, c.Content)...).CombinedOutput()
	if err != nil {
		return Torrent{}, fmt.Errorf("%w: %s", err, strings.Join(strings.Fields(string(out)), " "))
	}
	meta, err := metainfo.LoadFromFile(file)
	if err != nil {
		return Torrent{}, err
	}
	info, err := meta.UnmarshalInfo()
	if err != nil {
		return Torrent{}, err
	}
	return Torrent{
		File: file, InfoHash: meta.HashInfoBytes(), Name: info.BestName(),
		Length: info.TotalLength(), Files: len(info.UpvertedFiles()), Pieces: info.NumPieces(),
	}, nil
}
