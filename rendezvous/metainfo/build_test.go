package metainfo

import (
	"bytes"
	"maps"
	"testing"

	"github.com/anacrolix/torrent/bencode"
)

type dict = map[string]any

// encode writes bencoding; []byte and bencode.Bytes stand for strings and for what is encoded already.
func encode(t testing.TB, v any) []byte {
	t.Helper()
	b, err := bencode.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// hashes returns a pieces string for n pieces.
func hashes(n int) []byte { return bytes.Repeat([]byte{0xab}, 20*n) }

// with returns d changed; a nil value removes the key.
func with(d dict, changes dict) dict {
	d = maps.Clone(d)
	for k, v := range changes {
		if d[k] = v; v == nil {
			delete(d, k)
		}
	}
	return d
}

// single is the info dictionary of a torrent of one file of 20,000 bytes.
func single() dict {
	return dict{"name": "file.bin", "length": 20000, "piece length": 16384, "pieces": hashes(2)}
}

// folder is the info dictionary of a torrent of files with one byte each.
func folder(paths ...[]string) dict {
	var files []any
	for _, p := range paths {
		files = append(files, dict{"length": 1, "path": p})
	}
	return dict{"name": "folder", "files": files, "piece length": 16384, "pieces": hashes(1)}
}

func torrent(t testing.TB, info dict) []byte { return encode(t, dict{"info": info}) }

// pathsOf parses a torrent and returns its files' paths.
func pathsOf(t testing.TB, info dict) []string {
	t.Helper()
	tor, err := Parse(torrent(t, info))
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, f := range tor.Files {
		paths = append(paths, f.Path)
	}
	return paths
}
