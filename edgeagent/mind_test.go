package edgeagent

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"simplebit/wire/control"
)

func TestSeedingEndsByRatioOrByTimeWhicheverComesFirst(t *testing.T) {
	goals := func(ratio, seconds uint32, uploaded int64, seeded time.Duration) assignment {
		return assignment{Options: options{SeedRatio: ratio, SeedTime: seconds}, Uploaded: uploaded, Seeded: seeded}
	}
	for name, c := range map[string]struct {
		a      assignment
		wanted int64
		want   bool
	}{
		"no end":                  {goals(0, 0, math.MaxInt64, math.MaxInt64), 1, false},
		"below the ratio":         {goals(2000, 0, 1999, 0), 1000, false},
		"at the ratio":            {goals(2000, 0, 2000, 0), 1000, true},
		"a ratio below 1":         {goals(500, 0, 500, 0), 1000, true},
		"the ratio of a trifle":   {goals(1, 0, 0, 0), 1, false},
		"nothing wanted":          {goals(1, 0, 0, 0), 0, true},
		"below the time":          {goals(0, 60, 0, 60*time.Second-1), 1, false},
		"at the time":             {goals(0, 60, 0, time.Minute), 1, true},
		"time before ratio":       {goals(2000, 60, 0, time.Minute), 1000, true},
		"ratio before time":       {goals(2000, 60, 2000, 0), 1000, true},
		"neither":                 {goals(2000, 60, 1999, 59*time.Second), 1000, false},
		"the largest of all":      {goals(math.MaxUint32, 0, math.MaxInt64, 0), math.MaxInt64, false},
		"the largest upload":      {goals(1000, 0, math.MaxInt64, 0), math.MaxInt64, true},
		"the longest time":        {goals(0, math.MaxUint32, 0, math.MaxUint32*time.Second-1), 1, false},
		"the longest time passed": {goals(0, math.MaxUint32, 0, math.MaxUint32*time.Second), 1, true},
	} {
		if got := c.a.finished(c.wanted); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestCountersAreStoredEveryFiveMinutesWhileTheyChange(t *testing.T) {
	begin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var a assignment
	m := minder{every: 5 * time.Minute, last: begin, saved: begin}
	whole, half := figures{wanted: 10, wantedHave: 10}, figures{wanted: 10, wantedHave: 5}
	for i, c := range []struct {
		at         time.Duration
		downloaded int64
		uploaded   int64
		f          figures
		save       bool
		seeded     time.Duration // in all
	}{
		{1 * time.Minute, 5, 0, half, false, 0},
		{5 * time.Minute, 9, 0, half, true, 0},
		{9 * time.Minute, 9, 0, half, false, 0},
		{30 * time.Minute, 9, 0, half, false, 0}, // nothing has changed
		{31 * time.Minute, 10, 0, whole, true, time.Minute},
		{32 * time.Minute, 10, 1, whole, false, 2 * time.Minute},
		{36 * time.Minute, 10, 1, whole, true, 6 * time.Minute},
		{90 * time.Minute, 10, 1, whole, false, time.Hour}, // time alone, without an end by time
	} {
		a.Downloaded, a.Uploaded = c.downloaded, c.uploaded
		if save, finished := m.look(begin.Add(c.at), &a, c.f); save != c.save || finished || a.Seeded != c.seeded {
			t.Errorf("look %d: save %v, finished %v, seeded %v; want %v, false, %v", i, save, finished, a.Seeded, c.save, c.seeded)
		}
	}
	a.Options.SeedTime = 3600 + 60
	if save, finished := m.look(begin.Add(90*time.Minute+59*time.Second), &a, whole); !save || finished {
		t.Errorf("time alone, with an end by time: save %v, finished %v", save, finished)
	}
	if _, finished := m.look(begin.Add(91*time.Minute), &a, half); finished {
		t.Error("finished with something missing")
	}
	if _, finished := m.look(begin.Add(92*time.Minute), &a, whole); !finished {
		t.Error("not finished when the time was over")
	}
}

func TestTimeInAnotherChoiceOfFilesIsNotSeeding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &torrent{figures: figures{wanted: 10, wantedHave: 10}}
		m := minder{every: time.Hour, last: time.Now(), saved: time.Now()}
		look := func(after time.Duration) {
			time.Sleep(after)
			tr.look(&m)
		}
		look(time.Second)
		tr.wish.Options.Files = []control.FileRun{{Count: 1, Priority: control.FileSkip}}
		look(time.Minute)
		tr.applied.Options = tr.wish.Options
		look(time.Second)
		if tr.wish.Seeded != 2*time.Second {
			t.Errorf("seeded for %v, want 2s", tr.wish.Seeded)
		}
	})
}

func TestAnAssignMakesTheWishWhatItSays(t *testing.T) {
	a := assignment{Verified: 1, Downloaded: 5, Root: "red"}
	a.take(control.Assign{
		Generation: 3, Paused: true, Verify: 2, Sequential: true, DownLimit: 4, UpLimit: 5, MaxPeers: 6, SeedRatio: 7, SeedTime: 8,
		Files: []control.FileRun{{Count: 9, Priority: control.FileHigh}},
	})
	files := []control.FileRun{{Count: 9, Priority: control.FileHigh}}
	want := options{true, 4, 5, 6, 7, 8, files}
	if a.Generation != 3 || !a.Paused || a.due() != 2 || !a.Options.equal(want) || a.Downloaded != 5 || a.Root != "red" {
		t.Errorf("the wish is %+v", a)
	}
	for name, other := range map[string]options{
		"sequential": {false, 4, 5, 6, 7, 8, files}, "down": {true, 0, 5, 6, 7, 8, files}, "up": {true, 4, 0, 6, 7, 8, files},
		"peers": {true, 4, 5, 0, 7, 8, files}, "ratio": {true, 4, 5, 6, 0, 8, files}, "time": {true, 4, 5, 6, 7, 0, files},
		"files": {true, 4, 5, 6, 7, 8, nil},
	} {
		if a.Options.equal(other) {
			t.Errorf("a change of %s is not seen", name)
		}
	}
}
