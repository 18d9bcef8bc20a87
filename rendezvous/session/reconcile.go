package session

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"simplebit/wire/control"
)

// maxHeld bounds the torrents that a device may report, and so the memory that a
// hostile one takes: some 2 MB. Agents hold far fewer.
const maxHeld = 10_000

// infoHash names a torrent on the control connection.
type infoHash = [20]byte

// Desired is what one device should do about one torrent.
type Desired struct {
	control.Assign
	Remove     bool // the device should drop the torrent; of Assign only Generation counts
	DeleteData bool // with Remove: and its files
}

// book is what one session knows of its device: what it holds, and what this
// connection has already asked of it. Nothing here outlives the connection:
// a new one starts with the device's own inventory.
type book struct {
	synced bool // the inventory is complete
	pages  map[infoHash]*page
	held   int // pages of torrents that are held
}

// page is one torrent in the book.
type page struct {
	// What the device reported, if it holds the torrent.
	held       bool
	generation uint64
	state      control.State

	// What was sent. The stream keeps the order, so what is sent last counts.
	assigned   uint64 // generation of the Assign, 0: none that the device has not dropped since
	dropping   bool   // an Unassign was sent after it
	dropped    uint64 // with dropping: for this generation of the wish, 0 when nobody wishes
	unanswered int    // Unassigns whose Gone has not come
	layout     bool   // layout sent of late
}

func newBook() *book { return &book{pages: map[infoHash]*page{}} }

// page returns a torrent's page, a new one if need be.
func (b *book) page(id infoHash) *page {
	p := b.pages[id]
	if p == nil {
		p = &page{}
		b.pages[id] = p
	}
	return p
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
		want, p := desired[id], b.page(id)
		switch {
		case want.Remove && !p.held && p.assigned == 0 && p.unanswered == 0:
			a.gone = append(a.gone, id)
		case want.Remove:
			a.send = p.drop(a.send, id, want.Generation, want.DeleteData)
		case (!p.held || p.generation < want.Generation) && p.assigned < want.Generation:
			p.assigned, p.dropping, p.layout = want.Generation, false, false
			a.send = append(a.send, want.Assign)
		case p.held && p.state == control.StateLayout && !p.layout:
			p.layout = true
			a.layouts = append(a.layouts, id)
		}
	}
	for _, id := range sortedKeys(b.pages) {
		if _, wanted := desired[id]; wanted {
			continue
		}
		if p := b.pages[id]; p.held || p.assigned != 0 {
			a.send = p.drop(a.send, id, 0, false) // files stay: only a person's wish deletes
		} else if p.unanswered == 0 {
			delete(b.pages, id)
		}
	}
	return a
}

// drop asks once a wish that the torrent be dropped.
func (p *page) drop(send []control.Message, id infoHash, generation uint64, deleteData bool) []control.Message {
	if p.dropping && p.dropped >= generation {
		return send
	}
	p.dropping, p.dropped = true, generation
	p.unanswered++
	return append(send, control.Unassign{ID: id, DeleteData: deleteData})
}

// observe notes what the device reports of a torrent, and tells whether it has to
// be compared with the wishes again: most reports are of progress.
func (b *book) observe(r control.Progress) (changed bool, err error) {
	p := b.page(r.ID)
	if !p.held {
		if b.held++; b.held > maxHeld {
			return false, fmt.Errorf("the device reports more than %d torrents", maxHeld)
		}
	}
	changed = !p.held || p.generation != r.Generation || p.state != r.State
	p.held, p.generation, p.state = true, r.Generation, r.State
	if r.State == control.StateFailed && p.unanswered > 0 {
		p.unanswered-- // a torrent that cannot be dropped is failed, and no Gone comes
	}
	return changed, nil
}

// forget notes that the device does not hold the torrent. It answers the first
// Unassign that has no answer; what was sent after that still counts.
func (b *book) forget(id infoHash) {
	p := b.page(id)
	if p.held {
		b.held--
	}
	p.held = false
	if p.unanswered > 0 {
		p.unanswered--
		if p.unanswered > 0 || !p.dropping {
			return
		}
	}
	delete(b.pages, id)
}

// holds reports whether the device says that it holds the torrent.
func (b *book) holds(id infoHash) bool {
	p := b.pages[id]
	return p != nil && p.held
}

// again allows for another try at a layout, if the device still wants it.
func (b *book) again(id infoHash) {
	if p := b.pages[id]; p != nil {
		p.layout = false
	}
}

func sortedKeys[V any](m map[infoHash]V) []infoHash {
	return slices.SortedFunc(maps.Keys(m), func(a, b infoHash) int { return bytes.Compare(a[:], b[:]) })
}
