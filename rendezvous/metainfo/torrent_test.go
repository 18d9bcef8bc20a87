package metainfo

import (
	"bytes"
	"crypto/sha1"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/anacrolix/torrent/bencode"
	"github.com/anacrolix/torrent/metainfo"
)

func TestTorrentOfOneFile(t *testing.T) {
	info := encode(t, with(single(), dict{"private": 1}))
	got, err := Parse(encode(t, dict{"announce": "http://a.example/announce", "info": bencode.Bytes(info)}))
	if err != nil {
		t.Fatal(err)
	}
	want := &Torrent{
		InfoHash: sha1.Sum(info), Name: "file.bin", PieceLength: 16384, Length: 20000,
		Files:  []File{{Path: "file.bin", Length: 20000}},
		Hashes: hashes(2), Private: true, Trackers: [][]string{{"http://a.example/announce"}}, Info: info,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestTorrentOfManyFilesKeepsOrderAndFolder(t *testing.T) {
	got := pathsOf(t, folder([]string{"z.txt"}, []string{"sub", "deep", "a.txt"}, []string{"sub", "b.txt"}))
	want := []string{"folder/z.txt", "folder/sub/deep/a.txt", "folder/sub/b.txt"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("paths %q, want %q", got, want)
	}
}

// BEP 47: a padding file is marked by its attribute; `.pad` with the length is only the suggested path.
func TestPaddingFilesAreMarkedAndDoNotCount(t *testing.T) {
	info := folder()
	info["files"] = []any{
		dict{"length": 5, "path": []string{"a"}},
		dict{"length": 3, "path": []string{".pad", "3"}, "attr": "p"},
		dict{"length": 5, "path": []string{"b"}, "attr": "x"},
		dict{"length": 3, "path": []string{".pad", "3"}},
		dict{"length": 1, "path": []string{"..", "anything"}, "attr": "hp"},
		dict{"length": 1, "path": []string{".pad", "notes"}},
	}
	got, err := Parse(torrent(t, info))
	if err != nil {
		t.Fatal(err)
	}
	want := []File{
		{"folder/a", 5, false}, {"folder/.pad/1", 3, true}, {"folder/b", 5, false}, {"folder/.pad/3", 3, true},
		{"folder/.pad/4", 1, true}, {"folder/.pad/notes", 1, false},
	}
	if !reflect.DeepEqual(got.Files, want) {
		t.Errorf("files %v, want %v", got.Files, want)
	}
	if got.Length != 18 || got.Size() != 11 {
		t.Errorf("length %d and size %d, want 18 and 11", got.Length, got.Size())
	}
}

// BEP 52, upgrade path: a hybrid torrent holds both forms, and its version 1 info-hash is the SHA-1 of the whole.
func TestHybridTorrentIsUsedAsVersion1(t *testing.T) {
	tree := dict{"file.bin": dict{"": dict{"length": 20000, "pieces root": strings.Repeat("r", 32)}}}
	info := encode(t, with(single(), dict{"meta version": 2, "file tree": tree}))
	got, err := ParseInfo(info, sha1.Sum(info))
	if err != nil {
		t.Fatal(err)
	}
	if got.Length != 20000 || got.Pieces() != 2 || got.InfoHash != sha1.Sum(info) {
		t.Errorf("got %+v", got)
	}
	_, err = Parse(torrent(t, with(single(), dict{"meta version": 2, "file tree": tree, "pieces": nil, "length": nil})))
	if !errors.Is(err, ErrV2Only) {
		t.Errorf("a v2-only torrent gives %v", err)
	}
}

func TestInfoHashIsOverTheExactBytes(t *testing.T) {
	// Keys out of order and unknown ones: encoding the decoded values again would give another hash.
	info := []byte("d4:name1:f6:lengthi5e12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaa1:xd1:zi1e1:yi2eee")
	got, err := Parse([]byte("d4:info" + string(info) + "e"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Info, info) || got.InfoHash != sha1.Sum(info) {
		t.Errorf("info %q, hash %x", got.Info, got.InfoHash)
	}
}

func TestLineBreakAfterATorrentIsIgnored(t *testing.T) {
	if _, err := Parse(append(torrent(t, single()), "\r\n"...)); err != nil {
		t.Error(err)
	}
}

func TestInfoFromPeersMustMatchItsHash(t *testing.T) {
	info := encode(t, single())
	want := sha1.Sum(info)
	if _, err := ParseInfo(info, want); err != nil {
		t.Error(err)
	}
	info[len(info)-2] ^= 1
	if _, err := ParseInfo(info, want); !errors.Is(err, ErrWrongHash) {
		t.Errorf("a changed info dictionary gives %v", err)
	}
}

func TestUTF8NamesArePreferred(t *testing.T) {
	info := dict{
		"name": "\xc4", "name.utf-8": "Ä", "piece length": 16384, "pieces": hashes(1),
		"files": []any{
			dict{"length": 1, "path": []string{"\xd6", "1"}, "path.utf-8": []string{"Ö", "eins"}},
			dict{"length": 1, "path": []string{"plain"}, "path.utf-8": []string{"\xff"}},
		},
	}
	if got, want := pathsOf(t, info), []string{"Ä/Ö/eins", "Ä/plain"}; !reflect.DeepEqual(got, want) {
		t.Errorf("paths %q, want %q", got, want)
	}
}

func TestTrackersAreCleanedAndKeepTheirTiers(t *testing.T) {
	many := []string{}
	for i := range 2 * MaxTrackers {
		many = append(many, fmt.Sprintf("http://t%d.example/a", i))
	}
	for _, c := range []struct {
		name     string
		announce any
		list     any
		want     [][]string
	}{
		{"list before announce", "http://x.example/a", [][]string{{"http://a.example/a", "udp://b.example:1"}, {"https://c.example"}},
			[][]string{{"http://a.example/a", "udp://b.example:1"}, {"https://c.example"}}},
		{"repeated", nil, [][]string{{"http://a.example/", " http://a.example/\n"}, {"http://a.example/"}}, [][]string{{"http://a.example/"}}},
		{"other schemes", "http://x.example/a", [][]string{{"wss://a.example/", "file:///etc/passwd", "", "http://", "//x", "http:///a"}},
			[][]string{{"http://x.example/a"}}},
		{"over-long and with controls", nil, [][]string{{"http://a/" + strings.Repeat("x", MaxTrackerURL), "http://a/\x1b[2J", "http://ok.example/"}},
			[][]string{{"http://ok.example/"}}},
		{"too many", nil, [][]string{many}, [][]string{many[:MaxTrackers]}},
		{"wrong types", 5, "http://a.example/", nil},
		{"flat list", nil, []string{"http://a.example/"}, nil},
		{"none", nil, nil, nil},
	} {
		got, err := Parse(encode(t, with(dict{"info": single()}, dict{"announce": c.announce, "announce-list": c.list})))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else if !reflect.DeepEqual(got.Trackers, c.want) {
			t.Errorf("%s: trackers %q, want %q", c.name, got.Trackers, c.want)
		}
	}
}

func TestBadTorrentGetsAClearError(t *testing.T) {
	file := func(changes dict) dict {
		return with(folder(), dict{"files": []any{with(dict{"length": 1, "path": []string{"a"}}, changes)}})
	}
	for _, c := range []struct {
		name   string
		in     []byte
		reason string
	}{
		{"empty", nil, "not a .torrent file"},
		{"a web page", []byte("<html>not found</html>"), "not a .torrent file"},
		{"not bencoding", []byte("d4:info"), "middle of a value"},
		{"trailing bytes", append(torrent(t, single()), "xx"...), "2 bytes follow"},
		{"too large", make([]byte, MaxTorrent+1), "more than the limit"},
		{"no info", []byte("de"), "no info"},
		{"info twice", []byte("d4:infode4:infodee"), "twice"},
		{"info a list", []byte("d4:infolee"), "not a dictionary"},
		{"info too large", torrent(t, with(single(), dict{"x": make([]byte, MaxInfo)})), "more than the limit"},
		{"no name", torrent(t, with(single(), dict{"name": nil})), "empty name"},
		{"name a number", torrent(t, with(single(), dict{"name": 5})), "does not decode"},
		{"no pieces", torrent(t, with(single(), dict{"pieces": nil})), "whole SHA-1 hashes"},
		{"zero pieces", torrent(t, with(single(), dict{"pieces": ""})), "no pieces"},
		{"pieces a list", torrent(t, with(single(), dict{"pieces": []string{}})), "whole SHA-1 hashes"},
		{"half a hash", torrent(t, with(single(), dict{"pieces": hashes(2)[:30]})), "whole SHA-1 hashes"},
		{"piece length 0", torrent(t, with(single(), dict{"piece length": 0})), "piece length is 0"},
		{"no piece length", torrent(t, with(single(), dict{"piece length": nil})), "piece length is 0"},
		{"piece length negative", torrent(t, with(single(), dict{"piece length": -1})), "piece length is -1"},
		{"piece length above 64 MiB", torrent(t, with(single(), dict{"piece length": 64<<20 + 1})), "piece length is 67108865"},
		{"too few pieces", torrent(t, with(single(), dict{"pieces": hashes(1)})), "2 pieces of 16384 bytes, but it has hashes of 1"},
		{"too many pieces", torrent(t, with(single(), dict{"pieces": hashes(3)})), "hashes of 3"},
		{"no length", torrent(t, with(single(), dict{"length": nil})), "no bytes"},
		{"negative length", torrent(t, with(single(), dict{"length": -5})), `"file.bin" has a negative length`},
		{"length beyond int64", []byte("d4:infod6:lengthi9223372036854775808e4:name1:aee"), "does not decode"},
		{"files a string", torrent(t, with(folder(), dict{"files": "a"})), "not a list"},
		{"no files", torrent(t, folder()), "0 files"},
		{"a file that is a number", torrent(t, with(folder(), dict{"files": []int{1}})), "file number 1 is not a dictionary"},
		{"path a dictionary", torrent(t, file(dict{"path": dict{}})), "file number 1 does not decode"},
		{"no path", torrent(t, file(dict{"path": nil})), "file number 1 has an empty path"},
		{"negative file", torrent(t, file(dict{"length": -1})), `"folder/a" has a negative length`},
		{"only padding", torrent(t, file(dict{"attr": "p"})), "no bytes of content"},
		{"only empty files", torrent(t, file(dict{"length": 0})), "no bytes of content"},
		{"one huge entry", torrent(t, file(dict{"x": make([]byte, maxEntry)})), "file number 1 takes"},
		{"lengths overflow", torrent(t, with(folder(), dict{"files": []any{
			dict{"length": int64(1) << 62, "path": []string{"a"}}, dict{"length": int64(1) << 62, "path": []string{"b"}},
		}})), "overflow"},
	} {
		_, err := Parse(c.in)
		var bad *InvalidError
		switch {
		case !errors.As(err, &bad):
			t.Errorf("%s: error %v", c.name, err)
		case !strings.Contains(bad.Reason, c.reason):
			t.Errorf("%s: %q does not say %q", c.name, bad.Reason, c.reason)
		case strings.ContainsAny(err.Error(), "\n\x00") || len(err.Error()) > 400:
			t.Errorf("%s: the error is not one short line: %.500q", c.name, err)
		}
	}
}

func TestEveryTruncationFails(t *testing.T) {
	whole := encode(t, dict{"announce": "http://a.example/", "info": folder([]string{"a"}, []string{"b", "c"})})
	for n := range len(whole) {
		if _, err := Parse(whole[:n]); err == nil {
			t.Errorf("the first %d of %d bytes are taken for a torrent", n, len(whole))
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		tor, err := Parse(b)
		if err != nil {
			return
		}
		checkTorrent(t, tor)
		again, err := ParseInfo(tor.Info, tor.InfoHash)
		if err != nil {
			t.Fatalf("its own info dictionary is refused: %v", err)
		}
		again.Trackers = tor.Trackers
		if !reflect.DeepEqual(again, tor) {
			t.Errorf("read again it is %+v, not %+v", again, tor)
		}
	})
}

func FuzzParseInfo(f *testing.F) {
	f.Fuzz(func(t *testing.T, info []byte) {
		tor, err := ParseInfo(info, sha1.Sum(info))
		if err != nil {
			return
		}
		checkTorrent(t, tor)
		if !bytes.Equal(tor.Info, info) {
			t.Error("the bytes changed")
		}
		// Where the library reads the whole dictionary, it must read the same torrent.
		var whole metainfo.Info
		if bencode.Unmarshal(info, &whole) != nil {
			return
		}
		var length int64
		for file := range whole.UpvertedV1Files() {
			length += file.Length
		}
		if length != tor.Length || whole.PieceLength != tor.PieceLength || !bytes.Equal(whole.Pieces, tor.Hashes) {
			t.Errorf("got %+v, the library %+v", tor, whole)
		}
	})
}

// checkTorrent checks what callers rely on in every torrent that was not refused.
func checkTorrent(t *testing.T, tor *Torrent) {
	t.Helper()
	var length int64
	var paths []string
	for _, f := range tor.Files {
		if f.Length < 0 {
			t.Errorf("%q has %d bytes", f.Path, f.Length)
		}
		length += f.Length
		if !f.Pad {
			paths = append(paths, f.Path)
		}
	}
	checkPaths(t, paths)
	if length != tor.Length || length < 1 || tor.Size() < 1 || tor.Size() > length {
		t.Errorf("length %d and size %d of files with %d", tor.Length, tor.Size(), length)
	}
	if tor.PieceLength < 1 || tor.PieceLength > MaxPieceLength || (length-1)/tor.PieceLength+1 != int64(tor.Pieces()) {
		t.Errorf("%d pieces of %d for %d bytes", tor.Pieces(), tor.PieceLength, length)
	}
	if tor.InfoHash != sha1.Sum(tor.Info) {
		t.Error("the info-hash is not that of the info dictionary")
	}
}
