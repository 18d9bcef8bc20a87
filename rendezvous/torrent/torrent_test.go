package torrent

import (
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"simplebit/rendezvous/front"
	"simplebit/rendezvous/job"
	"simplebit/rendezvous/tracker"
	"simplebit/wire/control"
	"simplebit/wire/dial"
)

var (
	hash   = [20]byte{1, 2, 3}
	alice  = netip.MustParseAddrPort("203.0.113.1:6881")
	bob    = netip.MustParseAddrPort("203.0.113.2:6881")
	attic  = netip.MustParseAddrPort("198.51.100.1:6882")
	cellar = netip.MustParseAddrPort("198.51.100.2:6882")
)

func participation(trackers ...string) job.Participation {
	return job.Participation{InfoHash: hash, Tiers: [][]string{trackers}, InfoSize: 4}
}

func TestJobsOfAPublicTorrentShareOneSessionEach(t *testing.T) {
	inWorld(t, func(w *world) {
		a := w.join(participation("http://one/announce"))
		b := w.join(participation("http://two/announce"))
		if len(w.presences) != 1 || len(w.sessions) != 1 || len(w.searches) != 1 {
			t.Fatalf("%d presences, %d tracker sessions, %d DHT sessions; want 1 of each", len(w.presences), len(w.sessions), len(w.searches))
		}
		if got := len(w.sessions[0].tiers); got != 2 {
			t.Errorf("the session has %d tiers, want those of both jobs", got)
		}
		a.Leave()
		b.Leave()
		synctest.Wait()
		if w.sessions[0].ctx.Err() == nil || !w.searches[0].stopped || !w.presences[0].left() {
			t.Error("something goes on after the last job has left")
		}
	})
}

// Design, security rules: "For public torrents with several devices behind one session: uploaded and downloaded are summed,
// left is the largest."
func TestFiguresOfDevicesAreAddedUp(t *testing.T) {
	inWorld(t, func(w *world) {
		a, b := w.join(participation("http://one/announce")), w.join(participation("http://one/announce"))
		a.stats, b.stats = job.Stats{Uploaded: 10, Downloaded: 100, Left: 5}, job.Stats{Uploaded: 1, Downloaded: 50, Left: 80}
		stats := w.sessions[0].Stats
		if got, want := stats(), (tracker.Stats{Uploaded: 11, Downloaded: 150, Left: 80}); got != want {
			t.Errorf("the tracker is told %+v, want %+v", got, want)
		}
		b.Leave()
		synctest.Wait()
		if got, want := stats(), (tracker.Stats{Uploaded: 11, Downloaded: 150, Left: 5}); got != want {
			t.Errorf("after one left the tracker is told %+v, want %+v: sums never shrink", got, want)
		}
		a.Leave()
		synctest.Wait()
		if got, want := stats(), (tracker.Stats{Uploaded: 11, Downloaded: 150, Left: 5}); got != want {
			t.Errorf("at the end the tracker is told %+v, want %+v", got, want)
		}
	})
}

func TestASharedSessionIsCompleteWhenEveryDeviceIs(t *testing.T) {
	inWorld(t, func(w *world) {
		a, b := w.join(participation("http://one/announce")), w.join(participation("http://one/announce"))
		b.stats.Left = 80
		a.Completed()
		synctest.Wait()
		if w.sessions[0].completed != 0 {
			t.Error("completed is announced while a device still downloads")
		}
		b.stats.Left = 0
		b.Completed()
		synctest.Wait()
		if w.sessions[0].completed != 1 {
			t.Error("completed is not announced when the last device has everything")
		}
		c := w.join(participation("http://one/announce"))
		c.Completed()
		synctest.Wait()
		if w.sessions[0].completed != 1 {
			t.Error("completed is announced twice in one session")
		}
		a.Leave()
		b.Leave()
		c.Leave()
	})
}

func TestASharedSessionIsCompleteWhenTheLastThatDownloadsLeaves(t *testing.T) {
	inWorld(t, func(w *world) {
		a, b := w.join(participation("http://one/announce")), w.join(participation("http://one/announce"))
		b.stats.Left = 80
		a.Completed()
		b.Leave()
		synctest.Wait()
		if w.sessions[0].completed != 1 {
			t.Errorf("completed is announced %d times, want once", w.sessions[0].completed)
		}
		a.Leave()
	})
}

