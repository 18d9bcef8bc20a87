package job

import (
	"context"
	"errors"
	"math"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"simplebit/wire/control"
)

// A device's states may follow each other faster than its reports.
func TestADeviceThatStartsAgainIsOfferedAllPeersAgain(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	v := w.withInfo(m)
	s := w.member()
	offered := func(n int) func() bool { return func() bool { return s.now().offers == n } }
	w.report(m, v, control.StateChecking, nil)
	w.report(m, v, control.StateSeeding, nil)
	w.eventually("offered when it begins", offered(1))
	v, err := m.Verify(context.Background(), v.ID)
	if err != nil {
		t.Fatal(err)
	}
	w.report(m, v, control.StateSeeding, nil)
	w.eventually("offered after a check", offered(2))
	w.report(m, v, control.StateSeeding, nil)
	m.Connected(attic)
	w.report(m, v, control.StateSeeding, nil)
	w.eventually("offered after a new session", offered(3))
}

func TestAddressesGoOnlyToADeviceThatUsesThem(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	v := w.withInfo(m)
	s := w.member()
	taken := func() bool {
		before := w.taken()
		s.find("198.18.1.2:6881")
		return w.taken() > before
	}
	for state, want := range map[control.State]bool{
		control.StateLayout: false, control.StateChecking: false, control.StateDownloading: true, control.StateSeeding: true,
		control.StateFinished: false, 99: false,
	} {
		w.report(m, v, state, nil)
		w.eventually(state.String(), func() bool { return taken() == want })
		if state == control.StateFinished {
			w.report(m, v, control.StateDownloading, nil) // a finished job has left
			w.eventually("joined again", func() bool { return w.member() != s })
			s = w.member()
		}
	}
	w.report(m, v, control.StateDownloading, nil)
	w.eventually("it downloads", taken)
	m.Connected(attic)
	w.eventually("it is gone", func() bool { return !taken() })
	w.report(m, v, control.StateDownloading, nil)
	w.eventually("it is back", taken)
	if _, err := m.Pause(context.Background(), v.ID); err != nil {
		t.Fatal(err)
	}
	if taken() {
		t.Error("a paused device was sent an address")
	}
}

func TestAJobKeepsItsPlaceInTheSwarmWhileTheDeviceIsAwayOrMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.endpoint = netip.MustParseAddrPort("198.18.9.9:6882")
		m := w.open()
		defer m.Close()
		v := w.withInfo(m)
		s := w.member()
		if s.now().endpoint != w.endpoint {
			t.Errorf("the swarm was told that the device is at %v", s.now().endpoint)
		}
		w.report(m, v, control.StateDownloading, nil)
		home := w.endpoint
		w.locked(func() { w.endpoint = netip.AddrPort{} })
		m.Connected(attic)
		synctest.Wait()
		offers, pokes := s.now().offers, s.now().pokes
		time.Sleep(5 * time.Hour)
		synctest.Wait()
		if s.now().left || s.now().endpoint.IsValid() || s.now().hungry || s.now().offers != offers || s.now().pokes != pokes {
			t.Errorf("while the device is away the job is %+v", s.now())
		}
		w.locked(func() { w.endpoint = home })
		m.Connected(attic)
		w.report(m, v, control.StateDownloading, nil)
		synctest.Wait()
		if s.now().offers != offers+1 || s.now().endpoint != home || !s.now().hungry || len(w.members) != 1 {
			t.Errorf("when it is back the job is %+v", s.now())
		}
		offers = s.now().offers
		moved := netip.MustParseAddrPort("198.18.9.10:6882")
		w.locked(func() { w.endpoint = moved })
		m.Moved(attic)
		synctest.Wait()
		if s.now().offers != offers || s.now().endpoint != moved || !s.now().hungry {
			t.Errorf("when it is seen elsewhere the job is %+v", s.now())
		}
	})
}

func TestADownloadThatEndsWhileTheDeviceIsAwayIsToldToTheTracker(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	v := w.withInfo(m)
	w.report(m, v, control.StateDownloading, nil)
	m.Connected(attic) // gone
	m.Connected(attic) // and back
	w.report(m, v, control.StateSeeding, nil)
	s := w.member()
	w.eventually("completed", func() bool { return s.now().completed == 1 })
}

