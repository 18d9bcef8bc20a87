package job

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"simplebit/wire/control"
)

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
	both.Go(func() {
		if _, err := m.Add(context.Background(), New{Magnet: magnet, Target: "device:attic"}); err != nil {
			t.Error(err)
		}
	})
	w.eventually("it is being stored", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.held == 1
	})
	both.Go(func() { m.Gone(attic, infoHash) })
	time.Sleep(10 * time.Millisecond) // in which it may come to the wrong end
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

func TestADeviceShouldHoldWhatAJobOfItsNamesUntilThatIsRemoved(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	v := w.withInfo(m)
	if !m.Wants(attic, infoHash) || m.Wants(attic, [20]byte{1}) || m.Wants("cellar-id", infoHash) {
		t.Error("it is not the job's device and torrent, and no other")
	}
	if err := m.Remove(context.Background(), v.ID, false); err != nil {
		t.Fatal(err)
	}
	if m.Wants(attic, infoHash) {
		t.Error("it still should hold what is being removed")
	}
}
