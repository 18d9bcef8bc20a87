package edgeagent

import (
	"context"
	"time"

	"simplebit/edgeagent/swarm"
)

// saveEvery is how often the counters of a running torrent are stored.
const saveEvery = 5 * time.Minute

// minder keeps the time of one run of a torrent: how long it seeds, and when its
// counters are to be stored. It has no I/O.
type minder struct {
	every  time.Duration // between two stores
	last   time.Time     // of the last look
	saved  time.Time
	stored assignment // as of then
}

// look counts the time since the last look as spent seeding if nothing is
// missing, and tells what is due.
func (m *minder) look(now time.Time, a *assignment, f figures) (save, finished bool) {
	if f.whole() {
		a.Seeded += now.Sub(m.last)
	}
	m.last = now
	if m.worth(*a) && now.Sub(m.saved) >= m.every {
		save, m.saved, m.stored = true, now, *a
	}
	return save, f.whole() && a.finished(f.wanted)
}

// worth reports whether the counters have changed. Time alone counts only when
// seeding ends by it: an idle seeder must not wear out flash.
func (m *minder) worth(a assignment) bool {
	return a.Downloaded != m.stored.Downloaded || a.Uploaded != m.stored.Uploaded ||
		a.Options.SeedTime > 0 && a.Seeded != m.stored.Seeded
}

// mind keeps the counters of a running torrent and changes its options, until ctx
// ends, seeding has reached its end (errFinished), or the disk does not take a
// choice of files.
func (t *torrent) mind(ctx context.Context, sw *swarm.Torrent, c *content) error {
	tick := time.NewTicker(t.set.tick)
	defer tick.Stop()
	now := time.Now()
	m := minder{every: t.set.saveEvery, last: now, saved: now, stored: t.currentWish()}
	for {
		select {
		case <-tick.C:
		case <-t.retune:
			if err := t.tune(ctx, sw, c); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
		save, finished := t.look(&m)
		if finished {
			return errFinished
		}
		if save {
			t.alter(func(*assignment) {})
		}
	}
}

func (t *torrent) look(m *minder) (save, finished bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.measure()
	now := time.Now()
	if !t.wish.Options.equal(t.applied.Options) {
		m.last = now // what is counted belongs to another choice of files, and the time too: tune comes first
		return false, false
	}
	return m.look(now, &t.wish, t.figures)
}

// tune carries out the options of the wish while the swarm runs on.
func (t *torrent) tune(ctx context.Context, sw *swarm.Torrent, c *content) error {
	wish := t.currentWish()
	s := c.selected
	if !wish.Options.sameFiles(t.applied.Options) {
		var err error
		if s, err = c.choose(ctx, wish.Options.Files); err != nil {
			return err
		}
	}
	sw.SetPolicy(wish.Options.policy(s.pieces))
	t.show(func() {
		t.applied.Options, t.applied.Generation = wish.Options, wish.Generation
		c.selected, t.counted = s, -1
		t.obey()
	})
	return nil
}
