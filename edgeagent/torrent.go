package edgeagent

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"simplebit/edgeagent/swarm"
	"simplebit/wire/control"
	"simplebit/wire/peer"
)

// errFinished ends the data plane of a torrent that has seeded as long as asked.
var errFinished = errors.New("seeded as long as asked")

// torrent is one torrent held. Its goroutine does what the wish says until the
// wish changes; the fields under mu are what others see of it.
type torrent struct {
	id     infoHash
	veiled [20]byte // what encrypted connections call it
	dir    string   // in the state folder
	set    *torrents
	log    *slog.Logger
	stop   context.CancelFunc
	wake   signal     // other work is wished, or the layout came
	retune signal     // the same work with other options
	broken chan error // the layout that came cannot be used
	ended  chan struct{}

	mu      sync.Mutex
	wish    assignment // its counters: without what sw has moved since they were last stored
	applied assignment // the wish, and its options, that are being worked on
	state   control.State
	obeys   uint64 // generation of the wish that state belongs to
	fault   string
	figures figures
	counted int64 // what the swarm had when figures were counted; -1: count
	checked int64
	sw      *swarm.Torrent // nil unless it runs, and so is content
	content *content
	folded  counters // of what sw has moved, what the wish's counters have
}

// run works on one wish after another, from the first or from the next.
func (t *torrent) run(ctx context.Context, first bool) {
	defer close(t.ended)
	if !first {
		t.rest(ctx)
	}
	for ctx.Err() == nil {
		work, stop := context.WithCancel(ctx)
		wish := t.apply()
		result := make(chan error, 1)
		go func() { result <- t.work(work, wish) }()
		var err error
		select {
		case <-t.wake:
			stop()
			<-result
			continue
		case err = <-t.broken:
			stop()
			<-result
		case err = <-result:
			stop()
		}
		if err != nil {
			t.log.Warn("torrent stopped", "err", err)
			if t.failed(err) {
				t.rest(ctx)
			}
		}
	}
}

// fail stops the torrent until the next wish.
func (t *torrent) fail(err error) {
	select {
	case t.broken <- err:
	default:
	}
}

// failed enters StateFailed, unless a newer wish has come than the one that
// failed: that is to be tried first. It reports whether there is none.
func (t *torrent) failed(err error) (rests bool) {
	t.show(func() {
		if rests = t.wish.Generation == t.applied.Generation; rests {
			t.state, t.fault = control.StateFailed, err.Error()
			t.obey()
		}
	})
	return rests
}

// rest waits for the next wish.
func (t *torrent) rest(ctx context.Context) {
	select {
	case <-t.wake:
	case <-ctx.Done():
	}
}

// work obeys one wish until ctx ends or something fails, or the options change
// of one that rests: then it is to be called again.
func (t *torrent) work(ctx context.Context, wish assignment) error {
	c, err := t.open(wish.Options.Files)
	if errors.Is(err, errNoLayout) {
		t.log.Info("layout wanted", "why", err)
		t.enter(control.StateLayout, "")
		t.idle(ctx)
		return nil
	}
	if err != nil {
		return err
	}
	t.show(func() { t.figures = c.figures() })
	state := control.StatePaused
	if !wish.Paused {
		err = t.move(ctx, c, wish)
		state = control.StateFinished
	}
	c.close() // rests without files open and without its tables in memory
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil && !errors.Is(err, errFinished):
		return err
	}
	t.enter(state, "")
	t.idle(ctx)
	return nil
}

// idle waits until the options change or ctx ends.
func (t *torrent) idle(ctx context.Context) {
	select {
	case <-t.retune:
	case <-ctx.Done():
	}
}

// move checks what is there if need be, and runs the data plane. The error is
// errFinished when there is nothing left to do.
func (t *torrent) move(ctx context.Context, c *content, wish assignment) error {
	if c.disk.NeedsCheck() || wish.due() != 0 {
		if err := t.check(ctx, c, wish); ctx.Err() != nil || err != nil {
			return err
		}
	}
	if f := c.figures(); f.whole() && wish.finished(f.wanted) {
		return errFinished
	}
	return t.download(ctx, c, wish)
}

