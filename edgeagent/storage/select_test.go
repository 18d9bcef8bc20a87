package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

// skipping is the bitfield of a choice of files.
func skipping(files ...int) []byte {
	b := newBitfield(8 * 8)
	for _, f := range files {
		b.set(f)
	}
	return b
}

// newSelective opens a torrent of which some files are skipped.
func newSelective(t *testing.T, c *content, skip ...int) *rig {
	r := newRig(t, c)
	r.Close()
	r.config.Skip = skipping(skip...)
	r.open()
	return r
}

// choose changes the selection, for later opens too.
func (r *rig) choose(skip ...int) {
	r.t.Helper()
	r.config.Skip = skipping(skip...)
	if err := r.Select(r.t.Context(), r.config.Skip); err != nil {
		r.t.Fatal(err)
	}
}

// The files of severalFiles.
const (
	fileA     = iota // pieces 0 to 4
	fileEmpty        // none
	fileB            // 4 and 5
	fileC            // 5 to 9
)

func TestSkippedFilesAreNotMade(t *testing.T) {
	r := newSelective(t, severalFiles(), fileEmpty, fileB, fileC)
	r.fetch(0, 1, 2, 3)
	r.wantTree("t/a.part")
	r.fetch(4) // has bytes of b
	r.wantTree("t/a", "t/b.part")
	r.reopen()
	if r.NeedsCheck() {
		t.Error("what is skipped and missing is to be checked")
	}
	r.wantHave(0, 1, 2, 3, 4)
	r.verified()
	r.wantHave(0, 1, 2, 3, 4)
	r.wantTree("t/a", "t/b.part")
}

func TestASkippedFileIsCompletedOnceItIsWanted(t *testing.T) {
	r := newSelective(t, severalFiles(), fileEmpty, fileB)
	r.fetch(r.content.allPieces()...) // b has no piece of its own
	r.wantTree("t/a", "t/b.part", "t/c")
	r.reopen()
	r.verified()
	r.wantTree("t/a", "t/b.part", "t/c")
	r.choose()
	r.wantTree("t/a", "t/b", "t/c", "t/empty")
	r.wantFiles()
}

func TestASkippedFileThatIsWantedWhileTheTorrentIsClosedIsCompleted(t *testing.T) {
	r := newSelective(t, severalFiles(), fileEmpty, fileB)
	r.fetch(r.content.allPieces()...)
	r.config.Skip = nil
	r.reopen()
	r.wantTree("t/a", "t/b", "t/c") // the empty one needs a write, as ever
	r.config.Skip = skipping(fileA)
	r.reopen()
	r.wantTree("t/a", "t/b", "t/c", "t/empty")
}

func TestASelectionThatGrowsIsFetched(t *testing.T) {
	r := newSelective(t, severalFiles(), fileEmpty, fileA, fileC)
	r.fetch(4, 5)
	r.wantTree("t/a.part", "t/b", "t/c.part")
	r.choose(fileEmpty, fileA)
	r.fetch(6, 7, 8, 9)
	r.wantTree("t/a.part", "t/b", "t/c")
	r.choose(fileA, fileB)
	r.wantTree("t/a.part", "t/b", "t/c", "t/empty")
	r.choose()
	r.fetch(0, 1, 2, 3)
	r.wantFiles()
}

func TestAFileThatIsNoLongerWantedKeepsItsName(t *testing.T) {
	r := newRig(t, severalFiles())
	r.fetch(4, 5, 6)
	r.wantTree("t/a.part", "t/b", "t/c.part", "t/empty")
	r.choose(fileEmpty, fileB, fileC)
	r.reopen()
	r.verified()
	r.wantTree("t/a.part", "t/b", "t/c.part", "t/empty")
	r.fetch(0, 1, 2, 3)
	r.wantTree("t/a", "t/b", "t/c.part", "t/empty")
	if err := r.Delete(); err != nil {
		t.Fatal(err)
	}
	r.wantTree()
}

func TestWhenOnlyEmptyFilesAreWantedTheyAreMade(t *testing.T) {
	r := newSelective(t, severalFiles(), fileA, fileB, fileC)
	r.wantTree("t/empty")
	r.reopen()
	r.wantTree("t/empty")
}

