package session

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"simplebit/wire/control"
)

var (
	red  = infoHash{1}
	blue = infoHash{2}
)

func want(id infoHash, generation uint64) Desired {
	return Desired{Assign: control.Assign{ID: id, Generation: generation}}
}

func held(id infoHash, generation uint64, state control.State) control.Progress {
	return control.Progress{ID: id, Generation: generation, State: state}
}

// booked is a book whose device has reported these.
func booked(reports ...control.Progress) *book {
	b := newBook()
	for _, p := range reports {
		b.observe(p)
	}
	b.synced = true
	return b
}

func TestReconcileSendsTheDifference(t *testing.T) {
	for name, c := range map[string]struct {
		desired map[infoHash]Desired
		book    *book
		want    actions
	}{
		"nothing is sent before the inventory is complete": {
			desired: map[infoHash]Desired{red: want(red, 1)},
			book:    newBook(),
		},
		"what is missing is assigned": {
			desired: map[infoHash]Desired{red: want(red, 1)},
			book:    booked(),
			want:    actions{send: []control.Message{control.Assign{ID: red, Generation: 1}}},
		},
		"an older generation is assigned again": {
			desired: map[infoHash]Desired{red: want(red, 5)},
			book:    booked(held(red, 4, control.StateSeeding)),
			want:    actions{send: []control.Message{control.Assign{ID: red, Generation: 5}}},
		},
		"what is held as wished is left alone": {
			desired: map[infoHash]Desired{red: want(red, 5)},
			book:    booked(held(red, 5, control.StateSeeding)),
		},
		"a held torrent without a layout gets it": {
			desired: map[infoHash]Desired{red: want(red, 5)},
			book:    booked(held(red, 5, control.StateLayout)),
			want:    actions{layouts: []infoHash{red}},
		},
		"what nobody wants is dropped and its files stay": {
			book: booked(held(red, 5, control.StateSeeding)),
			want: actions{send: []control.Message{control.Unassign{ID: red}}},
		},
		"what is to be removed is dropped with its files": {
			desired: map[infoHash]Desired{red: {Remove: true, DeleteData: true}},
			book:    booked(held(red, 5, control.StateSeeding)),
			want:    actions{send: []control.Message{control.Unassign{ID: red, DeleteData: true}}},
		},
		"what is to be removed and not held is gone": {
			desired: map[infoHash]Desired{red: {Remove: true}},
			book:    booked(held(blue, 1, control.StatePaused)),
			want:    actions{gone: []infoHash{red}, send: []control.Message{control.Unassign{ID: blue}}},
		},
	} {
		if got := c.book.reconcile(c.desired); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
}

func TestReconcileAsksOnceAConnection(t *testing.T) {
	desired := map[infoHash]Desired{red: want(red, 2), blue: {Remove: true}}
	b := booked(held(blue, 1, control.StateSeeding))
	if first := b.reconcile(desired); len(first.send) != 2 {
		t.Fatalf("first: %+v, want an Assign and an Unassign", first)
	}
	if again := b.reconcile(desired); !reflect.DeepEqual(again, actions{}) {
		t.Errorf("again: %+v, want nothing", again)
	}
	b.observe(held(red, 2, control.StateLayout))
	if got := b.reconcile(desired); len(got.layouts) != 1 {
		t.Errorf("device asks for the layout: %+v", got)
	}
	if got := b.reconcile(desired); len(got.layouts) != 0 {
		t.Errorf("layout streamed twice: %+v", got)
	}
	b.forget(blue)
	if got := b.reconcile(desired); len(got.gone) != 1 {
		t.Errorf("a removed torrent that the device let go is not gone: %+v", got)
	}
}

func TestAWishThatOvertakesARemovalIsAssigned(t *testing.T) {
	b := booked(held(red, 1, control.StateSeeding))
	b.reconcile(map[infoHash]Desired{red: {Remove: true}})
	renewed := map[infoHash]Desired{red: want(red, 2)}
	if got := b.reconcile(renewed); len(got.send) != 1 {
		t.Fatalf("new wish: %+v, want an Assign", got)
	}
	b.forget(red) // the answer to the Unassign; the Assign is under way
	if got := b.reconcile(renewed); len(got.send) != 0 {
		t.Errorf("after the device let go: %+v, want nothing", got)
	}
}

func TestAnOldAnswerDoesNotEndANewRemoval(t *testing.T) {
	remove := func(generation uint64, data bool) map[infoHash]Desired {
		return map[infoHash]Desired{red: {Assign: control.Assign{Generation: generation}, Remove: true, DeleteData: data}}
	}
	b := booked(held(red, 1, control.StateSeeding))
	b.reconcile(remove(2, false))
	b.reconcile(map[infoHash]Desired{red: want(red, 3)})
	if got := b.reconcile(remove(4, true)); len(got.send) != 1 || got.send[0] != (control.Unassign{ID: red, DeleteData: true}) {
		t.Fatalf("the new removal sends %+v", got)
	}
	b.forget(red) // the answer to the first; then the device takes the Assign
	if got := b.reconcile(remove(4, true)); len(got.gone) != 0 {
		t.Error("the removal ended before the files were deleted")
	}
	b.observe(held(red, 3, control.StateLayout))
	b.forget(red)
	if got := b.reconcile(remove(4, true)); len(got.gone) != 1 {
		t.Errorf("after the second answer: %+v, want it gone", got)
	}
}

func TestARemovalThatFailedIsAskedForAgainByANewWishOnly(t *testing.T) {
	remove := func(generation uint64) map[infoHash]Desired {
		return map[infoHash]Desired{red: {Assign: control.Assign{Generation: generation}, Remove: true}}
	}
	b := booked(held(red, 1, control.StateSeeding))
	b.reconcile(remove(2))
	b.observe(held(red, 1, control.StateFailed))
	if got := b.reconcile(remove(2)); len(got.send) != 0 {
		t.Errorf("the same wish sends %+v", got)
	}
	if got := b.reconcile(remove(3)); len(got.send) != 1 {
		t.Errorf("a new wish sends %+v", got)
	}
	b.forget(red)
	if got := b.reconcile(remove(3)); len(got.gone) != 1 {
		t.Errorf("after the device let go: %+v", got)
	}
}

func TestALayoutThatIsStillWantedIsSentAgainAfterAWhileOnly(t *testing.T) {
	desired := map[infoHash]Desired{red: want(red, 1)}
	b := booked(held(red, 1, control.StateLayout))
	b.reconcile(desired)
	b.observe(held(red, 1, control.StateChecking))
	b.observe(held(red, 1, control.StateLayout))
	if got := b.reconcile(desired); len(got.layouts) != 0 {
		t.Errorf("at once: %+v", got)
	}
	b.again(red)
	if got := b.reconcile(desired); len(got.layouts) != 1 {
		t.Errorf("after a while: %+v", got)
	}
}

func TestADeviceCannotReportTorrentsWithoutBound(t *testing.T) {
	b := booked()
	var err error
	n := 0
	for ; err == nil && n < 10*maxHeld; n++ {
		_, err = b.observe(held(infoHash{byte(n), byte(n >> 8), byte(n >> 16)}, 1, control.StatePaused))
	}
	if err == nil || n != maxHeld+1 {
		t.Errorf("after %d reports: %v", n, err)
	}
	b = booked()
	for n := range maxHeld {
		b.forget(infoHash{byte(n), byte(n >> 8), byte(n >> 16)})
	}
	if len(b.pages) != 0 {
		t.Errorf("%d torrents that were never held are remembered", len(b.pages))
	}
}

func TestOnlyReportsThatMatterToWishesAreCompared(t *testing.T) {
	b := booked()
	for i, c := range []struct {
		report control.Progress
		want   bool
	}{
		{held(red, 1, control.StateDownloading), true},
		{control.Progress{ID: red, Generation: 1, State: control.StateDownloading, Have: 5}, false},
		{held(red, 1, control.StateSeeding), true},
		{held(red, 2, control.StateSeeding), true},
	} {
		if got, _ := b.observe(c.report); got != c.want {
			t.Errorf("report %d: %v, want %v", i, got, c.want)
		}
	}
}

func TestADeviceMayBurstAndThenHasToWait(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		m     control.Message
		burst int
		pace  time.Duration
	}{
		{control.Progress{}, 2000, 2 * time.Millisecond},
		{control.Network{}, 20, 200 * time.Millisecond},
	} {
		var a allowance
		for i := range c.burst {
			if wait := a.take(now, costOf(c.m)); wait != 0 {
				t.Fatalf("%T %d waits %v", c.m, i, wait)
			}
		}
		if wait := a.take(now, costOf(c.m)); wait != c.pace {
			t.Errorf("the first %T too many waits %v, want %v", c.m, wait, c.pace)
		}
		if wait := a.take(now.Add(time.Hour), costOf(c.m)); wait != 0 {
			t.Errorf("an hour later a %T waits %v", c.m, wait)
		}
	}
}

