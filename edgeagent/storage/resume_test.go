package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// severalFiles has ten pieces. Pieces 0 to 4 touch a, 4 and 5 touch b, 5 to 9 touch c.
func severalFiles() *content {
	return newContent(9, 2*BlockSize, File{Path: "t/a", Length: 9 * BlockSize}, File{Path: "t/empty"},
		File{Path: "t/b", Length: 2 * BlockSize}, File{Path: "t/c", Length: 9 * BlockSize})
}

// corrupt changes a byte of a piece on disk, whatever its file is called now. Padding cannot be changed.
func (r *rig) corrupt(piece int) {
	r.t.Helper()
	for s := range r.table.segments(r.table.pieceOffset(piece), r.table.pieceSize(piece)) {
		file := r.content.layout.Files[s.file]
		if file.Pad {
			continue
		}
		name := r.file(file.Path)
		if _, err := os.Stat(name); err != nil {
			name += partSuffix
		}
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			r.t.Fatal(err)
		}
		defer f.Close()
		was := r.content.bytes[r.table.starts[s.file]+s.off]
		if _, err := f.WriteAt([]byte{^was}, s.off); err != nil {
			r.t.Fatal(err)
		}
		return
	}
}

// wantClaims compares Have without looking at the disk.
func (r *rig) wantClaims(want ...int) {
	r.t.Helper()
	b := newBitfield(r.content.pieces())
	for _, i := range want {
		b.set(i)
	}
	if string(b) != string(r.Have()) {
		r.t.Fatalf("have %08b, want %08b", r.Have(), b)
	}
}

func TestNothingIsCreatedBeforeTheFirstWrite(t *testing.T) {
	r := newRig(t, severalFiles())
	if r.NeedsCheck() {
		t.Error("needs a check although there is nothing")
	}
	r.Close()
	for _, p := range []string{r.config.Dir, filepath.Dir(r.config.Journal)} {
		if _, err := os.Stat(p); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s exists", p)
		}
	}
}

func TestUnfinishedFilesHaveTheSuffix(t *testing.T) {
	r := newRig(t, severalFiles())
	r.fetch(0, 5)
	r.wantTree("t/a.part", "t/b.part", "t/c.part", "t/empty")
	r.fetch(4)
	r.wantTree("t/a.part", "t/b", "t/c.part", "t/empty")
}

func TestVerifiedPiecesSurviveAKillAndUnfinishedOnesDoNot(t *testing.T) {
	r := newRig(t, severalFiles())
	r.fetch(7, 3)
	r.write(position{1, 0})
	r.fetch(8)
	if got := r.Partial(); got != BlockSize {
		t.Errorf("%d bytes of unfinished pieces, want one block", got)
	}
	r.kill()
	r.open()
	r.wantHave(3, 7, 8)
	if r.NeedsCheck() || r.Partial() != 0 {
		t.Errorf("needs a check: %v, partial: %d", r.NeedsCheck(), r.Partial())
	}
	r.fetch(0, 1, 2, 4, 5, 6, 9)
	r.wantFiles()
	r.wantTree("t/a", "t/b", "t/c", "t/empty")
}

func TestPageCacheIsTrustedWhileTheMachineRuns(t *testing.T) {
	r := newRig(t, severalFiles())
	r.fetch(0, 1)
	r.kill()
	r.corrupt(1)
	r.open()
	r.wantClaims(0, 1)
}

func TestAfterALossOfPowerOnlyLatePiecesAreHashedAgain(t *testing.T) {
	r := newRig(t, severalFiles())
	r.fetch(0, 1)
	r.reopen() // Close syncs
	r.fetch(2, 3, 6)
	r.kill()
	r.corrupt(1)
	r.corrupt(3)
	r.boot[0]++
	r.open()
	r.wantClaims(0, 1, 2, 6)
	// The result is kept: the pieces found right are durable now.
	r.kill()
	r.corrupt(6)
	r.boot[0]++
	r.open()
	r.wantClaims(0, 1, 2, 6)
}

