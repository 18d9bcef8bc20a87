package session

import (
	"bytes"
	"fmt"
	"slices"

	"simplebit/wire/control"
)

// maxHeld bounds the torrents that a device may report, and so the memory that a
// hostile one takes: some 2 MB. Agents hold far fewer.
const maxHeld = 10_000

// maxStrays bounds those of them that it says it holds after its inventory without having been asked to. What is in the
// inventory may be of jobs that are no more, and is told to be dropped.
const maxStrays = 1000

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
	strays int // of them, see maxStrays
}

// page is one torrent in the book.
type page struct {
	// What the device reported, if it holds the torrent.
	held       bool
	stray      bool
	generation uint64
	state      control.State

	wanted bool // somebody had a wish about it, when that was last compared

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
	var wanted, unwanted []infoHash // about which something is to be done
	for id, want := range desired {
		p := b.page(id)
		p.wanted = true
		b.setStray(p, false)
		if p.next(want) != rest {
			wanted = append(wanted, id)
		}
	}
	for id, p := range b.pages {
		if _, wish := desired[id]; wish {
			continue
		}
		p.wanted = false
		if p.held || p.assigned != 0 {
			if !p.dropping {
				unwanted = append(unwanted, id)
			}
		} else if p.unanswered == 0 {
			delete(b.pages, id)
		}
	}
	var assigns []control.Message // after what is dropped: it may be in the way, by its name or for want of space
	for _, id := range sorted(wanted) {
		want, p := desired[id], b.pages[id]
		switch p.next(want) {
		case done:
			a.gone = append(a.gone, id)
		case drop:
			a.send = p.drop(a.send, id, want.Generation, want.DeleteData)
		case assign:
			p.assigned, p.dropping, p.layout = want.Generation, false, false
			assigns = append(assigns, want.Assign)
		case layout:
			p.layout = true
			a.layouts = append(a.layouts, id)
		}
	}
	for _, id := range sorted(unwanted) {
		a.send = b.pages[id].drop(a.send, id, 0, false) // files stay: only a person's wish deletes
	}
	a.send = append(a.send, assigns...)
	return a
}

// step is what is to be done about one torrent.
type step uint8

const (
	rest   step = iota // nothing
	done               // a removal has ended
	drop               // an Unassign is sent
	assign             // an Assign is sent
	layout             // the layout is streamed
)

// next is what a wish takes.
func (p *page) next(want Desired) step {
	switch {
	case want.Remove && !p.held && p.assigned == 0 && p.unanswered == 0:
		return done
	case want.Remove && (!p.dropping || p.dropped < want.Generation):
		return drop
	case want.Remove:
		return rest
	case (!p.held || p.generation < want.Generation) && p.assigned < want.Generation:
		return assign
	case p.held && p.state == control.StateLayout && !p.layout:
		return layout
	}
	return rest
}

// drop asks that the torrent be dropped.
func (p *page) drop(send []control.Message, id infoHash, generation uint64, deleteData bool) []control.Message {
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
		if b.setStray(p, b.stray(r.ID)); b.strays > maxStrays {
			return false, fmt.Errorf("the device reports more than %d torrents that it was not asked to hold", maxStrays)
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
	b.setStray(p, false)
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

// stray reports whether the device was not asked to hold the torrent; before its inventory is complete that is not known.
func (b *book) stray(id infoHash) bool {
	p := b.pages[id]
	return b.synced && (p == nil || !p.wanted && p.assigned == 0)
}

func (b *book) setStray(p *page, stray bool) {
	if p.stray == stray {
		return
	}
	if p.stray = stray; stray {
		b.strays++
	} else {
		b.strays--
	}
}

// again allows for another try at a layout, if the device still wants it.
func (b *book) again(id infoHash) {
	if p := b.pages[id]; p != nil {
		p.layout = false
	}
}

func sorted(ids []infoHash) []infoHash {
	slices.SortFunc(ids, func(a, b infoHash) int { return bytes.Compare(a[:], b[:]) })
	return ids
}