func TestADeviceMayCallOnlySoManyAddressesUnusable(t *testing.T) {
	var a allowance
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	taken := 0
	for range 10 {
		taken += a.unusable(now, control.MaxCandidates)
	}
	if taken != unusableBurst {
		t.Errorf("%d of %d at once were taken, want %d", taken, 10*control.MaxCandidates, unusableBurst)
	}
	if got := a.unusable(now.Add(time.Second), control.MaxCandidates); got != int(time.Second/unusableInterval) {
		t.Errorf("a second later %d were taken", got)
	}
	if got := a.unusable(now.Add(time.Hour), 7); got != 7 {
		t.Errorf("an hour later %d of 7 were taken", got)
	}
}

func TestStrangersOfOnePlaceCannotFillTheDoor(t *testing.T) {
	a := admissions{from: map[netip.Prefix]int{}, revoked: map[control.DeviceID]bool{}}
	addr := netip.MustParseAddr
	for range maxFromOne {
		if !a.start(addr("192.0.2.1")) || !a.start(addr("2001:db8:1:2::1")) {
			t.Fatal("refused too early")
		}
	}
	for _, same := range []string{"192.0.2.1", "::ffff:192.0.2.1", "2001:db8:1:2:ffff::9"} {
		if a.start(addr(same)) {
			t.Errorf("%s is let in", same)
		}
	}
	for _, other := range []string{"192.0.2.2", "2001:db8:1:3::1"} {
		if !a.start(addr(other)) {
			t.Errorf("%s is kept out", other)
		}
	}
	a.end(addr("192.0.2.1"))
	if !a.start(addr("192.0.2.1")) {
		t.Error("no room after one has left")
	}
	for n := a.total; n < maxUnadmitted; n++ {
		a.start(netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}))
	}
	if a.start(addr("198.51.100.1")) {
		t.Error("more than there is room for are let in")
	}
}

func TestOnlyRevocationsDuringAdmissionsAreRemembered(t *testing.T) {
	a := admissions{from: map[netip.Prefix]int{}, revoked: map[control.DeviceID]bool{}}
	a.revoke("early")
	a.start(netip.MustParseAddr("192.0.2.1"))
	a.revoke("attic")
	if !a.revoked["attic"] || a.revoked["early"] {
		t.Errorf("remembered: %v", a.revoked)
	}
	a.end(netip.MustParseAddr("192.0.2.1"))
	if len(a.revoked) != 0 || len(a.from) != 0 {
		t.Errorf("kept: %v, %v", a.revoked, a.from)
	}
}