func TestNoLossOfPowerLeavesAWrongClaim(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 11))
			c := newContent(seed, []int{1000, BlockSize + 1, 100_000}[rng.IntN(3)], randomFiles(rng, 12, 30_000)...)
			r := newRig(t, c)
			order := rng.Perm(c.pieces())
			var durable []int
			for range 3 {
				n := rng.IntN(len(order) + 1)
				r.fetch(order[:n]...)
				durable = append(durable, order[:n]...)
				order = order[n:]
				r.reopen()
			}
			marked, err := os.ReadFile(r.config.Journal)
			if err != nil {
				marked = nil // nothing was fetched
			}
			late := order[:rng.IntN(len(order)+1)]
			r.fetch(late...)
			if len(late) > 0 {
				r.kill()
				// Of what was written since, anything may be missing: records from some byte on, and data.
				if info, _ := os.Stat(r.config.Journal); marked != nil {
					os.Truncate(r.config.Journal, int64(len(marked))+rng.Int64N(info.Size()-int64(len(marked))+1))
				}
				for _, piece := range late {
					if rng.IntN(2) == 0 {
						r.corrupt(piece)
					}
				}
			}
			r.boot[0]++
			r.Close()
			r.open()
			for _, piece := range durable {
				if !bitfield(r.Have()).has(piece) {
					t.Fatalf("piece %d was durable and is lost", piece)
				}
			}
			for piece := range c.pieces() {
				if bitfield(r.Have()).has(piece) {
					r.wantPiece(piece)
				}
			}
			r.fetch(r.missing()...)
			r.wantFiles()
		})
	}
}

func TestRenewedJournalStillKnowsWhatIsNotDurable(t *testing.T) {
	r := newRig(t, severalFiles())
	r.fetch(0, 1)
	r.reopen()
	r.fetch(2, 3)
	r.kill()
	f, err := os.OpenFile(r.config.Journal, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.Write([]byte("torn"))
	f.Close()
	r.open()
	if !r.disk.touched.all {
		t.Error("the next sync does not cover what the process before wrote")
	}
	r.fetch(4)
	if got := r.journalOnDisk(); got.durable.count() != 2 || len(got.tail) != 3 || got.torn {
		t.Errorf("durable %08b, tail %v", got.durable, got.tail)
	}
	r.kill()
	r.corrupt(3)
	r.boot[0]++
	r.open()
	r.wantHave(0, 1, 2, 4)
}

func TestRecordsLostWithThePowerAreFoundByTheFinishedFile(t *testing.T) {
	r := newRig(t, severalFiles())
	r.fetch(0, 1, 2)
	r.reopen()
	journal, err := os.ReadFile(r.config.Journal)
	if err != nil {
		t.Fatal(err)
	}
	r.fetch(3, 4) // completes a; piece 4 is also in b
	r.Close()
	if err := os.WriteFile(r.config.Journal, journal, 0o600); err != nil {
		t.Fatal(err)
	}
	r.boot[0]++
	r.open()
	r.wantHave(0, 1, 2, 3, 4)
	if r.NeedsCheck() {
		t.Error("needs a check")
	}
}

func TestFinishedFileUnknownToTheJournalNeedsACheck(t *testing.T) {
	r := newRig(t, severalFiles())
	r.fetch(0, 9)
	r.Close()
	if err := os.WriteFile(r.file("t/b"), r.content.bytes[9*BlockSize:11*BlockSize], 0o666); err != nil {
		t.Fatal(err)
	}
	r.open()
	r.wantHave(0, 9)
	if !r.NeedsCheck() {
		t.Fatal("needs no check")
	}
}

func TestTornRecordIsCut(t *testing.T) {
	r := newRig(t, severalFiles())
	r.fetch(0)
	r.Close()
	f, err := os.OpenFile(r.config.Journal, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.Write([]byte{0, 0, 0, 5, 1})
	f.Close()
	r.open()
	r.wantHave(0)
	r.fetch(1)
	r.reopen()
	r.wantHave(0, 1)
}

func TestUnusableJournalIsRefused(t *testing.T) {
	for name, change := range map[string]func(r *rig) error{
		"damaged": func(r *rig) error { return os.Truncate(r.config.Journal, 50) },
		"absent":  func(r *rig) error { return os.Remove(r.config.Journal) },
		"of another layout": func(r *rig) error {
			b, _ := journalBytes(bitfield{0xff, 0xf0})
			return os.WriteFile(r.config.Journal, b, 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, severalFiles())
			r.fetch(0)
			r.Close()
			if err := change(r); err != nil {
				t.Fatal(err)
			}
			r.open()
			r.wantHave()
			if !r.NeedsCheck() {
				t.Fatal("needs no check")
			}
			r.fetch(1)
			if r.NeedsCheck() {
				t.Error("needs a check after it was overwritten")
			}
			r.reopen()
			r.wantHave(1)
		})
	}
}

func TestMissingAndShortenedFilesDropTheirPieces(t *testing.T) {
	tests := []struct {
		name   string
		change func(r *rig) error
		want   []int
		last   position // of the block that gives the file its old size again
	}{
		{"missing", func(r *rig) error { return os.Remove(r.file("t/b")) }, []int{0, 1, 2, 3, 6, 7, 8, 9}, position{5, 0}},
		{"shortened", func(r *rig) error { return os.Truncate(r.file("t/a"), 5*BlockSize) }, []int{0, 1, 5, 6, 7, 8, 9}, position{4, 0}},
		{"shortened by a byte", func(r *rig) error { return os.Truncate(r.file("t/c"), 9*BlockSize-1) },
			[]int{0, 1, 2, 3, 4, 5, 6, 7, 8}, position{9, BlockSize}},
		{"replaced by a folder", func(r *rig) error {
			return errors.Join(os.Remove(r.file("t/b")), os.Mkdir(r.file("t/b"), 0o777))
		}, []int{0, 1, 2, 3, 6, 7, 8, 9}, position{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, severalFiles())
			r.fetch(r.content.allPieces()...)
			r.Close()
			if err := tt.change(r); err != nil {
				t.Fatal(err)
			}
			r.open()
			r.wantHave(tt.want...)
			if r.NeedsCheck() {
				t.Error("needs a check")
			}
			// What is dropped stays so when the file comes to be again, with holes in it.
			missing := r.missing()
			r.write(tt.last)
			if tt.name == "replaced by a folder" {
				return
			}
			r.barrier()
			r.kill()
			r.open()
			r.wantHave(tt.want...)
			if r.NeedsCheck() {
				t.Error("needs a check after a kill")
			}
			r.fetch(missing...)
			r.wantFiles()
			r.wantTree("t/a", "t/b", "t/c", "t/empty")
		})
	}
}

