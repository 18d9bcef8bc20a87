package session

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"simplebit/wire/control"
)

// The model: a device, a surrogate and a connection between them that is cut,
// and ends that are killed, at any message. The device's torrents and the
// surrogate's wishes are durable; the book, what is under way, and what has not
// been reported are not.
type model struct {
	random *rand.Rand
	trace  []string
	clock  uint64

	// The device.
	held   map[infoHash]*kept
	data   map[infoHash]bool // files on the device's disk
	news   map[infoHash]bool // changed and not reported on this connection
	past   []control.Assign  // delivered: may come again
	doomed map[infoHash]bool // removed with its files while the device held it

	// The surrogate.
	wishes map[infoHash]Desired
	backup map[infoHash]Desired
	book   *book

	// The connection: two directions of the session stream, and layout streams.
	down    []control.Message
	up      []control.Message
	layouts []infoHash
	again   []infoHash // layouts sent of late
	differs bool       // something changed since the book was compared
}

// kept is a torrent on the device.
type kept struct {
	control.Assign
	layout, failed bool
}

func (k *kept) report() control.Progress {
	p := control.Progress{ID: k.ID, Generation: k.Generation, State: control.StateLayout}
	switch {
	case k.failed:
		p.State = control.StateFailed
	case k.layout && k.Paused:
		p.State = control.StatePaused
	case k.layout:
		p.State = control.StateDownloading
	}
	return p
}

func newModel(seed uint64) *model {
	m := &model{
		random: rand.New(rand.NewPCG(seed, 7)),
		held:   map[infoHash]*kept{}, data: map[infoHash]bool{}, doomed: map[infoHash]bool{},
		wishes: map[infoHash]Desired{}, backup: map[infoHash]Desired{},
	}
	m.connect()
	return m
}

func (m *model) log(format string, args ...any) {
	m.trace = append(m.trace, fmt.Sprintf(format, args...))
}

// connect begins a connection: the device tells what it holds.
func (m *model) connect() {
	m.book = newBook()
	m.down, m.up, m.layouts, m.again, m.differs = nil, nil, nil, nil, false
	m.news = map[infoHash]bool{}
	for _, id := range sorted(slices.Collect(maps.Keys(m.held))) {
		m.up = append(m.up, m.held[id].report())
	}
	m.up = append(m.up, control.Synced{})
}

// act is the session, which compares now or a little later.
func (m *model) act() {
	if m.differs = m.random.IntN(2) == 0; !m.differs {
		m.compare()
	}
}

// compare is session.act.
func (m *model) compare() {
	m.differs = false
	for {
		a := m.book.reconcile(m.wishes)
		m.down = append(m.down, a.send...)
		m.layouts = append(m.layouts, a.layouts...)
		for _, id := range a.gone {
			m.gone(id)
		}
		if len(a.gone) == 0 {
			return
		}
	}
}

// gone is the jobs' side: a removal is done.
func (m *model) gone(id infoHash) {
	if m.wishes[id].Remove {
		delete(m.wishes, id)
	}
}

// wish changes what is desired of a torrent.
func (m *model) wish(id infoHash, f func(*Desired)) {
	w := m.wishes[id]
	w.ID = id
	f(&w)
	w.Generation = max(w.Generation+1, m.clock)
	m.wishes[id] = w
	m.act()
}

// takeUp is session.take, with what the jobs do about a report.
func (m *model) takeUp(msg control.Message) {
	switch msg := msg.(type) {
	case control.Progress:
		m.book.observe(msg)
		w, wanted := m.wishes[msg.ID]
		switch {
		case wanted && msg.Generation > w.Generation:
			m.wish(msg.ID, func(w *Desired) { w.Generation = msg.Generation })
		case wanted && msg.State == control.StateFailed && msg.Generation == w.Generation && !w.Paused:
			m.wish(msg.ID, func(w *Desired) { w.Paused = true })
		}
	case control.Gone:
		m.book.forget(msg.ID)
	case control.Synced:
		m.book.synced = true
	}
	m.act()
}

// takeDown is the agent.
func (m *model) takeDown(msg control.Message) {
	switch msg := msg.(type) {
	case control.Assign:
		m.past = append(m.past, msg)
		k := m.held[msg.ID]
		if k != nil && msg.Generation <= k.Generation {
			return
		}
		if k == nil {
			k = &kept{}
			m.held[msg.ID] = k
		}
		k.Assign, k.failed = msg, false
		m.news[msg.ID] = true
	case control.Unassign:
		if m.held[msg.ID] != nil && msg.DeleteData {
			delete(m.data, msg.ID)
		}
		delete(m.held, msg.ID)
		delete(m.news, msg.ID)
		m.up = append(m.up, control.Gone{ID: msg.ID})
	}
}

// takeLayout is the agent's side of a layout stream.
func (m *model) takeLayout(id infoHash, whole bool) {
	m.again = append(m.again, id)
	if k := m.held[id]; whole && k != nil && !k.layout && !k.failed {
		k.layout, m.data[id], m.news[id] = true, true, true
	}
}

func pop[T any](s *[]T) T {
	v := (*s)[0]
	*s = (*s)[1:]
	return v
}

