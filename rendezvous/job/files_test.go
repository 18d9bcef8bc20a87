package job

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"simplebit/rendezvous/metainfo"
	"simplebit/wire/control"
)

const (
	normal = control.FileNormal
	skip   = control.FileSkip
	low    = control.FileLow
	high   = control.FileHigh
)

func run(count uint32, p control.FilePriority) control.FileRun {
	return control.FileRun{Count: count, Priority: p}
}

func TestRunsArePrioritiesInShort(t *testing.T) {
	for _, row := range []struct {
		priorities []control.FilePriority
		runs       []control.FileRun
	}{
		{[]control.FilePriority{}, nil},
		{[]control.FilePriority{normal, normal, normal}, nil},
		{[]control.FilePriority{skip}, []control.FileRun{run(1, skip)}},
		{[]control.FilePriority{skip, skip, normal, normal}, []control.FileRun{run(2, skip)}},
		{[]control.FilePriority{normal, normal, high}, []control.FileRun{run(2, normal), run(1, high)}},
		{[]control.FilePriority{high, skip, skip, low, normal}, []control.FileRun{run(1, high), run(2, skip), run(1, low)}},
		{[]control.FilePriority{normal, skip, normal, skip, normal}, []control.FileRun{run(1, normal), run(1, skip), run(1, normal), run(1, skip)}},
	} {
		if got := compress(row.priorities); !slices.Equal(got, row.runs) || (got == nil) != (row.runs == nil) {
			t.Errorf("%v: %v, want %v", row.priorities, got, row.runs)
		}
		if got := expand(row.runs, len(row.priorities)); !slices.Equal(got, row.priorities) {
			t.Errorf("%v: %v, want %v", row.runs, got, row.priorities)
		}
	}
}

func TestRunsThatDoNotFitTheFilesAreCut(t *testing.T) {
	for _, row := range []struct {
		runs []control.FileRun
		want []control.FilePriority
	}{
		{[]control.FileRun{run(5, skip)}, []control.FilePriority{skip, skip, skip}},
		{[]control.FileRun{run(math.MaxUint32, skip), run(math.MaxUint32, high)}, []control.FilePriority{skip, skip, skip}},
		{[]control.FileRun{run(2, skip), run(2, high), run(2, low)}, []control.FilePriority{skip, skip, high}},
	} {
		if got := expand(row.runs, 3); !slices.Equal(got, row.want) {
			t.Errorf("%v: %v, want %v", row.runs, got, row.want)
		}
	}
}

func TestPrioritiesSurviveTheirShortForm(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		want := make([]control.FilePriority, random.IntN(40))
		for i := range want {
			want[i] = control.FilePriority(random.IntN(4)) * control.FilePriority(random.IntN(2))
		}
		if got := expand(compress(want), len(want)); !slices.Equal(got, want) {
			t.Fatalf("%v came back as %v", want, got)
		}
	}
}

func TestPatternsMeanFilesByNameOrFolder(t *testing.T) {
	const file = "Show/Season 1/e01.mkv"
	for pattern, want := range map[string]bool{
		"e01.mkv": true, "*.mkv": true, "e??.mkv": true, "e[0-9]1*": true, "*": true, "Season 1": true, "Season*": true, "Show": true, "Season 1/": true,
		"Show/Season 1/e01.mkv": true, "Show/Season 1": true, "Season 1/*.mkv": true, "/Season 1": true, "/Show": true, "*/*/*": true,
		"e01": false, "*.MKV": false, "Season": false, "*.txt": false, "Season 1/e02.mkv": false, "/e01.mkv": false, "x/Season 1": false,
		"Show/e01.mkv": false, "Show/Season 1/e01.mkv/x": false, "*/*/*/*": false, "Show*mkv": false,
	} {
		if got := matches(pattern, file); got != want {
			t.Errorf("%q matches %q: %v", pattern, file, got)
		}
	}
	if !matches("a.iso", "a.iso") || matches("/b", "a.iso") {
		t.Error("a torrent of one file has no folder")
	}
}