func TestAPersonsFilesUnderSkippedNamesAreLeftAlone(t *testing.T) {
	mine := bytes.Repeat([]byte("mine"), 10*BlockSize) // longer than any of the torrent's
	r := newRig(t, severalFiles())
	r.Close()
	r.config.Skip = skipping(fileEmpty, fileB, fileC)
	r.lay()
	for _, name := range []string{"t/b", "t/c", "t/empty"} {
		if err := os.WriteFile(r.file(name), mine, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	os.Remove(r.file("t/a"))
	unharmed := func(names ...string) {
		t.Helper()
		for _, name := range names {
			if got, err := os.ReadFile(r.file(name)); err != nil || !bytes.Equal(got, mine) {
				t.Errorf("%s: %d bytes, %v", name, len(got), err)
			}
		}
	}
	r.open()
	r.verified() // as an agent does with files that no journal vouches for
	r.fetch(0, 1, 2, 3)
	r.wantTree("t/a.part", "t/b", "t/c", "t/empty")
	unharmed("t/b", "t/c", "t/empty")
	r.reopen()
	if r.NeedsCheck() {
		t.Error("a person's files are to be checked")
	}
	r.fetch(4) // writes to b
	r.wantTree("t/a", "t/b.old", "t/b.part", "t/c", "t/empty")
	unharmed("t/b.old", "t/c", "t/empty")
	r.choose(fileB)
	r.wantTree("t/a", "t/b.old", "t/b.part", "t/c.old", "t/empty", "t/empty.old")
	unharmed("t/b.old", "t/c.old", "t/empty.old")
	r.choose(fileEmpty, fileB, fileC)
	os.WriteFile(r.file("t/c"), mine, 0o666)
	r.reopen()
	if err := r.Delete(); err != nil {
		t.Fatal(err)
	}
	r.wantTree("t/b.old", "t/c", "t/c.old", "t/empty.old")
}

func TestASelectionThatTheDiskDoesNotTakeSaysWhy(t *testing.T) {
	r := newSelective(t, severalFiles(), fileB)
	r.fetch(4, 5)
	os.WriteFile(r.file("t/b"), nil, 0o666) // came while the torrent was open
	err := r.Select(t.Context(), nil)
	if disk, ok := errors.AsType[*DiskError](err); !ok || !errors.Is(disk, os.ErrExist) {
		t.Errorf("selecting a file whose name is taken: %v", err)
	}
	r.Close()
	if err := r.Select(t.Context(), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("selecting after Close: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := newRig(t, severalFiles()).Select(ctx, nil); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("selecting with an ended context: %v", err)
	}
}

// TestAnyChangesOfTheSelectionGiveTheRightNames compares the download folder with what the description of Config.Skip and
// Select says, whatever happens in whichever order.
func TestAnyChangesOfTheSelectionGiveTheRightNames(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 11))
			files := randomFiles(rng, 1+rng.IntN(20), []int64{100, 40000}[rng.IntN(2)])
			c := newContent(seed, []int{1000, BlockSize, 3*BlockSize + 77}[rng.IntN(3)], files...)
			r := newRig(t, c)
			m := names{r: r, named: make([]bool, len(files)), wished: make([]bool, len(files))}
			left := rng.Perm(c.pieces())
			for step := 0; step < 12 || len(left) > 0 && step < 200; step++ {
				switch rng.IntN(9) {
				case 0, 1:
					var skip []byte
					if rng.IntN(4) > 0 {
						skip = newBitfield(len(files))
						for f := range files {
							if rng.IntN(2) == 0 {
								bitfield(skip).set(f)
							}
						}
					}
					r.config.Skip = skip
					if rng.IntN(2) == 0 {
						r.reopen()
					} else if err := r.Select(t.Context(), skip); err != nil {
						t.Fatal(err)
					}
				case 2:
					r.reopen()
				case 3:
					if _, err := os.Stat(r.config.Journal); err == nil {
						r.kill()
						r.open()
					}
				case 4:
					r.verified()
					have := bitfield(r.Have()) // of padding alone, the check finds what was never written
					left = slices.DeleteFunc(left, have.has)
				default:
					n := min(len(left), 1+rng.IntN(4))
					r.fetch(left[:n]...)
					left = left[n:]
				}
				m.compare(fmt.Sprintf("step %d", step))
			}
			if err := r.Select(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			r.config.Skip = nil
			r.fetch(left...)
			r.wantFiles()
			if r.own.unfinished != 0 {
				t.Errorf("%d files are unfinished", r.own.unfinished)
			}
			if err := r.Delete(); err != nil {
				t.Fatal(err)
			}
			r.wantTree()
		})
	}
}

// names is what the names of the files should be.
type names struct {
	r      *rig
	named  []bool // has been whole and wanted
	wished []bool // was wanted at any time
}

func (m *names) compare(when string) {
	m.r.t.Helper()
	have, skip := bitfield(m.r.Have()), bitfield(m.r.config.Skip)
	var there []string
	if _, err := os.Stat(m.r.config.Dir); err == nil {
		there = tree(m.r.t, m.r.config.Dir)
	}
	for i, f := range m.r.content.layout.Files {
		if f.Pad {
			continue
		}
		m.wished[i] = m.wished[i] || !skip.includes(i)
		final, part := slices.Contains(there, f.Path), slices.Contains(there, f.Path+partSuffix)
		if f.Length == 0 {
			if final && !m.wished[i] {
				m.r.t.Fatalf("%s: the empty %s was never wanted", when, f.Path)
			}
			continue
		}
		first, end := m.r.table.piecesOf(i, 0)
		n := 0
		for piece := first; piece < end; piece++ {
			if have.has(piece) {
				n++
			}
		}
		m.named[i] = m.named[i] || n == end-first && !skip.includes(i)
		if final != m.named[i] || part != (n > 0 && !m.named[i]) {
			m.r.t.Fatalf("%s: %s has %d of %d pieces, wanted %v: finished %v, unfinished %v",
				when, f.Path, n, end-first, !skip.includes(i), final, part)
		}
	}
}
