package job

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"simplebit/wire/control"
)

func TestAMagnetBecomesAnAssignment(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	v := w.add(m)
	if v.State != StateMetadata || v.Name != "wish" {
		t.Errorf("a new magnet is %s, named %q", v.State, v.Name)
	}
	if got := m.Desired(attic); len(got) != 0 {
		t.Errorf("the device should already hold %v", got)
	}
	s := w.member()
	if s.InfoHash != infoHash || s.InfoSize != 0 || len(s.Tiers) != 1 || !s.now().hungry {
		t.Errorf("it takes part as %+v", s.Participation)
	}
	s.find("198.18.1.2:6881") // the device could not use it
	s.Learned(torrentInfo)
	v = w.get(m, v.ID, "metadata is there", func(v View) bool { return v.Size == 16 })
	if v.State != StateWaiting || v.Name != "a.txt" {
		t.Errorf("with metadata it is %s, named %q", v.State, v.Name)
	}
	if got := m.Desired(attic)[infoHash].Assign; got.Generation != v.Generation || got.Paused {
		t.Errorf("the device should hold %+v, want generation %d, not paused", got, v.Generation)
	}
	if b, err := s.Info(context.Background()); err != nil || !bytes.Equal(b, torrentInfo) {
		t.Errorf("the swarm may serve %q, %v", b, err)
	}
	w.report(m, v, control.StateDownloading, nil)
	w.eventually("addresses are asked for", func() bool { return s.now().offers == 1 && s.now().infoSize == len(torrentInfo) })
	s.find("198.18.1.2:6881", "198.18.1.3:6881")
	if len(w.sent) != 1 || w.sent[0].ID != infoHash || len(w.sent[0].Peers) != 2 {
		t.Errorf("the device was sent %+v", w.sent)
	}
}

func TestAFetchThatFailsIsTriedAgain(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	v := w.add(m)
	w.member().Learned([]byte("d6:lengthi0e4:name1:a12:piece lengthi16384e6:pieces0:e")) // another torrent's
	v = w.get(m, v.ID, "an unusable description pauses the job", func(v View) bool { return v.State == StatePaused })
	if !strings.Contains(v.Fault, "description") {
		t.Errorf("fault is %q", v.Fault)
	}
	if _, err := m.Resume(context.Background(), v.ID); err != nil {
		t.Fatal(err)
	}
	w.member().Learned(torrentInfo)
	w.get(m, v.ID, "metadata is there", func(v View) bool { return v.Size == 16 })
}

func TestAFullDiskPausesTheJobUntilItIsResumed(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	v := w.withInfo(m)
	const fault = "disk full: writing /d/a.part: 512 bytes free in /d; free some space and resume"
	w.report(m, v, control.StateFailed, func(p *control.Progress) { p.Error = fault })
	v = w.get(m, v.ID, "the job is paused", func(v View) bool { return v.State == StatePaused })
	if v.Fault != fault || !strings.Contains(v.Message, fault) {
		t.Errorf("fault %q, message %q", v.Fault, v.Message)
	}
	if got := m.Desired(attic)[infoHash]; !got.Assign.Paused {
		t.Errorf("the device should hold %+v, want it paused", got)
	}
	// The device's report of before must not pause it again.
	before := v
	before.Generation--
	r, err := m.Resume(context.Background(), v.ID)
	if err != nil || r.Fault != "" || r.Generation <= v.Generation {
		t.Fatalf("resumed: %+v, %v", r, err)
	}
	w.report(m, before, control.StateFailed, func(p *control.Progress) { p.Error = fault })
	w.report(m, r, control.StateDownloading, nil)
	w.get(m, v.ID, "it downloads", func(v View) bool { return v.State == StateDownloading })
}

func TestAJobSurvivesARestartOfTheSurrogate(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	v := w.withInfo(m)
	if _, err := m.Pause(context.Background(), v.ID); err != nil {
		t.Fatal(err)
	}
	m.Close()
	m = w.open()
	got, err := m.Get(v.ID)
	if err != nil {
		t.Fatal(err)
	}
	if got.State != StatePaused || got.Name != "a.txt" || got.Size != 16 || got.Generation <= v.Generation {
		t.Errorf("after the restart: %+v", got)
	}
	if !m.Desired(attic)[infoHash].Assign.Paused {
		t.Error("the pause was lost")
	}
}