// step lets one thing happen on the connection; it reports whether there was any.
func (m *model) step() bool {
	var can []func()
	if len(m.down) > 0 {
		can = append(can, func() { msg := pop(&m.down); m.log("down %#v", msg); m.takeDown(msg) })
	}
	if len(m.up) > 0 {
		can = append(can, func() { msg := pop(&m.up); m.log("up %#v", msg); m.takeUp(msg) })
	}
	if len(m.layouts) > 0 {
		can = append(can, func() { id := pop(&m.layouts); m.log("layout %x", id[:1]); m.takeLayout(id, true) })
	}
	if len(m.again) > 0 {
		can = append(can, func() { id := pop(&m.again); m.book.again(id); m.act() })
	}
	if m.differs {
		can = append(can, m.compare)
	}
	if len(m.news) > 0 {
		can = append(can, func() {
			id := sorted(slices.Collect(maps.Keys(m.news)))[m.random.IntN(len(m.news))]
			delete(m.news, id)
			m.up = append(m.up, m.held[id].report())
		})
	}
	if len(can) == 0 {
		return false
	}
	can[m.random.IntN(len(can))]()
	return true
}

// disturb lets something go wrong, or somebody change their mind.
func (m *model) disturb() {
	m.clock += uint64(m.random.IntN(3))
	id := infoHash{byte(1 + m.random.IntN(4))}
	w, wished := m.wishes[id]
	k := m.held[id]
	switch m.random.IntN(14) {
	case 0, 1: // the connection is cut, or either end is killed
		m.log("cut")
		m.connect()
	case 2: // a message that was delivered comes again
		if len(m.past) > 0 {
			again := m.past[m.random.IntN(len(m.past))]
			m.log("again %#v", again)
			if m.held[again.ID] == nil {
				delete(m.doomed, again.ID) // what is fetched anew is not what was to be deleted
			}
			m.takeDown(again)
		}
	case 3: // a report comes twice
		if len(m.up) > 0 {
			if _, gone := m.up[0].(control.Gone); !gone {
				m.log("twice %#v", m.up[0])
				m.takeUp(m.up[0])
			}
		}
	case 4: // a layout's stream is reset
		if len(m.layouts) > 0 {
			m.log("layout lost")
			m.takeLayout(pop(&m.layouts), false)
		}
	case 5: // the device's disk fails
		if k != nil {
			m.log("fault %x", id[:1])
			k.failed, m.news[id] = true, true
		}
	case 6, 7, 8: // a person adds it, also while it is removed
		if !wished || w.Remove {
			m.log("add %x", id[:1])
			delete(m.doomed, id)
			m.wish(id, func(w *Desired) { *w = want(id, w.Generation) })
		}
	case 9, 10: // pauses or resumes it
		if wished && !w.Remove {
			m.log("pause %x %v", id[:1], !w.Paused)
			m.wish(id, func(w *Desired) { w.Paused = !w.Paused })
		}
	case 11, 12: // or removes it
		if wished {
			data := m.random.IntN(2) == 0
			m.log("remove %x %v", id[:1], data)
			m.wish(id, func(w *Desired) { w.Remove, w.DeleteData = true, w.DeleteData || data })
			// A device that was told to drop it without its files forgets them.
			if data && k != nil && !w.Remove {
				m.doomed[id] = true
			}
		}
	case 13: // the surrogate's store is lost and restored
		if m.random.IntN(10) == 0 {
			m.log("restore")
			m.wishes = maps.Clone(m.backup)
			clear(m.doomed)
			m.connect()
		} else {
			m.backup = maps.Clone(m.wishes)
		}
	}
}

// settled compares both ends when nothing is under way.
func (m *model) settled() error {
	for id, w := range m.wishes {
		k := m.held[id]
		switch {
		case w.Remove:
			return fmt.Errorf("the removal of %x has not ended", id[:1])
		case k == nil:
			return fmt.Errorf("%x is wanted and not held", id[:1])
		case !reflect.DeepEqual(k.Assign, w.Assign):
			return fmt.Errorf("%x is held as %+v, wanted is %+v", id[:1], k.Assign, w.Assign)
		case !k.layout && !k.failed:
			return fmt.Errorf("%x has no layout", id[:1])
		}
	}
	for id := range m.held {
		if _, ok := m.wishes[id]; !ok {
			return fmt.Errorf("%x is held and not wanted", id[:1])
		}
	}
	for id := range m.doomed {
		if m.data[id] {
			return fmt.Errorf("the files of %x were to be deleted", id[:1])
		}
	}
	return nil
}

func TestDeviceAndSurrogateConvergeWhateverHappensBetween(t *testing.T) {
	for seed := range uint64(3000) {
		m := newModel(seed)
		for range 40 + m.random.IntN(100) {
			if m.random.IntN(3) == 0 {
				m.disturb()
			} else {
				m.step()
			}
		}
		m.log("calm")
		for n := 0; m.step(); n++ {
			if n > 1000 {
				t.Fatalf("seed %d: no end\n%s", seed, strings.Join(m.trace, "\n"))
			}
		}
		if err := m.settled(); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, strings.Join(m.trace, "\n"))
		}
		if b := m.book; b.held != len(m.held) || len(b.pages) != len(m.held) {
			t.Fatalf("seed %d: the book has %d pages, %d of held torrents; the device holds %d", seed, len(b.pages), b.held, len(m.held))
		}
	}
}