// FuzzPattern takes any pattern for any path: one that is accepted always means the
// same, and the path itself, quoted, means its file.
func FuzzPattern(f *testing.F) {
	f.Fuzz(func(t *testing.T, pattern, file string) {
		if err := checkChoices([]Choice{{Patterns: []string{pattern}}}); err != nil {
			if !errors.Is(err, ErrInvalid) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%q: %v", pattern, err)
			}
			return
		}
		matches(pattern, file)
		if quoted := strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(file); !strings.HasPrefix(file, "/") && !strings.HasSuffix(file, "/") &&
			!strings.Contains(file, "//") && file != "" && !matches(quoted, file) {
			t.Errorf("%q does not match %q", quoted, file)
		}
	})
}

// album has four files, and padding after the first two.
var album = func() []byte {
	file := func(length int, path ...string) string {
		var b strings.Builder
		for _, p := range path {
			fmt.Fprintf(&b, "%d:%s", len(p), p)
		}
		return fmt.Sprintf("d6:lengthi%de4:pathl%see", length, b.String())
	}
	pad := func(length int) string {
		return fmt.Sprintf("d4:attr1:p6:lengthi%de4:pathl4:.pad%d:%dee", length, len(fmt.Sprint(length)), length)
	}
	return []byte("d5:filesl" + file(16380, "01.flac") + pad(4) + file(16300, "02.flac") + pad(84) + file(10, "scans", "a.png") + file(20, "scans", "b.txt") +
		"e4:name5:album12:piece lengthi16384e6:pieces60:" + strings.Repeat("x", 60) + "e")
}()

var albumHash = InfoHash(sha1.Sum(album))

var albumMagnet = "magnet:?xt=urn:btih:" + albumHash.String()

