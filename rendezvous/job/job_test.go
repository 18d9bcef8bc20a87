package job

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
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
	peer := netip.MustParseAddrPort("198.18.1.2:6881")
	w.session().Peers([]netip.AddrPort{peer, netip.MustParseAddrPort("10.0.0.1:6881"), peer})
	w.eventually("the peer is asked for the metadata", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.asked) == 1 && w.asked[0] == peer
	})
	w.info <- torrentInfo
	v = w.get(m, v.ID, "metadata is there", func(v View) bool { return v.Size == 16 })
	if v.State != StateWaiting || v.Name != "a.txt" {
		t.Errorf("with metadata it is %s, named %q", v.State, v.Name)
	}
	if got := m.Desired(attic)[infoHash].Assign; got.Generation != v.Generation || got.Paused {
		t.Errorf("the device should hold %+v, want generation %d, not paused", got, v.Generation)
	}
	w.report(m, v, control.StateDownloading, nil)
	w.eventually("the device gets the one address that may be dialled", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.sent) == 1 && len(w.sent[0].Peers) == 1 && w.sent[0].Peers[0].Addr == peer
	})
}

// A device's states may follow each other faster than its reports.
func TestADeviceThatStartsAgainIsOfferedAllPeersAgain(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	v := w.withInfo(m)
	w.session().Peers([]netip.AddrPort{netip.MustParseAddrPort("198.18.1.2:6881")})
	offers := func() int { w.mu.Lock(); defer w.mu.Unlock(); return len(w.sent) }
	w.eventually("the peer is passed on", func() bool { return offers() == 1 })
	w.report(m, v, control.StateSeeding, nil)
	w.eventually("offered when it begins", func() bool { return offers() == 2 })
	v, err := m.Verify(context.Background(), v.ID)
	if err != nil {
		t.Fatal(err)
	}
	w.report(m, v, control.StateSeeding, nil)
	w.eventually("offered after a check", func() bool { return offers() == 3 })
	w.report(m, v, control.StateSeeding, nil)
	m.Connected(attic)
	w.report(m, v, control.StateSeeding, nil)
	w.eventually("offered after a new session", func() bool { return offers() == 4 })
}

func TestAFetchThatFailsIsTriedAgain(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	v := w.add(m)
	w.info <- []byte("d6:lengthi0e4:name1:a12:piece lengthi16384e6:pieces0:e") // another torrent's
	v = w.get(m, v.ID, "an unusable description pauses the job", func(v View) bool { return v.State == StatePaused })
	if !strings.Contains(v.Fault, "description") {
		t.Errorf("fault is %q", v.Fault)
	}
	if _, err := m.Resume(context.Background(), v.ID); err != nil {
		t.Fatal(err)
	}
	w.info <- torrentInfo
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

func TestAPausedJobNeitherAnnouncesNorFetches(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	v := w.add(m)
	s := w.session()
	if _, err := m.Pause(context.Background(), v.ID); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.ctx.Done():
	case <-time.After(5 * time.Second):
		t.Error("the tracker session still runs")
	}
}

func TestARemovedJobStaysUntilTheDeviceLetsGo(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	v := w.withInfo(m)
	if err := m.Remove(context.Background(), v.ID, true); err != nil {
		t.Fatal(err)
	}
	if got := m.Desired(attic)[infoHash]; !got.Remove || !got.DeleteData {
		t.Errorf("the device is asked for %+v", got)
	}
	m.Close()
	m = w.open()
	if got, err := m.Get(v.ID); err != nil || got.State != StateRemoving {
		t.Fatalf("after a restart: %+v, %v", got, err)
	}
	m.Gone(attic, infoHash)
	if _, err := m.Get(v.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("the job is still there: %v", err)
	}
	if len(w.records) != 0 || len(w.infos) != 0 {
		t.Errorf("still stored: %v, %v", w.records, w.infos)
	}
}

