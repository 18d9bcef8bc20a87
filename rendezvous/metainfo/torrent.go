package metainfo

import (
	"bytes"
	"crypto/sha1"
	"fmt"
)

// Limits of what is accepted.
const (
	MaxTorrent     = 40 << 20 // bytes of a .torrent file
	MaxInfo        = 32 << 20 // bytes of an info dictionary
	MaxFiles       = 200_000  // files, padding files included; also folders
	MaxPieceLength = 64 << 20 // bytes of a piece, at least 1
	MaxPath        = 2 << 10  // bytes of one file's whole path, the torrent's folder included
	MaxPathBytes   = 32 << 20 // bytes of all paths together
	MaxTrackers    = 100      // trackers of one torrent or magnet link; those after are left out
	MaxTrackerURL  = 2 << 10  // bytes of a tracker's address; longer ones are left out
	maxEntry       = 64 << 10 // bytes of one file's dictionary
)

// Torrent describes one torrent. It is not changed after it was made, so any goroutine may read it.
type Torrent struct {
	InfoHash    [20]byte   // SHA-1 of Info, which names the torrent
	Name        string     // safe name of the file, or of the folder that all files are in; at most 250 bytes
	PieceLength int64      // bytes of every piece but the last, 1 to MaxPieceLength
	Length      int64      // bytes of all files together with padding, at least 1
	Files       []File     // in the order of their bytes, 1 to MaxFiles
	Hashes      []byte     // SHA-1 of each piece, 20 bytes a piece; part of Info
	Private     bool       // no DHT and no peer exchange (BEP 27)
	Trackers    [][]string // http, https and udp addresses in tiers (BEP 12), each once, at most MaxTrackers; may be empty
	Info        []byte     // the info dictionary's exact bytes, for BEP 9
}

// File is one file of a torrent.
type File struct {
	// Path is where the file is saved below the download folder: slash separated, safe on every common file system,
	// starting with the torrent's folder if it has one. No two files share a path, not even one that differs in case
	// only, and no path is another file's with ".part" added. Padding files have names of their own that mean nothing.
	Path   string
	Length int64 // bytes, may be 0
	Pad    bool  // filler of zero bytes between files (BEP 47), which is never saved
}

// Size returns the bytes of all files without padding: what lands in the download folder.
func (t *Torrent) Size() int64 {
	var n int64
	for _, f := range t.Files {
		if !f.Pad {
			n += f.Length
		}
	}
	return n
}

// Pieces returns the number of pieces.
func (t *Torrent) Pieces() int { return len(t.Hashes) / sha1.Size }

// Parse reads a .torrent file of at most MaxTorrent bytes. The result shares no memory with b. Errors are
// *InvalidError or ErrV2Only.
func Parse(b []byte) (*Torrent, error) {
	if len(b) > MaxTorrent {
		return nil, invalid("it is %d bytes long, more than the limit of %d", len(b), MaxTorrent)
	}
	if !is(b, 'd') {
		return nil, invalid("this is not a .torrent file: it does not start with a bencoded dictionary")
	}
	// Editors and web servers add line breaks; a dictionary never ends with one.
	b = bytes.TrimRight(b, "\r\n")
	if err := scan(b); err != nil {
		return nil, invalid("%w", err)
	}
	var info, announce, announceList []byte
	for key, value := range entries(b) {
		switch key {
		case "info":
			info = value
		case "announce":
			announce = value
		case "announce-list":
			announceList = value
		}
	}
	if info == nil {
		return nil, invalid("it has no info dictionary")
	}
	if len(info) > MaxInfo {
		return nil, invalid("its info dictionary has %d bytes, more than the limit of %d", len(info), MaxInfo)
	}
	t, err := parseInfo(bytes.Clone(info))
	if err != nil {
		return nil, err
	}
	t.Trackers = trackerTiers(announce, announceList)
	return t, nil
}

// ParseInfo reads an info dictionary of at most MaxInfo bytes, as it comes from peers (BEP 9), which must have the
// info-hash want. The result has no trackers and shares no memory with info. Errors are ErrWrongHash, *InvalidError or
// ErrV2Only.
func ParseInfo(info []byte, want [20]byte) (*Torrent, error) {
	if len(info) > MaxInfo {
		return nil, invalid("its info dictionary has %d bytes, more than the limit of %d", len(info), MaxInfo)
	}
	if got := sha1.Sum(info); got != want {
		return nil, fmt.Errorf("%w (%x instead of %x)", ErrWrongHash, got, want)
	}
	if err := scan(info); err != nil {
		return nil, invalid("%w", err)
	}
	return parseInfo(bytes.Clone(info))
}