func TestContentThatWasThereIsNotToldAsDownloaded(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	v := w.withInfo(m)
	w.report(m, v, control.StateChecking, nil)
	w.report(m, v, control.StateSeeding, nil)
	w.get(m, v.ID, "complete", func(v View) bool { return v.Completed })
	if n := w.member().now().completed; n != 0 {
		t.Errorf("told %d times", n)
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
	s := w.member()
	w.eventually("one completed", func() bool { return s.now().completed == 1 })
	if got := s.Stats(); got.Left != 0 {
		t.Errorf("a complete job announces %+v", got)
	}
}

// BEP 3: "completed" is for a download that has everything.
func TestAllThatIsWantedIsNotEverything(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	v := w.withInfo(m)
	w.report(m, v, control.StateDownloading, nil)
	w.report(m, v, control.StateSeeding, func(p *control.Progress) { p.Have, p.Selected, p.SelectedHave = 10, 9, 9 })
	got := w.get(m, v.ID, "seeding", func(v View) bool { return v.State == StateSeeding })
	s := w.member()
	if got.Completed || s.now().completed != 0 || s.Stats().Left != 6 {
		t.Errorf("told %d times, announced %+v, the job is %+v", s.now().completed, s.Stats(), got)
	}
	w.report(m, v, control.StateSeeding, func(p *control.Progress) { p.Have, p.Selected, p.SelectedHave = 16, 9, 9 })
	w.eventually("completed", func() bool { return s.now().completed == 1 })
}

func TestTrackersAreToldWhatWasMovedSinceTheyWereToldOfAStart(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	v := w.add(m)
	if got := w.member().Stats(); got != (Stats{Left: -1}) {
		t.Errorf("before anything is known %+v is announced", got)
	}
	w.member().Learned(torrentInfo)
	v = w.get(m, v.ID, "metadata is there", func(v View) bool { return v.Size == 16 })
	moved := func(up, down int64, want Stats) {
		t.Helper()
		w.report(m, v, control.StateDownloading, func(p *control.Progress) { p.Uploaded, p.Downloaded, p.Have = up, down, 4 })
		s := w.member()
		w.eventually("the announced figures", func() bool { return s.Stats() == want })
	}
	moved(1000, 100, Stats{Left: 12})
	moved(1500, 110, Stats{Uploaded: 500, Downloaded: 10, Left: 12})
	moved(1200, 105, Stats{Uploaded: 500, Downloaded: 10, Left: 12}) // the device was killed and lost count
	moved(200, 106, Stats{Uploaded: 500, Downloaded: 11, Left: 12})
	moved(300, 106, Stats{Uploaded: 600, Downloaded: 11, Left: 12})
	before := w.member()
	for _, f := range []func(context.Context, string) (View, error){m.Pause, m.Resume} {
		var err error
		if v, err = f(context.Background(), v.ID); err != nil {
			t.Fatal(err)
		}
	}
	moved(301, 106, Stats{Uploaded: 1, Left: 12})
	if got := before.Stats(); got != (Stats{Uploaded: 600, Downloaded: 11, Left: 12}) {
		t.Errorf("the session that ended tells the trackers %+v", got)
	}
}

func TestWhatAHostileDeviceCountsDoesNotOverflow(t *testing.T) {
	sum := int64(0)
	for _, step := range [][2]int64{{0, math.MaxInt64}, {math.MaxInt64, 0}, {0, math.MaxInt64}} {
		if sum = grown(sum, step[0], step[1]); sum != math.MaxInt64 {
			t.Errorf("from %d to %d: told %d", step[0], step[1], sum)
		}
	}
}

func TestACompleteJobIsAnnouncedAsSuchBeforeItsDeviceComesBack(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	v := w.withInfo(m)
	w.report(m, v, control.StateSeeding, func(p *control.Progress) { p.Have = 16 })
	w.get(m, v.ID, "complete", func(v View) bool { return v.Completed })
	m.Close()
	w.open()
	if got := w.member().Stats(); got != (Stats{}) {
		t.Errorf("after a restart of the surrogate %+v is announced", got)
	}
}

func TestAJobWithFewPeersLooksForMoreThoughTheDeviceReportsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m := w.open()
		defer m.Close()
		v := w.add(m)
		s := w.member()
		time.Sleep(feedEvery + time.Second)
		if s.now().pokes != 2 {
			t.Errorf("without metadata more were asked for %d times, want at once and after %v", s.now().pokes, feedEvery)
		}
		s.Learned(torrentInfo)
		synctest.Wait()
		w.report(m, v, control.StateDownloading, nil) // of an older generation, but it downloads
		synctest.Wait()
		before := s.now().pokes
		time.Sleep(time.Minute)
		if got := s.now().pokes - before; got != 6 {
			t.Errorf("in a minute of silence more were asked for %d times", got)
		}
		w.report(m, v, control.StateDownloading, func(p *control.Progress) { p.Peers = make([]control.Peer, fewPeers) })
		synctest.Wait()
		before = s.now().pokes
		time.Sleep(time.Minute)
		if s.now().hungry || s.now().pokes != before {
			t.Error("a device with peers is short of them")
		}
		w.report(m, v, control.StateDownloading, nil)
		synctest.Wait()
		if !s.now().hungry {
			t.Error("a device that has lost its peers has to wait")
		}
		w.report(m, v, control.StateSeeding, nil)
		synctest.Wait()
		if s.now().hungry {
			t.Error("a complete job asks for more peers")
		}
	})
}

