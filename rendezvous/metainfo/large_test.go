package metainfo

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/anacrolix/torrent/bencode"
)

// manyFiles is a torrent of n files of one byte, in folders of 100.
func manyFiles(n int) []byte {
	pieces := hashes((n-1)/16384 + 1)
	b := []byte("d4:infod5:filesl")
	for i := range n {
		dir, name := fmt.Sprintf("package-%d", i/100), fmt.Sprintf("file number %d.go", i)
		b = fmt.Appendf(b, "d6:lengthi1e4:pathl7:sources%d:%s%d:%see", len(dir), dir, len(name), name)
	}
	return fmt.Appendf(b, "e4:name6:folder12:piece lengthi16384e6:pieces%d:%see", len(pieces), pieces)
}

func TestHundredThousandFiles(t *testing.T) {
	t.Parallel()
	tor, err := Parse(manyFiles(100_000))
	if err != nil {
		t.Fatal(err)
	}
	if len(tor.Files) != 100_000 || tor.Files[99_999].Path != "folder/sources/package-999/file number 99999.go" {
		t.Errorf("%d files, the last %q", len(tor.Files), tor.Files[len(tor.Files)-1].Path)
	}
}

func TestFilesBeyondTheLimitAreRefused(t *testing.T) {
	info := folder()
	info["files"] = bencode.Bytes("l" + strings.Repeat("de", MaxFiles+1) + "e")
	_, err := Parse(torrent(t, info))
	var bad *InvalidError
	if !errors.As(err, &bad) || !strings.Contains(bad.Reason, "200001 files") {
		t.Errorf("%d files: %v", MaxFiles+1, err)
	}
}

// Inputs made to cost time or memory are either refused or read at the price of an ordinary torrent of their size.
func TestCostlyTorrentsAreRefused(t *testing.T) {
	t.Parallel()
	deep := strings.Split(strings.Repeat("d,", 450)+"f", ",")
	var distinct, shared, long [][]string
	for i := range 450 {
		distinct = append(distinct, append([]string{fmt.Sprint(i)}, deep...))
	}
	for i := range 100 {
		shared = append(shared, append([]string{"x"}, append(deep[:400:400], fmt.Sprint(i), "f")...))
	}
	for i := range 1000 {
		long = append(long, []string{strings.Repeat("n", 250) + fmt.Sprint(i)}, []string{strings.Repeat("N", 250) + fmt.Sprint(i)})
	}
	for _, c := range []struct {
		name   string
		paths  [][]string
		reason string
	}{
		{"distinct deep folders", distinct, "more than 200000 folders"},
		{"shared deep folders", shared, ""},
		{"long names", long, ""},
		{"folders without end", [][]string{strings.Split(strings.Repeat("d,", 16000)+"f", ",")}, "more than 2048 bytes"},
	} {
		_, err := Parse(torrent(t, folder(c.paths...)))
		if c.reason == "" && err != nil || c.reason != "" && (err == nil || !strings.Contains(err.Error(), c.reason)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.reason)
		}
	}
	// The library alone overflows the stack and ends the process on the first, and takes minutes for the second.
	for _, c := range []string{"d1:x" + strings.Repeat("l", 8<<20), "d1:xi" + strings.Repeat("9", 8<<20) + "ee"} {
		if _, err := Parse([]byte(c)); err == nil {
			t.Errorf("%.20q… is taken for a torrent", c)
		}
	}
}

func BenchmarkParse100kFiles(b *testing.B) {
	in := manyFiles(100_000)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(in); err != nil {
			b.Fatal(err)
		}
	}
}
