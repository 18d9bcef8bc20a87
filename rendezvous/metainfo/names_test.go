package metainfo

import (
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestDangerousNamesAreRefusedByName(t *testing.T) {
	for _, c := range []struct {
		path   []string
		reason string
	}{
		{[]string{"..", "etc", "passwd"}, `"../etc/passwd" has ".." in it`},
		{[]string{"a", ".."}, `"a/.." has ".." in it`},
		{[]string{"."}, `has "." in it`},
		{[]string{"/etc/passwd"}, `"/etc/passwd" is an absolute path`},
		{[]string{"a/../../b"}, "slash"},
		{[]string{`\\server\share`}, "absolute"},
		{[]string{`C:\Windows\x`}, "absolute"},
		{[]string{"c:/Windows/x"}, "absolute"},
		{[]string{`..\..\x`}, `".." in it`},
		{[]string{`a\..\..\x`}, `".." in it`},
		{[]string{"a", "", "b"}, `"a//b" has an empty name`},
		{[]string{""}, "empty name"},
		{[]string{}, "file number 1 has an empty path"},
		{[]string{"a\x00b"}, `"a\x00b" contains a zero byte`},
		{[]string{"d", strings.Repeat("e", 200), strings.Repeat("f", 200), strings.Repeat("g", 200),
			strings.Repeat("h", 200), strings.Repeat("i", 200), strings.Repeat("j", 200), strings.Repeat("k", 200),
			strings.Repeat("l", 200), strings.Repeat("m", 200), strings.Repeat("n", 200), strings.Repeat("o", 200)}, "more than 2048 bytes"},
	} {
		_, err := Parse(torrent(t, folder(c.path)))
		var bad *InvalidError
		if !errors.As(err, &bad) || !strings.Contains(bad.Reason, c.reason) {
			t.Errorf("path %.80q gives %v, want %q", c.path, err, c.reason)
		}
		if len(c.path) != 1 {
			continue
		}
		if _, err := Parse(torrent(t, with(single(), dict{"name": c.path[0]}))); !errors.As(err, &bad) {
			t.Errorf("name %q gives %v", c.path[0], err)
		}
	}
}

func TestPathsThatCannotExistTogetherAreRefused(t *testing.T) {
	for _, c := range []struct {
		paths  [][]string
		reason string
	}{
		{[][]string{{"a", "b"}, {"c"}, {"a", "b"}}, `"a/b" is in it twice`},
		{[][]string{{"a"}, {"a", "b"}}, `"a" is both a file and a folder`},
		{[][]string{{"a", "b", "c"}, {"a", "b"}}, `"a/b" is both a file and a folder`},
	} {
		_, err := Parse(torrent(t, with(folder(c.paths...), dict{"pieces": hashes(1)})))
		if err == nil || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%q gives %v, want %q", c.paths, err, c.reason)
		}
	}
}

func TestAwkwardNamesAreMappedToSafeOnes(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"plain.txt", "plain.txt"},
		{".hidden", ".hidden"},
		{"two words (2024) [x] #1 & 'y'.mkv", "two words (2024) [x] #1 & 'y'.mkv"},
		{"日本語 👩‍👩‍👧.txt", "日本語 👩‍👩‍👧.txt"},
		{"bell\a and\nline", "bell_ and_line"},
		{"c1\u0085 sep\u2028", "c1_ sep_"},
		{"gpj.\u202efdp", "gpj._fdp"}, // shown as "gpj.pdf" without the mapping
		{`a\b`, "a_b"},
		{`What? "No": <a|b>*`, "What_ _No__ _a_b__"},
		{"bytes \xff\xfe.txt", "bytes _.txt"},
		{"dot.", "dot_"},
		{"space ", "space_"},
		{"...", ".._"},
		{" ", "_"},
		{"CON", "_CON"},
		{"nul.tar.gz", "_nul.tar.gz"},
		{"Aux .c", "_Aux .c"},
		{"com1", "_com1"},
		{"LPT¹.txt", "_LPT¹.txt"},
		{"com10", "com10"},
		{"console.log", "console.log"},
		{strings.Repeat("x", 250), strings.Repeat("x", 250)},
		{strings.Repeat("x", 251), strings.Repeat("x", 241) + "~a53812fb"},
		{strings.Repeat("x", 300) + ".mkv", strings.Repeat("x", 237) + "~587371e0.mkv"},
		{strings.Repeat("ä", 150) + ".mkv", strings.Repeat("ä", 118) + "~7fc91d01.mkv"},
	} {
		if err := checkName(c.in); err != nil {
			t.Errorf("%q is refused: %v", c.in, err)
		}
		if got := safeName(c.in); got != c.want {
			t.Errorf("safeName(%q) = %q, want %q", c.in, got, c.want)
		}
	}
}