// words are the priorities of a job's files.
func words(t *testing.T, m *Manager, id string) string {
	t.Helper()
	files, err := m.Files(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	for _, f := range files {
		text += map[control.FilePriority]string{normal: "n", skip: "s", low: "l", high: "h"}[f.Priority]
	}
	return text
}

func TestChosenFilesAreRunsOverTheLayoutWithPadding(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	v, err := m.Add(context.Background(), New{Magnet: albumMagnet, Target: "device:attic"})
	if err != nil {
		t.Fatal(err)
	}
	w.member().Learned(album)
	v = w.get(m, v.ID, "metadata is there", func(v View) bool { return v.Size > 0 })
	files, err := m.Files(context.Background(), v.ID)
	want := []File{{0, "album/01.flac", 16380, normal}, {1, "album/02.flac", 16300, normal}, {2, "album/scans/a.png", 10, normal}, {3, "album/scans/b.txt", 20, normal}}
	if err != nil || !slices.Equal(files, want) {
		t.Errorf("files %+v, %v", files, err)
	}
	for _, row := range []struct {
		choices []Choice
		words   string
		runs    []control.FileRun
	}{
		{[]Choice{{Priority: skip, Indexes: []int{1}}}, "nsnn", []control.FileRun{run(2, normal), run(2, skip)}},
		{[]Choice{{Priority: high, Patterns: []string{"scans"}}}, "nshh", []control.FileRun{run(2, normal), run(2, skip), run(2, high)}},
		{[]Choice{{Priority: skip, Patterns: []string{"*"}}, {Priority: low, Patterns: []string{"*.flac", "b.*"}, Indexes: []int{3}}, {Priority: normal, Indexes: []int{0}}},
			"nlsl", []control.FileRun{run(2, normal), run(2, low), run(1, skip), run(1, low)}},
		{[]Choice{{Priority: normal, Patterns: []string{"*"}}}, "nnnn", nil},
	} {
		before := v
		if v, err = m.Choose(context.Background(), v.ID, row.choices); err != nil || v.Generation <= before.Generation {
			t.Fatalf("%+v: generation %d, %v", row.choices, v.Generation, err)
		}
		if got := words(t, m, v.ID); got != row.words {
			t.Errorf("%+v: %s, want %s", row.choices, got, row.words)
		}
		if got := m.Desired(attic)[albumHash].Files; !slices.Equal(got, row.runs) {
			t.Errorf("%+v: the device is told %v, want %v", row.choices, got, row.runs)
		}
	}
	if same, err := m.Choose(context.Background(), v.ID, []Choice{{Priority: normal, Indexes: []int{2}}}); err != nil || same.Generation != v.Generation {
		t.Errorf("a choice that changes nothing makes generation %d of %d: %v", same.Generation, v.Generation, err)
	}
}

func TestChoicesThatCannotBeObeyedChangeNothing(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	known, err := m.Add(context.Background(), New{Magnet: albumMagnet, Target: "device:attic"})
	if err != nil {
		t.Fatal(err)
	}
	w.member().Learned(album)
	known = w.get(m, known.ID, "metadata is there", func(v View) bool { return v.Size > 0 })
	unknown := w.add(m)
	many := slices.Repeat([]string{"*"}, 101)
	for name, row := range map[string]struct {
		id      string
		choices []Choice
		kind    error
		want    string
	}{
		"no such pattern":  {known.ID, []Choice{{Priority: skip, Patterns: []string{"*.flac", "*.mkv"}}}, ErrInvalid, `no file of the torrent matches "*.mkv"`},
		"padding":          {known.ID, []Choice{{Priority: skip, Patterns: []string{".pad"}}}, ErrInvalid, "no file"},
		"malformed":        {known.ID, []Choice{{Patterns: []string{"[a"}}}, ErrInvalid, `the pattern "[a" is malformed`},
		"empty":            {known.ID, []Choice{{Patterns: []string{""}}}, ErrInvalid, `the pattern "" is malformed`},
		"slash":            {known.ID, []Choice{{Patterns: []string{"/"}}}, ErrInvalid, "malformed"},
		"index":            {known.ID, []Choice{{Indexes: []int{4}}}, ErrInvalid, "there is no file 4: the torrent has files 0 to 3"},
		"negative index":   {known.ID, []Choice{{Indexes: []int{-1}}}, ErrInvalid, "there is no file -1"},
		"nothing wanted":   {known.ID, []Choice{{Priority: skip, Patterns: []string{"*"}}}, ErrInvalid, "this skips every file that has content: pause or remove the job instead"},
		"many patterns":    {known.ID, []Choice{{Patterns: many}}, ErrInvalid, "101 patterns, the limit is 100"},
		"long pattern":     {known.ID, []Choice{{Patterns: []string{strings.Repeat("a", 513)}}}, ErrInvalid, "513 bytes"},
		"index, not known": {unknown.ID, []Choice{{Indexes: []int{0}}}, ErrConflict, "the torrent's files are not known yet"},
		"bad, not known":   {unknown.ID, []Choice{{Patterns: []string{"[a"}}}, ErrInvalid, "malformed"},
		"no job":           {"nosuch", []Choice{{Patterns: []string{"a"}}}, ErrNotFound, "nosuch"},
	} {
		_, err := m.Choose(context.Background(), row.id, row.choices)
		if !errors.Is(err, row.kind) || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", name, err, row.want)
		}
	}
	if v, _ := m.Get(known.ID); v.Options.Files != nil || v.Generation != known.Generation {
		t.Errorf("the job is %+v", v)
	}
	if _, err := m.Files(context.Background(), unknown.ID); !errors.Is(err, ErrConflict) {
		t.Errorf("files of a magnet without metadata: %v", err)
	}
}

func TestTooManyRunsAreRefused(t *testing.T) {
	torrent := &metainfo.Torrent{}
	var every []int
	for i := range 2*control.MaxFileRuns + 2 {
		torrent.Files = append(torrent.Files, metainfo.File{Path: fmt.Sprintf("d/%d", i), Length: 1})
		if i%2 == 1 {
			every = append(every, i)
		}
	}
	if _, err := chosen(torrent, nil, []Choice{{Priority: skip, Indexes: every}}); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "choose whole folders") {
		t.Errorf("%d runs: %v", 2*len(every), err)
	}
	if runs, err := chosen(torrent, nil, []Choice{{Priority: skip, Indexes: every[:control.MaxFileRuns/2]}}); err != nil || len(runs) != control.MaxFileRuns {
		t.Errorf("%d runs, %v", len(runs), err)
	}
}