func TestATorrentAddedAgainWhileItIsRemovedIsKept(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	old := w.withInfo(m)
	if err := m.Remove(context.Background(), old.ID, true); err != nil {
		t.Fatal(err)
	}
	v := w.add(m)
	if v.Generation <= old.Generation+1 {
		t.Errorf("generation %d does not overtake the removal's %d", v.Generation, old.Generation+1)
	}
	m.Gone(attic, infoHash) // the answer to the removal comes late
	if got := m.Desired(attic)[infoHash]; got.Remove || got.Generation != v.Generation {
		t.Errorf("the device should now hold %+v", got)
	}
	if all := m.List(); len(all) != 1 || all[0].Size != 16 || all[0].State == StateRemoving {
		t.Errorf("the jobs are %+v", all)
	}
	if len(w.records) != 1 || len(w.infos) != 1 {
		t.Errorf("stored are %v, %v", w.records, w.infos)
	}
	m.Close()
	if all := w.open().List(); len(all) != 1 || all[0].Removed {
		t.Errorf("after a restart the jobs are %+v", all)
	}
}

func TestADeviceThatLetsGoWhileATorrentIsAddedAgainDoesNotEndTheNewJob(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	v := w.withInfo(m)
	if err := m.Remove(context.Background(), v.ID, false); err != nil {
		t.Fatal(err)
	}
	hold := make(chan bool)
	w.locked(func() { w.hold = hold })
	var both sync.WaitGroup
	both.Go(func() { w.add(m) })
	time.Sleep(10 * time.Millisecond) // it is being stored
	both.Go(func() { m.Gone(attic, infoHash) })
	time.Sleep(10 * time.Millisecond)
	close(hold)
	both.Wait()
	if all := m.List(); len(all) != 1 || all[0].Removed {
		t.Errorf("the jobs are %+v", all)
	}
	if len(w.records) != 1 || len(w.infos) != 1 {
		t.Errorf("stored are %v, %v", w.records, w.infos)
	}
}

func TestARemovalCanBeAskedForAgain(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	v := w.withInfo(m)
	for i, data := range []bool{false, true, false} {
		before := m.Desired(attic)[infoHash].Generation
		if err := m.Remove(context.Background(), v.ID, data); err != nil {
			t.Fatal(err)
		}
		if got := m.Desired(attic)[infoHash]; !got.Remove || got.DeleteData != (i > 0) || got.Generation <= before {
			t.Errorf("removal %d asks for %+v", i, got)
		}
	}
	if _, err := m.Pause(context.Background(), v.ID); !errors.Is(err, ErrConflict) {
		t.Errorf("pausing what is being removed: %v", err)
	}
}