func TestTheSwarmIsToldWhatTheDeviceFoundBad(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	w.withInfo(m)
	bad := []control.UnusablePeer{{Addr: netip.MustParseAddrPort("198.18.1.2:6881"), Reason: control.UnusableLied}}
	m.Unusable(attic, control.Unusable{ID: infoHash, Peers: bad})
	m.Unusable(attic, control.Unusable{ID: infoHash})
	m.Unusable(attic, control.Unusable{ID: [20]byte{1}, Peers: bad})
	m.Unusable("barn-id", control.Unusable{ID: infoHash, Peers: bad})
	s := w.member()
	w.eventually("told", func() bool { return slices.Equal(s.now().unusable, bad) })
}

func TestADescriptionThatAnotherJobStoredIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m := w.open()
		defer m.Close()
		v := w.add(m)
		w.locked(func() { w.infos[infoHash.String()] = torrentInfo })
		time.Sleep(feedEvery + time.Second)
		if got, err := m.Get(v.ID); err != nil || got.Size != 16 || w.member().now().infoSize != len(torrentInfo) {
			t.Errorf("the job is %+v, %v", got, err)
		}
	})
}

func TestADescriptionThatIsNotStoredIsStoredLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m := w.open()
		defer m.Close()
		v := w.add(m)
		w.locked(func() { w.full = errors.New("store: disk full") })
		w.member().Learned(torrentInfo)
		time.Sleep(feedEvery + time.Second)
		if got, err := m.Get(v.ID); err != nil || got.Size != 0 || len(m.Desired(attic)) != 0 {
			t.Errorf("the job is %+v, %v", got, err)
		}
		w.locked(func() { w.full = nil })
		time.Sleep(feedEvery)
		if got, err := m.Get(v.ID); err != nil || got.Size != 16 || len(m.Desired(attic)) != 1 {
			t.Errorf("the job is %+v, %v", got, err)
		}
	})
}

func TestWhatADeviceReportedOnceIsStoredOnceTheStoreTakesIt(t *testing.T) {
	for name, c := range map[string]struct {
		state  control.State
		stored func(Record) bool
	}{
		"complete": {control.StateSeeding, func(r Record) bool { return r.Completed }},
		"finished": {control.StateFinished, func(r Record) bool { return r.Completed && r.finished() }},
		"failed":   {control.StateFailed, func(r Record) bool { return r.Paused && r.Fault == "disk full" }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				m := w.open()
				defer m.Close()
				v := w.withInfo(m)
				s := w.member()
				w.locked(func() { w.full = errors.New("store: no answer") })
				w.report(m, v, c.state, func(p *control.Progress) { p.Have, p.Error = 16, "disk full" })
				synctest.Wait()
				if c.state != control.StateSeeding && !s.now().left {
					t.Error("the job stays in the swarm while the store is away")
				}
				m.Connected(attic) // the device is gone, and will not report it again
				time.Sleep(3 * feedEvery)
				w.locked(func() {
					if c.stored(w.records[v.ID]) {
						t.Error("it was stored by a store that is away")
					}
					w.full = nil
				})
				time.Sleep(feedEvery)
				synctest.Wait()
				got, err := m.Get(v.ID)
				if err != nil {
					t.Fatal(err)
				}
				w.locked(func() {
					if r := w.records[v.ID]; !c.stored(r) || r.Generation != got.Generation {
						t.Errorf("stored is %+v, the job is %+v", r, got)
					}
				})
			})
		})
	}
}

func TestAFinishedJobLeavesTheSwarmUntilItsGoalsChange(t *testing.T) {
	w := newWorld(t)
	m := w.open()
	v := w.withInfo(m)
	w.report(m, v, control.StateSeeding, nil)
	s := w.member()
	w.report(m, v, control.StateFinished, nil)
	w.get(m, v.ID, "finished", func(v View) bool { return v.State == StateFinished })
	if !s.now().left {
		t.Error("it is still in the swarm")
	}
	m.Close()
	joined := len(w.members)
	m = w.open()
	if got, err := m.Get(v.ID); err != nil || got.State != StateFinished || len(w.members) != joined {
		t.Errorf("after a restart: %+v, %v, joined %d times", got, err, len(w.members)-joined)
	}
	later, err := m.Verify(context.Background(), v.ID)
	if err != nil || later.State == StateFinished || len(w.members) != joined+1 {
		t.Errorf("with a later wish: %+v, %v, joined %d times", later, err, len(w.members)-joined)
	}
	w.report(m, v, control.StateFinished, nil) // of before
	w.report(m, later, control.StateChecking, nil)
	got := w.get(m, v.ID, "it goes on", func(v View) bool { return v.State == StateChecking })
	if got.finished() || w.member().now().left {
		t.Errorf("a late report ended it: %+v", got)
	}
}