func TestFilesChosenBeforeTheyAreKnown(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	v, err := m.Add(context.Background(), New{Magnet: albumMagnet, Target: "device:attic", Choices: []Choice{{Priority: skip, Patterns: []string{"scans"}}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Choose(context.Background(), v.ID, []Choice{{Priority: high, Patterns: []string{"*.txt"}}}); err != nil {
		t.Fatal(err)
	}
	m.Close()
	m = w.open() // they are kept over a restart
	w.member().Learned(album)
	w.get(m, v.ID, "metadata is there", func(v View) bool { return v.Size > 0 })
	if got := words(t, m, v.ID); got != "nnsh" {
		t.Errorf("the files are %s", got)
	}
	if got := m.Desired(attic)[albumHash].Files; !slices.Equal(got, []control.FileRun{run(4, normal), run(1, skip), run(1, high)}) {
		t.Errorf("the device is told %v", got)
	}
	if r := w.records[v.ID]; r.Choices != nil {
		t.Errorf("still kept are %+v", r.Choices)
	}
}

func TestAPatternThatMeansNothingPausesTheJob(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	v, err := m.Add(context.Background(), New{Magnet: albumMagnet, Target: "device:attic", Choices: []Choice{{Priority: skip, Patterns: []string{"*.mkv"}}}})
	if err != nil {
		t.Fatal(err)
	}
	w.member().Learned(album)
	v = w.get(m, v.ID, "metadata is there", func(v View) bool { return v.Size > 0 })
	want := "no file of the torrent matches \"*.mkv\": choose with `simplebit files " + v.ID + "`, then resume"
	if v.State != StatePaused || v.Fault != want || !m.Desired(attic)[albumHash].Paused {
		t.Errorf("it is %s: %s, want %s", v.State, v.Fault, want)
	}
	if _, err := m.Choose(context.Background(), v.ID, []Choice{{Priority: skip, Patterns: []string{"*.png"}}}); err != nil {
		t.Fatal(err)
	}
	if v, err = m.Resume(context.Background(), v.ID); err != nil || v.Fault != "" || w.member().InfoSize != len(album) {
		t.Errorf("resumed: %+v, %v", v, err)
	}
}

// The device must not begin with files that are not wanted.
func TestAChoiceWhoseStoringWasCutShortIsMadeBeforeTheDeviceIsTold(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	v, err := m.Add(context.Background(), New{Magnet: albumMagnet, Target: "device:attic", Choices: []Choice{{Priority: skip, Patterns: []string{"*.png"}}}})
	if err != nil {
		t.Fatal(err)
	}
	m.Close()
	w.infos[albumHash.String()] = album // stored, but killed before the record was
	m = w.open()
	if got := m.Desired(attic); len(got) != 0 {
		t.Errorf("the device should hold %+v", got)
	}
	w.member().Learned(album)
	w.get(m, v.ID, "metadata is there", func(v View) bool { return v.Size > 0 })
	if got := words(t, m, v.ID); got != "nnsn" {
		t.Errorf("the files are %s", got)
	}
}

func TestFilesOfATorrentThatIsKnownAreChosenAtOnce(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	file := []byte("d4:info" + string(album) + "e")
	for _, c := range [][]Choice{{{Priority: skip, Patterns: []string{"*.mkv"}}}, {{Priority: skip, Indexes: []int{4}}}} {
		if _, err := m.Add(context.Background(), New{Torrent: file, Target: "device:attic", Choices: c}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if len(m.List()) != 0 || len(w.records) != 0 || len(w.infos) != 0 {
		t.Error("something was stored all the same")
	}
	v, err := m.Add(context.Background(), New{Torrent: file, Target: "device:attic", Choices: []Choice{{Priority: skip, Indexes: []int{0}}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := words(t, m, v.ID); got != "snnn" {
		t.Errorf("the files are %s", got)
	}
}