// check hashes everything that is on the disk. Cut short by ctx, it is no error.
func (t *torrent) check(ctx context.Context, c *content, wish assignment) error {
	t.show(func() { t.checked = 0 })
	t.enter(control.StateChecking, "")
	err := c.disk.Verify(ctx, func(done int64) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.checked = done // no signal: there may be thousands of pieces a second
	})
	t.show(func() { t.figures = c.figures() })
	if err == nil {
		t.alter(func(a *assignment) {
			a.Verified = min(wish.Verify, a.Verify)
			t.applied.Verified = a.Verified
		})
	} else if ctx.Err() != nil {
		return nil
	}
	return err
}

// download runs the data plane, and minds it.
func (t *torrent) download(ctx context.Context, c *content, wish assignment) error {
	cfg := t.set.swarm
	cfg.InfoHash = t.id
	cfg.PeerID = peer.NewID()
	cfg.PieceLength, cfg.Length = int(c.layout.PieceLength), c.layout.Length
	cfg.Storage = c.disk
	cfg.Policy = wish.Options.policy(c.selected.pieces)
	cfg.Unusable = func(list []swarm.Verdict) { t.set.unusable.add(t.id, list) }
	cfg.First = t.set.changed.set
	cfg.Log = t.log
	sw, err := swarm.New(cfg)
	if err != nil {
		return err
	}
	t.show(func() {
		t.sw, t.content, t.folded, t.counted = sw, c, counters{}, -1
		t.state, t.fault = control.StateDownloading, ""
		t.obey()
	})
	ctx, stop := context.WithCancel(ctx)
	minded := make(chan error, 1)
	go func() {
		minded <- t.mind(ctx, sw, c)
		stop()
	}()
	err = sw.Run(ctx)
	stop()
	if why := <-minded; err == nil {
		err = why
	}
	t.alter(func(a *assignment) {
		t.figures = c.figures()
		if t.figures.whole() {
			t.state = control.StateSeeding // until the next wish is begun, this is what it was
		}
		t.sw, t.content = nil, nil
	})
	return err
}

// apply makes the wish the one that is being worked on.
func (t *torrent) apply() assignment {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.applied = t.wish
	return t.wish
}

// enter changes the state, which is that of the wish that is being worked on, or
// of a later one that asks for the same.
func (t *torrent) enter(state control.State, fault string) {
	t.show(func() {
		t.state, t.fault = state, fault
		t.obey()
	})
}

// obey notes which wish is carried out. It needs mu.
func (t *torrent) obey() {
	t.obeys = t.applied.Generation
	if t.wish.sameWork(t.applied) && t.wish.Options.equal(t.applied.Options) {
		t.obeys = t.wish.Generation
	}
}

// show changes what others see of the torrent.
func (t *torrent) show(f func()) {
	t.mu.Lock()
	f()
	t.mu.Unlock()
	t.set.changed.set()
}

// alter changes the assignment and stores it with the newest counters. One that
// cannot be stored is obeyed all the same: after a restart the surrogate tells it
// again.
func (t *torrent) alter(f func(*assignment)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sw != nil {
		t.fold(t.sw.Status())
	}
	f(&t.wish)
	if err := t.set.state.saveAssignment(t.id, t.wish); err != nil {
		t.log.Error("assignment not stored", "err", err)
	}
}

func (t *torrent) currentWish() assignment {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.wish
}

// assign takes a newer wish. Work that it does not change goes on.
func (t *torrent) assign(m control.Assign) {
	before := t.currentWish()
	if m.Generation <= before.Generation {
		return
	}
	t.alter(func(a *assignment) {
		a.take(m)
		// The surrogate counts anew for a job that was added again.
		a.Verified = min(a.Verified, m.Verify)
	})
	goesOn, sameOptions := false, false
	t.show(func() {
		goesOn = t.wish.sameWork(before) && t.state != control.StateFailed
		sameOptions = t.wish.Options.equal(before.Options)
		if goesOn && sameOptions && t.obeys == before.Generation {
			t.obeys = m.Generation
		}
	})
	switch {
	case !goesOn:
		t.wake.set()
	case !sameOptions:
		t.retune.set()
	}
}

func (t *torrent) running() *swarm.Torrent {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sw
}

func (t *torrent) needsLayout() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state == control.StateLayout
}
