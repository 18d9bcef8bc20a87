package session

import (
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
		"what is new comes after what makes place for it": {
			desired: map[infoHash]Desired{red: want(red, 7), blue: {Assign: control.Assign{ID: blue, Generation: 6}, Remove: true}},
			book:    booked(held(blue, 5, control.StateSeeding)),
			want:    actions{send: []control.Message{control.Unassign{ID: blue}, control.Assign{ID: red, Generation: 7}}},
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
	b := newBook()
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

func TestADeviceMayBeginWithManyTorrentsOfNobodyAndTellOfFewMore(t *testing.T) {
	id := func(n int) infoHash { return infoHash{byte(n), byte(n >> 8), 9} }
	b := newBook()
	for n := range 3 * maxStrays { // of jobs that are no more
		if _, err := b.observe(held(id(n), 1, control.StateSeeding)); err != nil {
			t.Fatal(err)
		}
	}
	b.synced = true
	if got := b.reconcile(nil); len(got.send) != 3*maxStrays {
		t.Fatalf("%d are told to be dropped, want all", len(got.send))
	}
	for n := range maxStrays {
		b.forget(id(n))
		b.observe(held(id(n), 1, control.StateSeeding))
	}
	b.reconcile(map[infoHash]Desired{red: want(red, 1), blue: want(blue, 1)})
	for _, report := range []control.Progress{held(red, 1, control.StateLayout), held(id(0), 1, control.StatePaused)} {
		if _, err := b.observe(report); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.observe(held(id(3*maxStrays), 1, control.StateSeeding)); err == nil {
		t.Error("it may make up more without end")
	}
	b.forget(id(3 * maxStrays))
	b.forget(id(0))
	if _, err := b.observe(held(id(0), 1, control.StateSeeding)); err != nil {
		t.Errorf("one that was dropped still counts: %v", err)
	}
	all := map[infoHash]Desired{}
	for n := range maxStrays {
		all[id(n)] = want(id(n), 1)
	}
	b.reconcile(all)
	if b.strays != 0 {
		t.Errorf("%d that are wanted now count as made up", b.strays)
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

func TestReportsOfTorrentsOfNobodyCostMore(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	b, a := booked(held(red, 1, control.StateSeeding)), &allowances{}
	b.reconcile(map[infoHash]Desired{red: want(red, 1), blue: want(blue, 1)})
	for id, want := range map[infoHash]bool{red: false, blue: false, {9}: true} {
		if got := b.stray(id); got != want {
			t.Errorf("%x is of nobody: %v, want %v", id[:1], got, want)
		}
	}
	n := 0
	for ; a.frame(now, control.Progress{}) == 0; n++ {
		a.stray(now)
	}
	if n != frameBurst/10 {
		t.Errorf("%d at once, want %d", n, frameBurst/10)
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
