package storage

import (
	"log/slog"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// syncEvery is the longest time after which a verified piece survives a loss of power, apart from the time the disk takes.
// Flash wears, so it is not shorter.
const syncEvery = 30 * time.Second

// A syncState says which verified pieces are in the page cache only, and until when. The syncing itself, which may take
// seconds on a slow disk, runs on a goroutine of its own, one at a time.
type syncState struct {
	unsynced []uint32    // pieces recorded after the last mark
	timer    *time.Timer // runs while there are any and none is being synced
	armed    bool        // it does
	running  bool        // a sync
	done     chan error  // gets its result
	records  int         // of the journal, and
	pieces   int         // of unsynced, when the running sync began
}

func newSyncState() syncState {
	timer := time.NewTimer(syncEvery)
	timer.Stop()
	return syncState{timer: timer, done: make(chan error, 1)}
}

func (s *syncState) recorded(piece int) {
	s.unsynced = append(s.unsynced, uint32(piece))
	s.arm()
}

func (s *syncState) arm() {
	if len(s.unsynced) > 0 && !s.armed && !s.running {
		s.armed = true
		s.timer.Reset(syncEvery)
	}
}

func (s *syncState) disarm() {
	s.timer.Stop()
	s.armed = false
}

// startSync begins to bring the recorded pieces to the disk.
func (t *Torrent) startSync() {
	s := &t.own.sync
	if s.running || len(s.unsynced) == 0 {
		return
	}
	s.disarm()
	if err := t.begin(); err != nil {
		t.fail(err)
		return
	}
	s.running, s.records, s.pieces = true, t.own.journal.records, len(s.unsynced)
	files := t.disk.takeTouched()
	go func() {
		err := t.disk.sync(files)
		if err == nil {
			err = t.own.journal.flush()
		}
		s.done <- err
	}()
}

// endSync notes in the journal what the sync has achieved. The mark itself needs no sync: without it those pieces are only
// hashed again after a loss of power.
func (t *Torrent) endSync(err error) {
	s := &t.own.sync
	s.running = false
	if err != nil {
		t.distrust()
		t.fail(err)
		return
	}
	s.unsynced = slices.Delete(s.unsynced, 0, s.pieces)
	if err := t.own.journal.append(markBit | uint32(s.records)); err != nil {
		t.fail(err)
		return
	}
	s.arm()
}

// syncNow does it all at once.
func (t *Torrent) syncNow() error {
	s := &t.own.sync
	s.disarm()
	if len(s.unsynced) == 0 {
		return nil
	}
	if err := t.begin(); err != nil {
		return err
	}
	err := t.disk.sync(t.disk.takeTouched())
	if err == nil {
		err = t.own.journal.flush()
	}
	if err != nil {
		t.distrust()
		return err
	}
	s.unsynced = s.unsynced[:0]
	if err := t.own.journal.append(markBit | uint32(t.own.journal.records)); err != nil {
		return err
	}
	return t.own.journal.flush()
}

// distrust takes back what a failed sync may have lost: the kernel drops pages that it could not write, and until then they
// read as if nothing had happened.
func (t *Torrent) distrust() {
	for _, piece := range t.own.sync.unsynced {
		t.unpublish(int(piece))
	}
	t.own.sync.unsynced = nil
	if err := t.rewriteJournal(); err != nil {
		t.log.Error("taking pieces out of the journal", slog.Any("error", err))
	}
}

// A fileSet names some files, or all.
type fileSet struct {
	files [8]int
	n     int
	all   bool
}

func (s *fileSet) add(file int) {
	if s.all || slices.Contains(s.files[:s.n], file) {
		return
	}
	if s.n == len(s.files) {
		s.all = true
		return
	}
	s.files[s.n] = file
	s.n++
}

// takeTouched returns the files written since the last call. Only the goroutine at work may call it.
func (d *disk) takeTouched() fileSet {
	files := d.touched
	d.touched = fileSet{}
	return files
}

// sync waits until the files' data is on the disk. For more than a few, the whole file system is synced: thousands of small
// files one by one would take minutes.
func (d *disk) sync(files fileSet) error {
	if files.all {
		return d.syncAll()
	}
	for _, file := range files.files[:files.n] {
		if err := d.syncFile(file); err != nil {
			return err
		}
	}
	return nil
}

func (d *disk) syncFile(file int) error {
	h, err := d.acquire(file, false)
	if err != nil {
		return err
	}
	defer d.release(h)
	if err := unix.Fdatasync(h.fd); err != nil {
		return d.fail("syncing", d.name(file), err)
	}
	return nil
}

func (d *disk) syncAll() error {
	d.mu.Lock()
	root := d.root
	d.mu.Unlock()
	folder, err := root.Open(".")
	if err != nil {
		return d.fail("opening", "", err)
	}
	defer folder.Close()
	if err := unix.Syncfs(int(folder.Fd())); err != nil {
		return d.fail("syncing", "", err)
	}
	return nil
}