func (r *rig) missing() (pieces []int) {
	for i := range r.content.pieces() {
		if !bitfield(r.Have()).has(i) {
			pieces = append(pieces, i)
		}
	}
	return pieces
}

// barrier makes the storage write what it holds, and waits for it.
func (r *rig) barrier() {
	r.t.Helper()
	err := r.do(r.t.Context(), func() {
		r.takeBlocks()
		for _, a := range r.own.assemblies.active {
			if err := r.flush(a, len(a.held)); err != nil {
				r.t.Error(err)
			}
		}
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

func TestKillBetweenTheLastRecordAndTheNewName(t *testing.T) {
	r := newRig(t, severalFiles())
	r.fetch(0, 1, 2, 3, 4)
	r.Close()
	if err := os.Rename(r.file("t/a"), r.file("t/a.part")); err != nil {
		t.Fatal(err)
	}
	r.open()
	r.wantHave(0, 1, 2, 3, 4)
	r.wantTree("t/a", "t/b.part", "t/empty")
}

func TestMissingDownloadFolderIsAnErrorOnceThereIsData(t *testing.T) {
	r := newRig(t, severalFiles())
	r.fetch(0)
	r.Close()
	if err := os.RemoveAll(r.config.Dir); err != nil {
		t.Fatal(err)
	}
	disk, ok := errors.AsType[*DiskError](r.tryOpen())
	if !ok || !errors.Is(disk, fs.ErrNotExist) || disk.Path != r.config.Dir {
		t.Fatalf("error %v, want one about the folder", disk)
	}
}

func TestLongJournalIsCompacted(t *testing.T) {
	c := newContent(1, 16, File{Path: "a", Length: 16 * (compactAt + 10)})
	r := newRig(t, c)
	events := collect(r, c.pieces()-1)
	r.write(c.blocks(c.allPieces()[1:]...)...)
	<-events
	r.reopen()
	r.fetch(0)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(r.config.Journal)
	if err != nil {
		t.Fatal(err)
	}
	if want := int64(journalFixed + (c.pieces()+7)/8 + 4 + 2*recordSize); info.Size() != want {
		t.Fatalf("the journal has %d bytes, want %d", info.Size(), want)
	}
	r.open()
	r.wantClaims(c.allPieces()...)
}

func TestNameTooLongForTheSuffixIsShortened(t *testing.T) {
	long := make([]byte, maxName)
	for i := range long {
		long[i] = 'n'
	}
	c := newContent(1, BlockSize, File{Path: string(long), Length: 2 * BlockSize}, File{Path: string(long[:maxName-1]) + "m", Length: 2 * BlockSize})
	r := newRig(t, c)
	r.fetch(0, 2)
	r.kill()
	r.open()
	r.wantHave(0, 2)
	r.fetch(1, 3)
	r.wantFiles()
}
