package session

import (
	"reflect"
	"testing"

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
	b.forget(red) // the answer to the Unassign
	if got := b.reconcile(renewed); len(got.send) != 1 {
		t.Errorf("after the device let go: %+v, want the Assign again", got)
	}
}