// BEP 27: private torrents have no DHT and no PEX; the design gives each job a tracker session of its own.
func TestPrivateTorrentsStayWithTheirTrackers(t *testing.T) {
	inWorld(t, func(w *world) {
		p := participation("http://one/announce?key=a")
		p.Private = true
		a, b := w.join(p), w.join(p)
		if len(w.searches) != 0 {
			t.Error("the DHT is asked for a private torrent")
		}
		if !w.presences[0].private {
			t.Error("front is not told that the torrent is private")
		}
		if len(w.sessions) != 2 || !w.sessions[0].Private {
			t.Fatalf("%d tracker sessions for two jobs, want 2", len(w.sessions))
		}
		a.Leave()
		synctest.Wait()
		if w.sessions[0].ctx.Err() == nil || w.sessions[1].ctx.Err() != nil {
			t.Error("the wrong session ended with its job")
		}
		b.Leave()
	})
}

func TestAMagnetThatTurnsOutPrivateLeavesTheDHT(t *testing.T) {
	inWorld(t, func(w *world) {
		p := participation("http://one/announce?key=a")
		p.InfoSize = 0
		a := w.join(p)
		w.presences[0].Learned([]byte("info"))
		synctest.Wait()
		if string(a.learned) != "info" {
			t.Fatal("the job does not learn the info dictionary")
		}
		a.Known(4, true)
		synctest.Wait()
		if !w.searches[0].stopped || !w.presences[0].private {
			t.Error("the torrent goes on in public")
		}
		if w.sessions[0].ctx.Err() == nil || len(w.sessions) != 2 || w.sessions[1].ctx.Err() != nil {
			t.Error("the job has not got a tracker session of its own")
		}
		w.searches[0].Peers([]netip.AddrPort{alice}) // late
		synctest.Wait()
		if len(w.presences[0].added) != 0 {
			t.Error("an address from the DHT is used for a private torrent")
		}
		a.Leave()
	})
}

func TestAJobWithATorrentFileGivesItToThoseWithAMagnet(t *testing.T) {
	inWorld(t, func(w *world) {
		p := participation("http://one/announce")
		p.InfoSize = 0
		magnet := w.join(p)
		file := w.join(participation("http://one/announce"))
		synctest.Wait()
		if string(magnet.learned) != "info" || file.learned != nil || w.presences[0].size != 4 {
			t.Errorf("magnet learned %q, file %q, front knows %d bytes", magnet.learned, file.learned, w.presences[0].size)
		}
		magnet.Leave()
		file.Leave()
	})
}

func TestAddressesOfEverySourceReachFront(t *testing.T) {
	inWorld(t, func(w *world) {
		p := participation("http://one/announce")
		p.Peers = []string{alice.String()}
		a := w.join(p)
		w.sessions[0].Peers([]netip.AddrPort{bob})
		w.searches[0].Peers([]netip.AddrPort{cellar})
		a.Endpoint(attic)
		synctest.Wait()
		if _, ok := w.presences[0].added[attic]; ok {
			t.Error("front looks for the torrent on a device that does not have it yet")
		}
		a.Offer()
		synctest.Wait()
		for at, from := range map[netip.AddrPort]front.Source{
			alice: front.SourceMagnet, bob: front.SourceTracker, cellar: front.SourceDHT, attic: front.SourceDevice,
		} {
			if got, ok := w.presences[0].added[at]; !ok || got != from {
				t.Errorf("%v came to front as %v (%v), want %v", at, got, ok, from)
			}
		}
		a.Leave()
	})
}

func TestReachablePeersGoToDevicesThatTakeThem(t *testing.T) {
	inWorld(t, func(w *world) {
		a, b := w.join(participation("http://one/announce")), w.join(participation("http://one/announce"))
		a.Endpoint(attic)
		w.presences[0].reach = []front.Peer{{Addr: alice, Way: dial.Way{Transport: dial.UTP, Encrypted: true}}, {Addr: attic}}
		a.Offer()
		want := []control.Candidate{{Addr: alice, Kind: control.CandidateReachable, Transport: control.TransportUTP, Encrypted: true}}
		if got := a.got(); !slices.Equal(got, want) {
			t.Errorf("the device is offered %v, want %v: how front reached it, and not itself", got, want)
		}
		w.presences[0].Torrent.Reachable([]front.Peer{{Addr: bob}})
		if got := a.got(); len(got) != 1 || got[0].Addr != bob {
			t.Errorf("the device is sent %v, want the address just verified", got)
		}
		if got := b.got(); len(got) != 0 {
			t.Errorf("a device that takes none is sent %v", got)
		}
		a.Leave()
		b.Leave()
	})
}

