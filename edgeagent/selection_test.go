package edgeagent

import (
	"math/rand/v2"
	"slices"
	"testing"

	"simplebit/edgeagent/picker"
	"simplebit/edgeagent/storage"
	"simplebit/wire/control"
)

// Pieces have 10 bytes; behind each file is which ones it is in.
func TestAPieceHasTheHighestPriorityOfItsFiles(t *testing.T) {
	files := []control.LayoutFile{
		{Path: "t/a", Length: 18},                   // 0, 1
		{Path: "t/b", Length: 2},                    // 1
		{Path: "t/c", Length: 5},                    // 2
		{Path: "t/.pad", Length: 5 + 10, Pad: true}, // 2, 3
		{Path: "t/empty"},
		{Path: "t/d", Length: 7}, // 4
	}
	lay, err := openLayout(writeLayout(t, files...))
	ok(t, err)
	defer lay.close()
	const n, s, l, h = picker.Normal, picker.Skip, picker.Low, picker.High
	skip, low, normal, high := control.FileSkip, control.FileLow, control.FileNormal, control.FileHigh
	for name, c := range map[string]struct {
		runs   []control.FileRun
		pieces []picker.Priority
		skip   []byte
		size   int64
	}{
		"nothing said":             {nil, nil, nil, 32},
		"all normal":               {[]control.FileRun{{Count: 6, Priority: normal}}, nil, nil, 32},
		"of a later version":       {[]control.FileRun{{Count: 6, Priority: 77}}, nil, nil, 32},
		"first skipped":            {[]control.FileRun{{Count: 1, Priority: skip}}, []picker.Priority{s, n, n, s, n}, []byte{0b100000_00}, 14},
		"first two skipped":        {[]control.FileRun{{Count: 2, Priority: skip}}, []picker.Priority{s, s, n, s, n}, []byte{0b110000_00}, 12},
		"one small one wanted":     {[]control.FileRun{{Count: 1, Priority: skip}, {Count: 1, Priority: high}, {Count: 9, Priority: skip}}, []picker.Priority{s, h, s, s, s}, []byte{0b101011_00}, 2},
		"padding counts for none":  {[]control.FileRun{{Count: 3, Priority: skip}, {Count: 1, Priority: high}}, []picker.Priority{s, s, s, s, n}, []byte{0b111000_00}, 7},
		"empty files touch none":   {[]control.FileRun{{Count: 3, Priority: skip}, {Count: 1}, {Count: 1, Priority: high}, {Count: 1, Priority: skip}}, []picker.Priority{s, s, s, s, s}, []byte{0b111001_00}, 0},
		"nothing skipped":          {[]control.FileRun{{Count: 1, Priority: low}, {Count: 1, Priority: high}, {Count: 1, Priority: low}}, []picker.Priority{l, h, l, n, n}, nil, 32},
		"all skipped":              {[]control.FileRun{{Count: 200_000, Priority: skip}}, []picker.Priority{s, s, s, s, s}, []byte{0b111011_00}, 0},
		"low, and normal after it": {[]control.FileRun{{Count: 1, Priority: low}}, []picker.Priority{l, n, n, n, n}, nil, 32},
	} {
		got := lay.selects(c.runs)
		if !slices.Equal(got.pieces, c.pieces) || !slices.Equal(got.skip, c.skip) || got.size != c.size {
			t.Errorf("%s: pieces %v, skipped %08b, size %d; want %v, %08b, %d", name, got.pieces, got.skip, got.size, c.pieces, c.skip, c.size)
		}
	}
}

func TestWhatIsWantedIsCountedByBytesOfFiles(t *testing.T) {
	lay, err := openLayout(writeLayout(t,
		control.LayoutFile{Path: "t/a", Length: 15},
		control.LayoutFile{Path: "t/b", Length: 10},
		control.LayoutFile{Path: "t/.pad", Length: 5, Pad: true},
		control.LayoutFile{Path: "t/c", Length: 10}))
	ok(t, err)
	defer lay.close()
	onlyB := lay.selects([]control.FileRun{{Count: 1, Priority: control.FileSkip}, {Count: 1}, {Count: 9, Priority: control.FileSkip}})
	all := lay.selects(nil)
	for _, c := range []struct {
		pieces byte
		of     *selection
		want   figures
		whole  bool
	}{
		{0b0000_0000, onlyB, figures{35, 0, 10, 0, true}, false},
		{0b0100_0000, onlyB, figures{35, 10, 10, 5, true}, false},
		{0b0110_0000, onlyB, figures{35, 15, 10, 10, true}, true},
		{0b1001_0000, onlyB, figures{35, 20, 10, 0, true}, false},
		{0b0110_0000, all, figures{35, 15, 35, 15, false}, false},
		{0b1111_0000, all, figures{35, 35, 35, 35, false}, true},
		{0b0000_0000, lay.selects([]control.FileRun{{Count: 4, Priority: control.FileSkip}}), figures{35, 0, 0, 0, true}, true},
	} {
		got := lay.figures([]byte{c.pieces}, c.of)
		if got != c.want || got.whole() != c.whole {
			t.Errorf("pieces %04b: %+v, whole %v; want %+v, %v", c.pieces>>4, got, got.whole(), c.want, c.whole)
		}
	}
}

func TestAnySelectionIsWhatALookAtEveryByteSays(t *testing.T) {
	for seed := range uint64(500) {
		rng := rand.New(rand.NewPCG(seed, 5))
		lay := &layoutFile{LayoutHeader: control.LayoutHeader{PieceLength: 10}}
		for range 1 + rng.IntN(30) {
			f := storage.File{Length: int64(rng.IntN(25)), Pad: rng.IntN(6) == 0}
			if f.Pad {
				lay.pads = append(lay.pads, span{lay.Length, lay.Length + f.Length})
			}
			lay.files = append(lay.files, f)
			lay.Length += f.Length
		}
		lay.Pieces = uint32((lay.Length + 9) / 10)
		var runs []control.FileRun
		var each []control.FilePriority
		for range rng.IntN(10) {
			r := control.FileRun{Count: uint32(1 + rng.IntN(8)), Priority: control.FilePriority(rng.IntN(5))}
			runs = append(runs, r)
			each = append(each, slices.Repeat([]control.FilePriority{r.Priority}, int(r.Count))...)
		}
		// What every piece has, from nothing wanted to high; 4 is of a later version.
		order := []control.FilePriority{control.FileSkip, control.FileLow, control.FileNormal, control.FileHigh}
		want := make([]int, lay.Pieces)
		var at, size int64
		skips := false
		for i, f := range lay.files {
			rank := 2
			if i < len(each) && each[i] < 4 {
				rank = slices.Index(order, each[i])
			}
			skips = skips || rank == 0 && !f.Pad
			for range f.Length {
				if !f.Pad {
					want[at/10] = max(want[at/10], rank+1)
					size += int64(min(rank, 1))
				}
				at++
			}
		}
		got := lay.selects(runs)
		if got.size != size || (got.skip != nil) != skips {
			t.Fatalf("seed %d: %d bytes wanted, some skipped %v; want %d, %v", seed, got.size, got.skip != nil, size, skips)
		}
		for piece, rank := range want {
			p, wanted := picker.Normal, picker.Priority(control.FileNormal)
			if got.pieces != nil {
				p = got.pieces[piece]
			}
			switch {
			case rank > 0:
				wanted = picker.Priority(order[rank-1])
			case skips:
				wanted = picker.Skip
			}
			if p != wanted {
				t.Fatalf("seed %d: piece %d has %d, want %d", seed, piece, p, wanted)
			}
		}
	}
}