func TestNoRemovalWaitsForARevokedDevice(t *testing.T) {
	ctx := context.Background()
	revoke := func(w *world) {
		w.locked(func() { w.devices[attic] = Device{ID: attic, Name: "attic", Revoked: true} })
	}
	for name, f := range map[string]func(*world, *Manager, View) *Manager{
		"revoked, then removed": func(w *world, m *Manager, v View) *Manager {
			revoke(w)
			m.Remove(ctx, v.ID, false)
			return m
		},
		"removed, then revoked": func(w *world, m *Manager, v View) *Manager {
			m.Remove(ctx, v.ID, false)
			revoke(w)
			m.Revoked(ctx, attic)
			return m
		},
		"killed in between": func(w *world, m *Manager, v View) *Manager {
			m.Remove(ctx, v.ID, false)
			revoke(w)
			m.Close()
			return w.open()
		},
	} {
		w := newWorld(t)
		m := w.open()
		m = f(w, m, w.withInfo(m))
		if len(m.List()) != 0 || len(w.records) != 0 || len(w.infos) != 0 {
			t.Errorf("%s: left are %v, %v, %v", name, m.List(), w.records, w.infos)
		}
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

func TestTheDescriptionStaysWhileAnotherDeviceNeedsIt(t *testing.T) {
	w := newWorld(t)
	w.devices["barn-id"] = Device{ID: "barn-id", Name: "barn", Online: true}
	m := w.open()
	v := w.withInfo(m)
	other, err := m.Add(context.Background(), New{Magnet: magnet, Target: "device:barn"})
	if err != nil || other.Size != 16 {
		t.Fatalf("the second job: %+v, %v", other, err)
	}
	m.Remove(context.Background(), v.ID, false)
	m.Gone(attic, infoHash)
	if _, err := m.Torrent(context.Background(), infoHash); err != nil {
		t.Error(err)
	}
	if got := m.Desired("barn-id"); len(got) != 1 || got[infoHash].Remove {
		t.Errorf("the other device should hold %+v", got)
	}
	m.Remove(context.Background(), other.ID, false)
	m.Gone("barn-id", infoHash)
	if len(w.infos) != 0 {
		t.Error("the description is still stored")
	}
}

func TestNothingIsStoredAfterAJobIsDropped(t *testing.T) {
	for range 20 {
		w := newWorld(t)
		m := w.open()
		v := w.withInfo(m)
		m.Remove(context.Background(), v.ID, false)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() { m.Remove(context.Background(), v.ID, true) })
			all.Go(func() { w.report(m, v, control.StateSeeding, nil) })
			all.Go(func() { m.Gone(attic, infoHash) })
		}
		all.Wait()
		w.eventually("dropped", func() bool { return len(m.List()) == 0 })
		w.locked(func() {
			if len(w.records) != 0 || len(w.infos) != 0 {
				t.Fatalf("still stored: %v, %v", w.records, w.infos)
			}
		})
		if _, err := m.Pause(context.Background(), v.ID); !errors.Is(err, ErrNotFound) {
			t.Errorf("pausing it: %v", err)
		}
	}
}

func TestAJobThatTheStoreDoesNotDeleteIsDroppedAnotherTime(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	v := w.withInfo(m)
	m.Remove(context.Background(), v.ID, false)
	w.locked(func() { w.stuck = errors.New("store: no answer") })
	m.Gone(attic, infoHash)
	if got, err := m.Get(v.ID); err != nil || got.State != StateRemoving {
		t.Errorf("the job is %+v, %v", got, err)
	}
	w.locked(func() { w.stuck = nil })
	m.Gone(attic, infoHash)
	if _, err := m.Get(v.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("the job is still there: %v", err)
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

func TestADownloadThatEndsWhileTheDeviceIsAwayIsToldToTheTracker(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	v := w.withInfo(m)
	w.report(m, v, control.StateDownloading, nil)
	m.Connected(attic) // gone
	m.Connected(attic) // and back
	w.report(m, v, control.StateSeeding, nil)
	s := w.session()
	w.eventually("completed", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return s.completed == 1 })
}

func TestContentThatWasThereIsNotToldAsDownloaded(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	v := w.withInfo(m)
	w.report(m, v, control.StateChecking, nil)
	w.report(m, v, control.StateSeeding, nil)
	w.get(m, v.ID, "complete", func(v View) bool { return v.Completed })
	if s := w.session(); s.completed != 0 {
		t.Errorf("told %d times", s.completed)
	}
}

func TestAMagnetThatNamesPeersIsFetchedFromThem(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	_, err := m.Add(context.Background(), New{Magnet: magnet + "&x.pe=198.18.1.2:6881&x.pe=10.0.0.1:6881", Target: "device:attic"})
	if err != nil {
		t.Fatal(err)
	}
	w.eventually("the one that may be contacted is asked", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.asked) == 1 && w.asked[0] == netip.MustParseAddrPort("198.18.1.2:6881")
	})
}

func TestADamagedDescriptionIsFetchedAgain(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	v := w.withInfo(m)
	m.Close()
	w.infos[infoHash.String()] = []byte("damaged")
	m = w.open()
	w.info <- torrentInfo
	w.get(m, v.ID, "metadata is there", func(v View) bool { return v.Size == 16 })
}

