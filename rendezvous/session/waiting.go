package session

import (
	"slices"
	"sync"

	"simplebit/wire/control"
)

// maxWaiting bounds the addresses that wait for one device, over all torrents: some
// 1.5 MB.
const maxWaiting = 64 * control.MaxCandidates

// waiting holds the addresses that one session's loop has yet to send: the latest
// of each torrent, each once, since nobody gives them again soon. Any goroutine.
type waiting struct {
	ready signal // some wait

	mu    sync.Mutex
	lists map[infoHash][]control.Candidate // oldest first, MaxCandidates at most
	order []infoHash                       // of the lists, the next to be sent first
	count int                              // addresses in all
}

func newWaiting() *waiting {
	return &waiting{ready: make(signal, 1), lists: map[infoHash][]control.Candidate{}}
}

// add takes addresses. When there are too many, the oldest of a torrent make way
// for its latest, and half of the longest list for those of other torrents.
func (w *waiting) add(c control.Candidates) {
	if len(c.Peers) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	old, known := w.lists[c.ID]
	if !known {
		w.order = append(w.order, c.ID)
	}
	again := make(map[control.Candidate]bool, len(c.Peers))
	for _, p := range c.Peers {
		again[p] = true
	}
	list := slices.DeleteFunc(old, func(p control.Candidate) bool { return again[p] })
	list = append(list, c.Peers...)
	w.put(c.ID, slices.Clone(list[max(0, len(list)-control.MaxCandidates):]), len(old))
	for w.count > maxWaiting {
		id := c.ID
		for _, other := range w.order {
			if len(w.lists[other]) > len(w.lists[id]) {
				id = other
			}
		}
		longest := w.lists[id]
		w.put(id, slices.Clone(longest[(len(longest)+1)/2:]), len(longest))
	}
	w.ready.set()
}

// put replaces a list that had before addresses.
func (w *waiting) put(id infoHash, list []control.Candidate, before int) {
	w.lists[id] = list
	w.count += len(list) - before
	if len(list) == 0 {
		delete(w.lists, id)
		w.order = slices.DeleteFunc(w.order, func(other infoHash) bool { return other == id })
	}
}

// take returns what is to be sent next, if anything is.
func (w *waiting) take() (c control.Candidates, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.order) == 0 {
		return c, false
	}
	id := w.order[0]
	c = control.Candidates{ID: id, Peers: w.lists[id]}
	w.put(id, nil, len(c.Peers))
	if len(w.order) > 0 {
		w.ready.set()
	}
	return c, true
}
