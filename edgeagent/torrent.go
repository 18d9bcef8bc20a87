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

// torrent is one torrent held. Its goroutine does what the wish says until the
// wish changes; the fields under mu are what others see of it.
type torrent struct {
	id     infoHash
	dir    string // in the state folder
	set    *torrents
	log    *slog.Logger
	stop   context.CancelFunc
	wake   signal     // the wish changed, or the layout came
	broken chan error // the layout that came cannot be used
	ended  chan struct{}

	mu      sync.Mutex
	wish    assignment
	state   control.State
	obeys   uint64 // generation of the wish that state belongs to
	fault   string
	size    int64
	have    int64
	counted int64 // what the swarm had when have was counted
	checked int64
	sw      *swarm.Torrent // nil unless it runs, and so is content
	content *content
}

// run works on one wish after another, from the first or from the next.
func (t *torrent) run(ctx context.Context, first bool) {
	defer close(t.ended)
	if !first {
		t.rest(ctx)
	}
	for ctx.Err() == nil {
		work, stop := context.WithCancel(ctx)
		wish := t.currentWish()
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
			t.enter(wish, control.StateFailed, err.Error())
			t.rest(ctx)
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

// rest waits for the next wish.
func (t *torrent) rest(ctx context.Context) {
	select {
	case <-t.wake:
	case <-ctx.Done():
	}
}

// work obeys one wish until ctx ends or something fails.
func (t *torrent) work(ctx context.Context, wish assignment) error {
	c, err := t.open()
	if errors.Is(err, errNoLayout) {
		t.log.Info("layout wanted", "why", err)
		t.enter(wish, control.StateLayout, "")
		<-ctx.Done()
		return nil
	}
	if err != nil {
		return err
	}
	t.show(func() { t.size, t.have = c.layout.size(), c.have() })
	if wish.Paused {
		c.close() // rests without files open and without its tables in memory
		t.enter(wish, control.StatePaused, "")
		<-ctx.Done()
		return nil
	}
	defer c.close()
	if c.disk.NeedsCheck() || wish.due() != 0 {
		if err := t.check(ctx, c, wish); ctx.Err() != nil || err != nil {
			return err
		}
	}
	return t.download(ctx, c, wish)
}

// check hashes everything that is on the disk. Cut short by ctx, it is no error.
func (t *torrent) check(ctx context.Context, c *content, wish assignment) error {
	t.show(func() { t.checked = 0 })
	t.enter(wish, control.StateChecking, "")
	err := c.disk.Verify(ctx, func(done int64) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.checked = done // no signal: there may be thousands of pieces a second
	})
	t.show(func() { t.have = c.have() })
	if err == nil {
		t.alter(func(a *assignment) { a.Verified = min(wish.Verify, a.Verify) })
	} else if ctx.Err() != nil {
		return nil
	}
	return err
}

// download runs the data plane.
func (t *torrent) download(ctx context.Context, c *content, wish assignment) error {
	cfg := t.set.swarm
	cfg.InfoHash = t.id
	cfg.PeerID = peer.NewID()
	cfg.PieceLength, cfg.Length = int(c.layout.PieceLength), c.layout.Length
	cfg.Storage = c.disk
	cfg.Log = t.log
	sw, err := swarm.New(cfg)
	if err != nil {
		return err
	}
	t.show(func() { t.sw, t.content, t.counted = sw, c, -1 })
	t.enter(wish, control.StateDownloading, "")
	err = sw.Run(ctx)
	last := sw.Status()
	t.alter(func(a *assignment) {
		t.sw, t.content, t.have = nil, nil, c.have()
		a.Downloaded += last.Downloaded
		a.Uploaded += last.Uploaded
	})
	return err
}

// enter changes the state, which is that of the wish, or of a later one that
// asks for the same work.
func (t *torrent) enter(wish assignment, state control.State, fault string) {
	t.show(func() {
		t.state, t.fault, t.obeys = state, fault, wish.Generation
		if t.wish.sameWork(wish) {
			t.obeys = t.wish.Generation
		}
	})
}

// show changes what others see of the torrent.
func (t *torrent) show(f func()) {
	t.mu.Lock()
	f()
	t.mu.Unlock()
	t.set.changed.set()
}

// alter changes the assignment and stores it. One that cannot be stored is
// obeyed all the same: after a restart the surrogate tells it again.
func (t *torrent) alter(f func(*assignment)) {
	t.mu.Lock()
	defer t.mu.Unlock()
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
		a.Generation, a.Paused, a.Verify = m.Generation, m.Paused, m.Verify
		// The surrogate counts anew for a job that was added again.
		a.Verified = min(a.Verified, m.Verify)
	})
	goesOn := false
	t.show(func() {
		goesOn = t.wish.sameWork(before) && t.state != control.StateFailed
		if goesOn && t.obeys == before.Generation {
			t.obeys = m.Generation
		}
	})
	if !goesOn {
		t.wake.set()
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

// progress is what is reported of the torrent.
func (t *torrent) progress() control.Progress {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := control.Progress{
		ID: t.id, Generation: t.obeys, State: t.state, Error: t.fault,
		Size: t.size, Have: t.have, Checked: t.checked,
		Downloaded: t.wish.Downloaded, Uploaded: t.wish.Uploaded,
	}
	if t.sw == nil {
		return p
	}
	now := t.sw.Status()
	if now.Have != t.counted {
		t.have, t.counted = t.content.have(), now.Have
	}
	p.Have = t.have
	p.Downloaded += now.Downloaded
	p.Uploaded += now.Uploaded
	p.DownRate, p.UpRate = now.DownRate, now.UpRate
	p.Partial = t.content.disk.Partial()
	if now.Seeding {
		p.State = control.StateSeeding
	}
	for _, q := range now.Peers {
		p.Peers = append(p.Peers, control.Peer(q))
	}
	return p
}
