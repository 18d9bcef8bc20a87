package edgeagent

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"

	"simplebit/edgeagent/storage"
	"simplebit/edgeagent/swarm"
	"simplebit/wire/control"
)

// peerIDPrefix names the client in its peer ids (BEP 20).
const peerIDPrefix = "-SB0100-"

// torrent is one torrent held. Its goroutine does what the wish says until the
// wish changes; the fields under mu are what others see of it.
type torrent struct {
	id    infoHash
	dir   string // in the state folder
	set   *torrents
	log   *slog.Logger
	stop  context.CancelFunc
	wake  signal // the wish changed, or the layout came
	ended chan struct{}

	mu      sync.Mutex
	wish    assignment
	state   control.State
	obeys   uint64 // generation of the wish that state belongs to
	fault   string
	size    int64
	have    int64
	checked int64
	sw      *swarm.Torrent // nil unless it runs, and so are the next two
	disk    *storage.Torrent
	layout  *layoutFile
}

// run works on one wish after another.
func (t *torrent) run(ctx context.Context) {
	defer close(t.ended)
	for ctx.Err() == nil {
		work, stop := context.WithCancel(ctx)
		wish := t.currentWish()
		result := make(chan error, 1)
		go func() { result <- t.work(work, wish) }()
		select {
		case <-t.wake:
			stop()
			<-result
		case err := <-result:
			stop()
			if err == nil {
				continue
			}
			t.log.Warn("torrent stopped", "err", err)
			t.enter(wish, control.StateFailed, err.Error())
			select {
			case <-t.wake:
			case <-ctx.Done():
			}
		}
	}
}

// work obeys one wish until ctx ends or something fails.
func (t *torrent) work(ctx context.Context, wish assignment) error {
	layout, err := openLayout(filepath.Join(t.dir, "layout"))
	if errors.Is(err, fs.ErrNotExist) {
		t.enter(wish, control.StateLayout, "")
		<-ctx.Done()
		return nil
	}
	if err != nil {
		return err
	}
	defer layout.close()
	disk, err := storage.Open(t.storageConfig(layout))
	if err != nil {
		return err
	}
	defer disk.Close()
	t.show(func() { t.size, t.have = layout.size(), layout.have(disk.Have()) })
	if wish.Paused {
		t.enter(wish, control.StatePaused, "")
		<-ctx.Done()
		return nil
	}
	if disk.NeedsCheck() || wish.Verify > wish.Verified {
		if err := t.check(ctx, disk, wish); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
	}
	return t.download(ctx, disk, layout, wish)
}

// check hashes everything that is on the disk.
func (t *torrent) check(ctx context.Context, disk *storage.Torrent, wish assignment) error {
	t.show(func() { t.checked = 0 })
	t.enter(wish, control.StateChecking, "")
	err := disk.Verify(ctx, func(done int64) { t.show(func() { t.checked = done }) })
	if err != nil {
		return err
	}
	return t.save(func(a *assignment) { a.Verified = wish.Verify })
}

// download runs the data plane.
func (t *torrent) download(ctx context.Context, disk *storage.Torrent, l *layoutFile, wish assignment) error {
	cfg := t.set.swarm
	cfg.InfoHash = t.id
	copy(cfg.PeerID[:], peerIDPrefix)
	rand.Read(cfg.PeerID[len(peerIDPrefix):])
	cfg.PieceLength, cfg.Length = int(l.PieceLength), l.Length
	cfg.Storage = disk
	cfg.Log = t.log
	sw, err := swarm.New(cfg)
	if err != nil {
		return err
	}
	t.show(func() { t.sw, t.disk, t.layout = sw, disk, l })
	t.enter(wish, control.StateDownloading, "")
	err = sw.Run(ctx)
	last := sw.Status()
	t.show(func() { t.sw, t.disk, t.layout, t.have = nil, nil, nil, l.have(disk.Have()) })
	saved := t.save(func(a *assignment) { a.Downloaded += last.Downloaded; a.Uploaded += last.Uploaded })
	return errors.Join(err, saved)
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

// save changes and stores the assignment.
func (t *torrent) save(f func(*assignment)) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	next := t.wish
	f(&next)
	if err := t.set.state.saveAssignment(t.id, next); err != nil {
		return err
	}
	t.wish = next
	return nil
}

func (t *torrent) currentWish() assignment {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.wish
}

// assign stores a newer wish. Work that it does not change goes on.
func (t *torrent) assign(m control.Assign) error {
	before := t.currentWish()
	if m.Generation <= before.Generation {
		return nil
	}
	if err := t.save(func(a *assignment) { a.Generation, a.Paused, a.Verify = m.Generation, m.Paused, m.Verify }); err != nil {
		return fmt.Errorf("assignment cannot be stored: %w", err)
	}
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
	return nil
}

func (t *torrent) running() *swarm.Torrent {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sw
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
	p.Have = t.layout.have(t.disk.Have())
	p.Downloaded += now.Downloaded
	p.Uploaded += now.Uploaded
	p.DownRate, p.UpRate = now.DownRate, now.UpRate
	p.Partial = t.disk.Partial()
	if now.Seeding {
		p.State = control.StateSeeding
	}
	for _, q := range now.Peers {
		p.Peers = append(p.Peers, control.Peer(q))
	}
	return p
}

// deleteData deletes the torrent's files. It is called when run has ended.
func (t *torrent) deleteData() error {
	layout, err := openLayout(filepath.Join(t.dir, "layout"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer layout.close()
	disk, err := storage.Open(t.storageConfig(layout))
	if err != nil {
		return err
	}
	return disk.Delete()
}

func (t *torrent) storageConfig(l *layoutFile) storage.Config {
	return storage.Config{
		Dir: t.set.dir, Journal: filepath.Join(t.dir, "journal"),
		Layout: l.storage(), Pool: t.set.pool, Log: t.log,
	}
}