func TestPeersOfASwarmThatLivesLongAreStillTaken(t *testing.T) {
	k := newKnown()
	addr := func(i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), 6881)
	}
	for i := range 10 * maxKnown {
		if !k.add(addr(i)) {
			t.Fatalf("address %d is not new", i)
		}
		if k.add(addr(i)) {
			t.Fatalf("address %d is new again", i)
		}
		if k.add(addr(0)) {
			t.Fatal("an address that is named all the time is forgotten")
		}
		if k.count() > maxKnown {
			t.Fatalf("%d addresses are kept", k.count())
		}
	}
	if len(k.all()) != k.count() {
		t.Errorf("%d addresses are kept, %d listed", k.count(), len(k.all()))
	}
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

func TestCompletionIsToldToTheTrackerOnce(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	v := w.withInfo(m)
	w.report(m, v, control.StateDownloading, nil)
	for range 2 {
		w.report(m, v, control.StateSeeding, func(p *control.Progress) { p.Have = 16 })
	}
	w.get(m, v.ID, "seeding", func(v View) bool { return v.State == StateSeeding && v.Completed })
	s := w.session()
	w.eventually("one completed", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return s.completed == 1
	})
	if got := s.Stats(); got.Left != 0 {
		t.Errorf("a complete job announces %+v", got)
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

func TestTrackersAreToldWhatWasMovedSinceTheyWereToldOfAStart(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	v := w.add(m)
	if got := w.session().Stats(); got != (Stats{Left: -1}) {
		t.Errorf("before anything is known %+v is announced", got)
	}
	w.info <- torrentInfo
	v = w.get(m, v.ID, "metadata is there", func(v View) bool { return v.Size == 16 })
	moved := func(up, down int64, want Stats) {
		t.Helper()
		w.report(m, v, control.StateDownloading, func(p *control.Progress) { p.Uploaded, p.Downloaded, p.Have = up, down, 4 })
		s := w.session()
		w.eventually("the announced figures", func() bool { return s.Stats() == want })
	}
	moved(1000, 100, Stats{Left: 12})
	moved(1500, 110, Stats{Uploaded: 500, Downloaded: 10, Left: 12})
	moved(200, 110, Stats{Downloaded: 10, Left: 12}) // the device was killed and lost count
	moved(300, 111, Stats{Uploaded: 100, Downloaded: 11, Left: 12})
	for _, f := range []func(context.Context, string) (View, error){m.Pause, m.Resume} {
		var err error
		if v, err = f(context.Background(), v.ID); err != nil {
			t.Fatal(err)
		}
	}
	moved(301, 111, Stats{Uploaded: 1, Left: 12})
}

func TestAJobWithFewPeersLooksForMoreThoughTheDeviceReportsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m := w.open()
		defer m.Close()
		v := w.add(m)
		pokes := func() int { w.mu.Lock(); defer w.mu.Unlock(); return w.announce[0].pokes }
		offers := func() int { w.mu.Lock(); defer w.mu.Unlock(); return len(w.sent) }
		time.Sleep(feedEvery + time.Second)
		if pokes() != 1 {
			t.Errorf("without metadata the trackers were asked for more %d times, want once", pokes())
		}
		w.session().Peers([]netip.AddrPort{netip.MustParseAddrPort("198.18.1.2:6881")})
		w.info <- torrentInfo
		v = w.get(m, v.ID, "metadata is there", func(v View) bool { return v.Size == 16 })
		w.report(m, v, control.StateDownloading, nil)
		synctest.Wait()
		before := offers()
		time.Sleep(offerAgain + feedEvery)
		if pokes() < 6 || offers() != before+1 {
			t.Errorf("in %v of silence: %d pokes and %d offers, want one each %v and one", offerAgain+feedEvery, pokes(), offers()-before, feedEvery)
		}
		w.report(m, v, control.StateSeeding, nil)
		synctest.Wait()
		asked := pokes()
		time.Sleep(offerAgain)
		if pokes() != asked {
			t.Error("a complete job asks for more peers")
		}
	})
}
