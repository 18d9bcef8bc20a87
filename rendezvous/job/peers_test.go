package job

import (
	"context"
	"net/netip"
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