func TestUnverifiedAddressesGoToHungryDevicesOnly(t *testing.T) {
	inWorld(t, func(w *world) {
		a, b := w.join(participation("http://one/announce")), w.join(participation("http://one/announce"))
		a.Offer()
		b.Offer()
		a.Hungry(true)
		synctest.Wait()
		if !w.presences[0].hungry || w.sessions[0].pokes != 1 || w.searches[0].pokes != 1 {
			t.Error("hunger is not passed on")
		}
		w.presences[0].Unverified(alice)
		if got := a.got(); len(got) != 1 || got[0].Kind != control.CandidateUnverified {
			t.Errorf("the hungry device is sent %v", got)
		}
		if got := b.got(); len(got) != 0 {
			t.Errorf("the other device is sent %v", got)
		}
		a.Leave()
		synctest.Wait()
		if w.presences[0].hungry {
			t.Error("front is still told to hurry after the hungry device has left")
		}
		b.Leave()
	})
}

func TestBadAddressesRestForTheDeviceThatFoundThemSo(t *testing.T) {
	inWorld(t, func(w *world) {
		a, b := w.join(participation("http://one/announce")), w.join(participation("http://one/announce"))
		a.Offer()
		b.Offer()
		a.Unusable([]control.UnusablePeer{{Addr: alice, Reason: control.UnusableUnreachable}, {Addr: bob, Reason: control.UnusableLied}})
		synctest.Wait()
		if len(w.presences[0].unusable) != 0 {
			t.Errorf("one device's word takes %v from all", w.presences[0].unusable)
		}
		w.presences[0].Torrent.Reachable([]front.Peer{{Addr: alice}})
		if got := a.got(); len(got) != 0 {
			t.Errorf("the device is sent %v again at once", got)
		}
		if got := b.got(); len(got) != 1 {
			t.Errorf("the other device is sent %v", got)
		}
		time.Sleep(badFor + time.Second)
		w.presences[0].Torrent.Reachable([]front.Peer{{Addr: alice}})
		if got := a.got(); len(got) != 1 {
			t.Errorf("after half an hour the device is sent %v, want another try", got)
		}
		a.Unusable([]control.UnusablePeer{{Addr: alice, Reason: control.UnusableUnreachable}, {Addr: bob, Reason: control.UnusableLied}})
		w.presences[0].reach = []front.Peer{{Addr: alice}, {Addr: bob}}
		a.Offer()
		if got := a.got(); len(got) != 1 || got[0].Addr != alice {
			t.Errorf("a device that begins anew is offered %v, want all but the liar", got)
		}
		a.Leave()
		b.Leave()
	})
}

func TestTwoDevicesProveALiarAndNoneADevice(t *testing.T) {
	inWorld(t, func(w *world) {
		a, b := w.join(participation("http://one/announce")), w.join(participation("http://one/announce"))
		b.Endpoint(cellar)
		lies := []control.UnusablePeer{{Addr: bob, Reason: control.UnusableLied}, {Addr: cellar, Reason: control.UnusableLied}}
		a.Unusable(lies)
		a.Unusable(lies)
		synctest.Wait()
		if len(w.presences[0].unusable) != 0 {
			t.Errorf("saying it twice takes %v from all", w.presences[0].unusable)
		}
		b.Unusable(lies)
		synctest.Wait()
		if got := w.presences[0].unusable; len(got) != 1 || !got[bob] {
			t.Errorf("two devices' word takes %v from all, want the liar alone", got)
		}
		a.Leave()
		b.Leave()
	})
}

func TestAnAddressThatADeviceHasLeftIsTakenBack(t *testing.T) {
	inWorld(t, func(w *world) {
		a := w.join(participation("http://one/announce"))
		a.Offer()
		for _, at := range []netip.AddrPort{attic, cellar, {}} {
			a.Endpoint(at)
			synctest.Wait()
			if _, ok := w.presences[0].added[at]; ok != at.IsValid() || len(w.presences[0].added) > 1 {
				t.Errorf("while the device is at %v front looks for it at %v", at, w.presences[0].added)
			}
		}
		a.Leave()
	})
}

func TestJoiningAgainWaitsForTheLastPresenceToEnd(t *testing.T) {
	inWorld(t, func(w *world) {
		for range 3 {
			a := w.join(participation("http://one/announce"))
			a.Leave()
			a.Leave() // a second time does nothing
			b := w.join(participation("http://one/announce"))
			b.Leave()
		}
		synctest.Wait()
		if len(w.presences) != 6 || len(w.byID) != 0 {
			t.Errorf("%d presences made, %d torrents left; want 6 and none", len(w.presences), len(w.byID))
		}
	})
}

func TestStatusShowsEverySource(t *testing.T) {
	inWorld(t, func(w *world) {
		a, b := w.join(participation("http://one/announce")), w.join(participation("http://two/announce?key=secret"))
		s := a.Status()
		if len(s.Trackers) != 1 || s.Trackers[0].URL != "http://one/announce" || !s.DHT.Enabled || s.DHT.Nodes != 12 || s.Known != 7 || s.Reachable != 3 {
			t.Errorf("status %+v", s)
		}
		a.Leave()
		b.Leave()
	})
}