func TestWhatAJobHadIsShownAfterARestartUntilItsDeviceReports(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	figures := func(v View) [3]int64 { return [3]int64{v.Progress.Have, v.Progress.Selected, v.Progress.SelectedHave} }
	add := func(magnet string, info []byte) View {
		t.Helper()
		v, err := m.Add(context.Background(), New{Magnet: magnet, Target: "device:attic"})
		if err != nil {
			t.Fatal(err)
		}
		w.member().Learned(info)
		return w.get(m, v.ID, "metadata is there", func(v View) bool { return v.Size > 0 })
	}
	whole, part := add(magnet, torrentInfo), add(albumMagnet, album)
	if got := figures(whole); got != [3]int64{} {
		t.Errorf("before it was complete: %v", got)
	}
	part, err := m.Choose(context.Background(), part.ID, []Choice{{Priority: skip, Patterns: []string{"scans"}}})
	if err != nil {
		t.Fatal(err)
	}
	files, err := m.Files(context.Background(), part.ID)
	if err != nil {
		t.Fatal(err)
	}
	var wanted int64
	for _, f := range files {
		if f.Priority != skip {
			wanted += f.Size
		}
	}
	w.report(m, whole, control.StateSeeding, func(p *control.Progress) { p.Have = 16 })
	w.report(m, part, control.StateFinished, func(p *control.Progress) {
		p.Size, p.Have, p.Selected, p.SelectedHave = part.Size, wanted, wanted, wanted
	})
	w.get(m, whole.ID, "complete", func(v View) bool { return v.Completed })
	w.get(m, part.ID, "finished", func(v View) bool { return v.State == StateFinished })
	m.Close()
	w.locked(func() { w.devices[attic] = Device{ID: attic, Name: "attic"} })
	m = w.open()
	for _, row := range []struct {
		id    string
		state State
		want  [3]int64
	}{
		{whole.ID, StateWaiting, [3]int64{16, 0, 0}},
		{part.ID, StateFinished, [3]int64{wanted, wanted, wanted}},
	} {
		if v, err := m.Get(row.id); err != nil || v.State != row.state || figures(v) != row.want || wanted == 0 || wanted >= part.Size {
			t.Errorf("it is %s with %v of %d, %v, want %s with %v", v.State, figures(v), v.Size, err, row.state, row.want)
		}
	}
	w.report(m, whole, control.StateDownloading, func(p *control.Progress) { p.Have = 5 })
	w.get(m, whole.ID, "what the device reports counts", func(v View) bool { return figures(v) == [3]int64{5, 0, 0} })
}

func TestAPausedJobTakesNoPart(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	v := w.add(m)
	s := w.member()
	if _, err := m.Pause(context.Background(), v.ID); err != nil {
		t.Fatal(err)
	}
	if !s.now().left {
		t.Error("it is still in the swarm")
	}
	if _, err := m.Resume(context.Background(), v.ID); err != nil {
		t.Fatal(err)
	}
	if s == w.member() || w.member().now().left {
		t.Error("it is not in the swarm again")
	}
}

func TestTwoWishesAtOnceMakeOneJob(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	errs := make(chan error, 8)
	for range cap(errs) {
		go func() {
			_, err := m.Add(context.Background(), New{Magnet: magnet, Target: "device:attic"})
			errs <- err
		}()
	}
	made := 0
	for range cap(errs) {
		switch err := <-errs; {
		case err == nil:
			made++
		case !errors.Is(err, ErrConflict):
			t.Error(err)
		}
	}
	if made != 1 || len(m.List()) != 1 || len(w.records) != 1 {
		t.Errorf("%d were made, %d are there", made, len(m.List()))
	}
}

func TestOtherDevicesAndStrangeTorrentsChangeNothing(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	v := w.withInfo(m)
	m.Observed("barn-id", control.Progress{ID: infoHash, Generation: v.Generation, State: control.StateSeeding})
	m.Observed(attic, control.Progress{ID: [20]byte{1}, Generation: 1, State: control.StateFailed})
	m.Gone("barn-id", infoHash)
	m.Gone(attic, [20]byte{1})
	m.Gone(attic, infoHash) // it was not asked to drop it
	if got, err := m.Get(v.ID); err != nil || got.Completed || got.State != StateWaiting {
		t.Errorf("the job is %+v, %v", got, err)
	}
}

