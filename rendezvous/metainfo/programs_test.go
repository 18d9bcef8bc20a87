package metainfo

import (
	"bytes"
	"crypto/sha1"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/anacrolix/torrent/metainfo"
)

// missing says what the machine lacks; on the build server, where everything should be there, it fails instead.
func missing(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

func TestTorrentsMadeByOtherPrograms(t *testing.T) {
	content := t.TempDir()
	want := map[string]int64{"two words/a.bin": 100_000, "two words/sub/b ä.txt": 70_000, "two words/sub/deep/c": 1}
	for name, size := range want {
		full := filepath.Join(content, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, bytes.Repeat([]byte(name[:7]), int(size))[:size], 0o644); err != nil {
			t.Fatal(err)
		}
	}
	root := filepath.Join(content, "two words")
	for _, program := range [][]string{
		{"mktorrent", "-p", "-l", "15", "-a", "http://a.example/announce,udp://b.example:6969", "-a", "https://c.example/a", "-o", "OUT", root},
		{"transmission-create", "-p", "-s", "32", "-t", "http://a.example/announce", "-t", "https://c.example/a", "-o", "OUT", root},
	} {
		t.Run(program[0], func(t *testing.T) {
			if _, err := exec.LookPath(program[0]); err != nil {
				missing(t, program[0]+" is not installed: install the Debian packages mktorrent and transmission-cli")
			}
			file := filepath.Join(t.TempDir(), "made.torrent")
			program[slices.Index(program, "OUT")] = file
			if out, err := exec.Command(program[0], program[1:]...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %v: %s", program, err, out)
			}
			tor := parseFile(t, file)
			got := make(map[string]int64)
			for _, f := range tor.Files {
				got[f.Path] = f.Length
			}
			for name, size := range want {
				if got[name] != size {
					t.Errorf("%q has %d bytes, want %d", name, got[name], size)
				}
			}
			if len(got) != len(want) || tor.PieceLength != 32768 || !tor.Private || len(tor.Trackers) != 2 {
				t.Errorf("files %v, piece length %d, private %v, trackers %v", got, tor.PieceLength, tor.Private, tor.Trackers)
			}
			checkContent(t, tor, content)
		})
	}
}

// The fixtures are the torrents and content of the npm package webtorrent-fixtures.
func TestFixturesOfWebTorrent(t *testing.T) {
	dir := os.Getenv("SIMPLEBIT_FIXTURES")
	if dir == "" {
		missing(t, "SIMPLEBIT_FIXTURES does not name a folder with the npm package webtorrent-fixtures: fetch it by npm pack and unpack it")
	}
	if _, err := os.Stat(filepath.Join(dir, "fixtures")); err == nil {
		dir = filepath.Join(dir, "fixtures")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.torrent"))
	if err != nil || len(files) < 8 {
		t.Fatalf("%d torrents in %s, %v", len(files), dir, err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) {
			if name == "corrupt.torrent" {
				// It lacks its name.
				b, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := Parse(b); err == nil || !strings.Contains(err.Error(), "name") {
					t.Errorf("a torrent without a name gives %v", err)
				}
				return
			}
			tor := parseFile(t, file)
			if whole, err := metainfo.LoadFromFile(file); err != nil || tor.InfoHash != whole.HashInfoBytes() {
				t.Errorf("info-hash %x, the library reads %v, %v", tor.InfoHash, whole.HashInfoBytes(), err)
			}
			if _, err := os.Stat(filepath.Join(dir, tor.Name)); err == nil {
				checkContent(t, tor, dir)
			}
		})
	}
}

func parseFile(t *testing.T, file string) *Torrent {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	tor, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	checkTorrent(t, tor)
	return tor
}

// checkContent hashes the files below dir, in the torrent's order, against its pieces.
func checkContent(t *testing.T, tor *Torrent, dir string) {
	t.Helper()
	var all []io.Reader
	for _, f := range tor.Files {
		b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(f.Path)))
		if err != nil {
			t.Fatal(err)
		}
		if int64(len(b)) != f.Length {
			t.Errorf("%s has %d bytes, the torrent says %d", f.Path, len(b), f.Length)
		}
		all = append(all, bytes.NewReader(b))
	}
	content := io.MultiReader(all...)
	for i := range tor.Pieces() {
		h := sha1.New()
		if _, err := io.CopyN(h, content, tor.PieceLength); err != nil && err != io.EOF {
			t.Fatal(err)
		}
		if !bytes.Equal(h.Sum(nil), tor.Hashes[20*i:20*i+20]) {
			t.Errorf("piece %d does not match its hash", i)
		}
	}
}
