package session

import (
	"bytes"
	"maps"
	"slices"

	"simplebit/wire/control"
)

// infoHash names a torrent on the control connection.
type infoHash = [20]byte

// Desired is what one device should do about one torrent.
type Desired struct {
	control.Assign
	Remove     bool // the device should drop the torrent; Assign is not sent
	DeleteData bool // with Remove: and its files
}

// book is what one session knows of its device: what it holds, and what this
// connection has already asked of it. Nothing here outlives the connection:
// a new one starts with the device's own inventory.
type book struct {
	synced   bool // the inventory is complete
	observed map[infoHash]control.Progress
	assigned map[infoHash]uint64 // generation sent
	dropping map[infoHash]bool   // Unassign sent
	layouts  map[infoHash]bool   // layout under way or delivered
}

func newBook() *book {
	return &book{
		observed: map[infoHash]control.Progress{},
		assigned: map[infoHash]uint64{},
		dropping: map[infoHash]bool{},
		layouts:  map[infoHash]bool{},
	}
}

// actions is what brings a device one step nearer to what is desired.
type actions struct {
	send    []control.Message
	layouts []infoHash // to be streamed
	gone    []infoHash // to be dropped and not held: done
}

// reconcile compares what the device should hold with what it holds. It may be
// called at any time: what this connection has asked for is not asked again,
// and a device that comes back is compared afresh.
func (b *book) reconcile(desired map[infoHash]Desired) actions {
	var a actions
	if !b.synced {
		return a
	}
	for _, id := range sortedKeys(desired) {
		want := desired[id]
		held, isHeld := b.observed[id]
		switch {
		case want.Remove && !isHeld && b.assigned[id] == 0:
			a.gone = append(a.gone, id)
		case want.Remove:
			a.send = b.drop(a.send, id, want.DeleteData)
		case (!isHeld || held.Generation < want.Generation) && b.assigned[id] < want.Generation:
			b.assigned[id] = want.Generation
			delete(b.dropping, id)
			delete(b.layouts, id)
			a.send = append(a.send, want.Assign)
		case isHeld && held.State == control.StateLayout && !b.layouts[id]:
			b.layouts[id] = true
			a.layouts = append(a.layouts, id)
		}
	}
	for _, id := range sortedKeys(b.observed) {
		if _, wanted := desired[id]; !wanted {
			a.send = b.drop(a.send, id, false) // files stay: only a person's wish deletes
		}
	}
	return a
}

// drop asks once a connection that a torrent be dropped.
func (b *book) drop(send []control.Message, id infoHash, deleteData bool) []control.Message {
	if b.dropping[id] {
		return send
	}
	b.dropping[id] = true
	return append(send, control.Unassign{ID: id, DeleteData: deleteData})
}

// observe notes what the device reports of a torrent.
func (b *book) observe(p control.Progress) {
	b.observed[p.ID] = p
	if p.State != control.StateLayout {
		delete(b.layouts, p.ID)
	}
}

// forget notes that the device does not hold the torrent.
func (b *book) forget(id infoHash) {
	delete(b.observed, id)
	delete(b.assigned, id)
	delete(b.dropping, id)
	delete(b.layouts, id)
}

func sortedKeys[V any](m map[infoHash]V) []infoHash {
	return slices.SortedFunc(maps.Keys(m), func(a, b infoHash) int { return bytes.Compare(a[:], b[:]) })
}