func TestADamagedDescriptionIsFetchedAgain(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	v := w.withInfo(m)
	m.Close()
	w.infos[infoHash.String()] = []byte("damaged")
	m = w.open()
	w.member().Learned(torrentInfo)
	w.get(m, v.ID, "metadata is there", func(v View) bool { return v.Size == 16 })
}

func TestADeviceAheadOfARestoredStoreIsOvertaken(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	v := w.withInfo(m)
	const ahead = 1 << 40
	w.report(m, v, control.StatePaused, func(p *control.Progress) { p.Generation += ahead })
	w.get(m, v.ID, "a later generation", func(got View) bool { return got.Generation == v.Generation+ahead+1 })
}

func TestAGenerationThatNoClockGivesIsIgnored(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	v := w.withInfo(m)
	w.report(m, v, control.StateSeeding, func(p *control.Progress) { p.Generation = 1<<64 - 1 })
	w.report(m, v, control.StateDownloading, nil)
	got := w.get(m, v.ID, "the next report", func(v View) bool { return v.State == StateDownloading })
	if got.Generation != v.Generation || got.Completed {
		t.Errorf("the job is now %+v", got)
	}
}

func TestAStoreRestoredFromABackupUsesNoGenerationTwice(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	v := w.withInfo(m)
	backup := maps.Clone(w.records)
	paused, err := m.Pause(context.Background(), v.ID)
	if err != nil {
		t.Fatal(err)
	}
	m.Close()
	w.records = backup
	time.Sleep(2 * time.Millisecond) // generations follow a clock of milliseconds
	m = w.open()
	verified, err := m.Verify(context.Background(), v.ID)
	if err != nil || verified.Generation <= paused.Generation {
		t.Errorf("the pause had generation %d, the other wish has %d (%v)", paused.Generation, verified.Generation, err)
	}
}

func TestWhatIsNotStoredIsNotAcknowledged(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	v := w.withInfo(m)
	w.locked(func() { w.full = errors.New("store: disk full") })
	if _, err := m.Pause(context.Background(), v.ID); err == nil {
		t.Error("a pause that was not stored was acknowledged")
	}
	if got, _ := m.Get(v.ID); got.Paused {
		t.Error("it was obeyed all the same")
	}
	if _, err := m.Add(context.Background(), New{Magnet: strings.Replace(magnet, infoHash.String(), strings.Repeat("ab", 20), 1), Target: "device:attic"}); err == nil {
		t.Error("a job that was not stored was acknowledged")
	}
}

func TestBadWishesGetAClearError(t *testing.T) {
	w := newWorld(t)
	w.devices["old"] = Device{ID: "old", Name: "old", Revoked: true}
	m := w.open()
	v := w.add(m)
	for name, c := range map[string]struct {
		wish New
		kind error
		text string
	}{
		"no torrent":       {New{Target: "device:attic"}, ErrInvalid, "one of the two"},
		"both":             {New{Magnet: magnet, Torrent: []byte("d"), Target: "device:attic"}, ErrInvalid, "one of the two"},
		"no target":        {New{Magnet: magnet}, ErrInvalid, "want device:NAME"},
		"unknown device":   {New{Magnet: magnet, Target: "device:cellar"}, ErrNotFound, "cellar"},
		"revoked device":   {New{Magnet: magnet, Target: "device:old"}, ErrConflict, "revoked"},
		"malformed magnet": {New{Magnet: "magnet:?xt=urn:btih:123", Target: "device:attic"}, ErrInvalid, "magnet"},
		"malformed file":   {New{Torrent: []byte("not bencode"), Target: "device:attic"}, ErrInvalid, ""},
		"twice":            {New{Magnet: magnet, Target: "device:attic"}, ErrConflict, v.ID},
	} {
		_, err := m.Add(context.Background(), c.wish)
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := m.Pause(context.Background(), "nosuch"); !errors.Is(err, ErrNotFound) {
		t.Errorf("pausing an unknown job: %v", err)
	}
	if len(m.List()) != 1 {
		t.Errorf("jobs are %v", m.List())
	}
}