func TestNamesThatClashOnSomeFileSystemGetMarked(t *testing.T) {
	for _, c := range []struct {
		name        string
		paths, want []string
	}{
		{"case", []string{"xt_MARK.h", "xt_mark.h", "other"}, []string{"f/xt_MARK.h", "f/xt_mark~599bc75f.h", "f/other"}},
		{"Greek sigmas", []string{"ΟΔΟΣ", "οδος"}, []string{"f/ΟΔΟΣ", "f/οδος~00566c11"}},
		{"Kelvin", []string{"k", "\u212a"}, []string{"f/k", "f/\u212a~28ba1355"}},
		{"mapped alike", []string{"a?", "a*"}, []string{"f/a_", "f/a_~5ce1f4f2"}},
		{"file and folder differ in case", []string{"Doc", "doc/x"}, []string{"f/Doc~0bf91f4c", "f/doc/x"}},
		{"folders differ in case", []string{"Doc/x", "doc/y"}, []string{"f/Doc/x", "f/doc/y"}},
		{"unfinished file is another file", []string{"a", "a.part"}, []string{"f/a", "f/a~0bb60d3c.part"}},
		{"another file is the unfinished one", []string{"a.PART", "a"}, []string{"f/a.PART", "f/a~1e4f9923"}},
		{"unfinished file is a folder", []string{"a", "a.part/b"}, []string{"f/a~1e4f9923", "f/a.part/b"}},
		{"unfinished of unfinished", []string{"a.part.part", "a.part", "b"}, []string{"f/a.part.part", "f/a~0bb60d3c.part", "f/b"}},
	} {
		var parts [][]string
		for _, p := range c.paths {
			parts = append(parts, strings.Split(p, "/"))
		}
		got := pathsOf(t, with(folder(parts...), dict{"name": "f"}))
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %q become %q, want %q", c.name, c.paths, got, c.want)
		}
		checkPaths(t, got)
	}
}

func FuzzPaths(f *testing.F) {
	f.Fuzz(func(t *testing.T, root, list string) {
		if checkName(root) != nil {
			return
		}
		m := newPathMaker(safeName(root), 0)
		var files []File
		for i, p := range strings.Split(list, "\n") {
			if m.add(i, strings.Split(p, "/")) != nil {
				return
			}
			files = append(files, File{})
		}
		if m.assign(files) != nil {
			return
		}
		var paths []string
		for _, file := range files {
			paths = append(paths, file.Path)
		}
		checkPaths(t, paths)
	})
}

// checkPaths checks that files with these paths can lie side by side on any file system, finished or not.
func checkPaths(t *testing.T, paths []string) {
	t.Helper()
	used := make(map[string]string)
	folders := make(map[string]string)
	for _, p := range paths {
		if !filepath.IsLocal(p) || !utf8.ValidString(p) || len(p) > MaxPath || strings.ContainsFunc(p, unicode.IsControl) {
			t.Errorf("%q is not a safe path", p)
		}
		for part := range strings.SplitSeq(p, "/") {
			if len(part)+len(".part") > 255 || part == "" || strings.HasSuffix(part, ".") || strings.HasSuffix(part, " ") || isReserved(part) ||
				strings.ContainsAny(part, `\:*?"<>|`) {
				t.Errorf("%q in %q is not a safe name", part, p)
			}
		}
		for _, key := range []string{strings.ToLower(p), strings.ToLower(p) + ".part"} {
			if other, ok := used[key]; ok {
				t.Errorf("%q and %q are the same file somewhere", other, p)
			}
			used[key] = p
		}
		for dir := filepath.Dir(p); dir != "."; dir = filepath.Dir(dir) {
			folders[strings.ToLower(dir)] = p
		}
	}
	for dir, p := range folders {
		if file, ok := used[dir]; ok {
			t.Errorf("the file %q is where the folder of %q is", file, p)
		}
	}
}
