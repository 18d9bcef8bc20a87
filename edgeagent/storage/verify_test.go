package storage

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// lay puts the whole content into the download folder, as another program would have.
func (r *rig) lay() {
	r.t.Helper()
	off := int64(0)
	for _, f := range r.content.layout.Files {
		b := r.content.bytes[off : off+f.Length]
		off += f.Length
		if f.Pad {
			continue
		}
		name := r.file(f.Path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o777), os.WriteFile(name, b, 0o666)); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *rig) verified() {
	r.t.Helper()
	if err := r.Verify(r.t.Context(), nil); err != nil {
		r.t.Fatal(err)
	}
	if r.NeedsCheck() {
		r.t.Fatal("needs a check after one")
	}
}

func TestFilesOfAnotherProgramAreFoundByVerify(t *testing.T) {
	r := newRig(t, severalFiles())
	r.lay()
	os.Remove(r.file("t/empty"))
	r.reopen()
	r.wantHave()
	if !r.NeedsCheck() {
		t.Fatal("needs no check")
	}
	var steps []int64
	if err := r.Verify(t.Context(), func(n int64) { steps = append(steps, n) }); err != nil {
		t.Fatal(err)
	}
	if len(steps) != 10 || steps[0] != 2*BlockSize || steps[9] != r.content.layout.Length {
		t.Errorf("progress %v", steps)
	}
	r.wantHave(r.content.allPieces()...)
	r.reopen()
	r.wantHave(r.content.allPieces()...)
	r.wantTree("t/a", "t/b", "t/c", "t/empty")
	if r.NeedsCheck() {
		t.Error("needs a check")
	}
}

func TestVerifyFindsDamageAndNamesTheFilesUnfinished(t *testing.T) {
	r := newRig(t, severalFiles())
	r.fetch(r.content.allPieces()...)
	r.corrupt(2)
	r.corrupt(9)
	r.verified()
	r.wantHave(0, 1, 3, 4, 5, 6, 7, 8)
	r.wantTree("t/a.part", "t/b", "t/c.part", "t/empty")
	r.kill()
	r.open()
	r.wantHave(0, 1, 3, 4, 5, 6, 7, 8)
	r.fetch(9, 2)
	r.wantFiles()
	r.wantTree("t/a", "t/b", "t/c", "t/empty")
}

func TestVerifyTakesBackWhatWasNotSyncedYet(t *testing.T) {
	r := newRig(t, severalFiles())
	r.fetch(0, 1, 2)
	r.write(position{5, 0})
	r.barrier()
	r.corrupt(1)
	r.verified()
	if r.Partial() != 0 {
		t.Errorf("%d bytes partial", r.Partial())
	}
	r.wantHave(0, 2)
	r.kill()
	r.open()
	r.wantHave(0, 2)
}

func TestVerifyTakesMissingAndMisshapenFiles(t *testing.T) {
	r := newRig(t, severalFiles())
	r.lay()
	os.Remove(r.file("t/b"))
	os.Truncate(r.file("t/a"), 3*BlockSize)
	long, err := os.OpenFile(r.file("t/c"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	long.Write([]byte("more"))
	long.Close()
	r.reopen()
	r.verified()
	r.wantHave(0, 6, 7, 8, 9)
	r.wantTree("t/a.part", "t/c.part", "t/empty")
	r.fetch(1, 2, 3, 4, 5)
	r.wantFiles()
}

func TestVerifyCutsAFileThatIsOnlyTooLong(t *testing.T) {
	r := newRig(t, severalFiles())
	r.lay()
	os.WriteFile(r.file("t/b"), append(bytes.Clone(r.content.bytes[9*BlockSize:11*BlockSize]), 1), 0o666)
	r.reopen()
	r.verified()
	r.wantHave(r.content.allPieces()...)
	r.wantFiles()
	r.wantTree("t/a", "t/b", "t/c", "t/empty")
}

func TestVerifyPrefersTheFinishedOfTwoFiles(t *testing.T) {
	r := newRig(t, severalFiles())
	r.lay()
	os.WriteFile(r.file("t/a.part"), make([]byte, 100), 0o666)
	r.reopen()
	r.verified()
	r.wantHave(r.content.allPieces()...)
	r.wantTree("t/a", "t/b", "t/c", "t/empty")
}

func TestFileThatTheJournalVouchesForIsPreferred(t *testing.T) {
	r := newRig(t, severalFiles())
	r.fetch(0, 1)
	r.Close()
	if err := os.WriteFile(r.file("t/a"), make([]byte, 9*BlockSize), 0o666); err != nil {
		t.Fatal(err)
	}
	r.open()
	r.wantHave(0, 1)
	r.verified()
	r.wantHave(0, 1)
}

func TestStoppedVerifyKeepsWhatItFound(t *testing.T) {
	r := newRig(t, severalFiles())
	r.lay()
	r.reopen()
	ctx, cancel := context.WithCancel(t.Context())
	err := r.Verify(ctx, func(n int64) {
		if n == 6*BlockSize {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("%v", err)
	}
	r.wantHave(0, 1, 2)
	if !r.NeedsCheck() {
		t.Error("needs no check although it was not finished")
	}
	r.reopen()
	r.wantHave(0, 1, 2)
}

func TestCloseStopsVerify(t *testing.T) {
	r := newRig(t, severalFiles())
	r.lay()
	r.reopen()
	closed := make(chan error)
	err := r.Verify(t.Context(), func(n int64) {
		if n == 2*BlockSize {
			go func() { closed <- r.Close() }()
			<-r.closing
		}
	})
	if !errors.Is(err, ErrClosed) {
		t.Errorf("%v", err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if err := r.Verify(t.Context(), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestHolesAreZerosAndCountWhereZerosAreRight(t *testing.T) {
	c := newContent(1, BlockSize, File{Path: "pad", Length: 10 * BlockSize, Pad: true}, File{Path: "a", Length: BlockSize})
	c.layout.Files[0] = File{Path: "zeros", Length: 10 * BlockSize}
	r := newRig(t, c)
	r.lay()
	os.Truncate(r.file("zeros"), 0)
	os.Truncate(r.file("zeros"), 10*BlockSize)
	r.reopen()
	r.verified()
	r.wantHave(c.allPieces()...)
}

func TestVerifyWithNothingThere(t *testing.T) {
	r := newRig(t, severalFiles())
	r.verified()
	r.wantHave()
	r.fetch(3)
	r.reopen()
	r.wantHave(3)
}
