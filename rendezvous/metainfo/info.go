package metainfo

import (
	"crypto/sha1"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/anacrolix/torrent/bencode"
	"github.com/anacrolix/torrent/metainfo"
)

// parseInfo reads scanned bytes and keeps them.
func parseInfo(info []byte) (*Torrent, error) {
	if !is(info, 'd') {
		return nil, invalid("its info is not a dictionary")
	}
	head, rest, err := splitInfo(info)
	if err != nil {
		return nil, err
	}
	if rest.pieces == nil && head.MetaVersion >= 2 {
		return nil, ErrV2Only
	}
	t := &Torrent{
		InfoHash:    sha1.Sum(info),
		PieceLength: head.PieceLength,
		Hashes:      text(rest.pieces),
		Private:     head.Private != nil && *head.Private,
		Info:        info,
	}
	if t.PieceLength < 1 || t.PieceLength > MaxPieceLength {
		return nil, invalid("its piece length is %d bytes, not between 1 and %d", t.PieceLength, MaxPieceLength)
	}
	if !is(rest.pieces, 's') || len(t.Hashes)%sha1.Size != 0 {
		return nil, invalid("its pieces are not a string of whole SHA-1 hashes")
	}
	if len(t.Hashes) == 0 {
		return nil, invalid("it has no pieces")
	}
	if err := t.addFiles(head, rest.files); err != nil {
		return nil, err
	}
	if pieces := (t.Length + t.PieceLength - 1) / t.PieceLength; pieces != int64(t.Pieces()) {
		return nil, invalid("its files make %d bytes, which is %d pieces of %d bytes, but it has hashes of %d",
			t.Length, pieces, t.PieceLength, t.Pieces())
	}
	return t, nil
}

// bulk holds the parts of an info dictionary that can be large, still encoded; nil what it lacks.
type bulk struct{ pieces, files []byte }

// splitInfo decodes the small values of an info dictionary. Keys that are not needed, among them the file tree of
// version 2, never reach the decoder.
func splitInfo(info []byte) (head metainfo.Info, rest bulk, err error) {
	small := []byte{'d'}
	for key, value := range entries(info) {
		switch key {
		case "pieces":
			rest.pieces = value
		case "files":
			rest.files = value
		case "length", "meta version", "name", "name.utf-8", "piece length", "private":
			if len(value) > maxEntry {
				return head, rest, invalid("its %q has %d bytes, more than the limit of %d", key, len(value), maxEntry)
			}
			small = strconv.AppendInt(small, int64(len(key)), 10)
			small = append(append(append(small, ':'), key...), value...)
		}
	}
	if err := bencode.Unmarshal(append(small, 'e'), &head); err != nil {
		return head, rest, invalid("its info dictionary does not decode: %w", err)
	}
	return head, rest, nil
}

// addFiles fills in Name, Files and Length.
func (t *Torrent) addFiles(head metainfo.Info, list []byte) error {
	name := prefer(head.NameUtf8, head.Name)
	if err := checkName(name); err != nil {
		return invalid("its name %.120q %w", name, err)
	}
	t.Name = safeName(name)
	if list == nil {
		// BEP 3: without files there is a length, and the name is the file's.
		t.Files = []File{{Path: t.Name, Length: head.Length}}
		return t.addLengths()
	}
	if !is(list, 'l') {
		return invalid("its files are not a list")
	}
	n := 0
	for range items(list) {
		n++
	}
	if n == 0 || n > MaxFiles {
		return invalid("it has %d files, not between 1 and %d", n, MaxFiles)
	}
	t.Files = make([]File, 0, n)
	paths := newPathMaker(t.Name, n)
	for raw := range items(list) {
		entry, err := decodeFile(raw)
		if err != nil {
			return invalid("its file number %d %w", len(t.Files)+1, err)
		}
		parts := entry.Path
		if len(entry.PathUtf8) > 0 && utf8.ValidString(strings.Join(entry.PathUtf8, "")) {
			parts = entry.PathUtf8
		}
		f := File{Length: entry.Length, Pad: isPad(entry.Attr, parts)}
		if !f.Pad {
			if err := paths.add(len(t.Files), parts); err != nil {
				return err
			}
		}
		t.Files = append(t.Files, f)
	}
	if err := paths.assign(t.Files); err != nil {
		return err
	}
	return t.addLengths()
}

// decodeFile decodes one element of the list of files.
func decodeFile(raw []byte) (entry metainfo.FileInfo, err error) {
	if !is(raw, 'd') {
		return entry, errors.New("is not a dictionary")
	}
	if len(raw) > maxEntry {
		return entry, fmt.Errorf("takes %d bytes, more than the limit of %d", len(raw), maxEntry)
	}
	if err := bencode.Unmarshal(raw, &entry); err != nil {
		return entry, fmt.Errorf("does not decode: %w", err)
	}
	return entry, nil
}

// prefer returns the UTF-8 variant of a text, where there is one.
func prefer(utf, other string) string {
	if utf != "" && utf8.ValidString(utf) {
		return utf
	}
	return other
}

// addLengths sums the files' lengths.
func (t *Torrent) addLengths() error {
	for _, f := range t.Files {
		if f.Length < 0 {
			return invalid("the file %.120q has a negative length", f.Path)
		}
		if f.Length > math.MaxInt64-MaxPieceLength-t.Length {
			return invalid("the lengths of its files overflow at %.120q", f.Path)
		}
		t.Length += f.Length
	}
	if t.Size() == 0 {
		return invalid("it has no bytes of content")
	}
	return nil
}

// isPad recognises padding files by their attribute (BEP 47), or by the path that BEP 47 suggests, which some programs
// write without the attribute.
func isPad(attr string, path []string) bool {
	if strings.Contains(attr, "p") {
		return true
	}
	return len(path) == 2 && path[0] == ".pad" && path[1] != "" && strings.Trim(path[1], "0123456789") == ""
}
