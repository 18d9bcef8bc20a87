package storage

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"slices"
)

// recheckLimit is how many bytes Open hashes, at most, because of files that are finished by their names but not by the
// journal. A loss of power can leave those: the names may reach the disk before the journal's last records.
const recheckLimit = 512 << 20

// compactAt is the number of a journal's records from which it may be written anew.
const compactAt = 4096

// resume finds out which pieces are there. It runs in Open, before the owner's goroutine.
func (t *Torrent) resume() error {
	previous, damage, err := readJournal(t.own.journal.path, t.table.pieces, t.own.header.layout)
	if err != nil {
		return err
	}
	if damage != nil {
		t.log.Warn("journal not used", slog.String("path", t.own.journal.path), slog.Any("error", damage))
	}
	sizes := t.disk.scan(previous != nil)
	t.own.oversize = t.table.oversize(sizes)
	if previous == nil {
		t.own.unvouched = true
		t.noteForeign(sizes, newBitfield(t.table.pieces))
		t.needsCheck.Store(slices.ContainsFunc(sizes, func(n int64) bool { return n > 0 }))
		t.count()
		return nil
	}

	found := bitfield(bytes.Clone(previous.durable))
	for _, piece := range previous.tail {
		found.set(int(piece))
	}
	if t.disk.root == nil && found.count() > 0 {
		return t.disk.fail("opening", "", fs.ErrNotExist)
	}
	sameBoot := previous.boot == t.own.header.boot
	var doubted []int
	if !sameBoot {
		for _, piece := range previous.tail {
			doubted = append(doubted, int(piece))
		}
	}
	t.noteForeign(sizes, found)
	strays := t.strays(sizes, found)
	if len(strays) > 0 && (sameBoot || int64(len(strays))*t.table.pieceLen > recheckLimit) {
		t.needsCheck.Store(true)
		strays = nil
	}
	lost := t.dropMissing(sizes, found)
	for _, piece := range strays {
		found.set(piece)
	}
	doubted = append(doubted, strays...)
	if err := t.recheck(doubted, sizes, found); err != nil {
		return err
	}
	for piece := range t.table.pieces {
		if found.has(piece) {
			t.have.set(piece)
		}
	}
	t.count()
	if sameBoot {
		t.own.sync.unsynced = slices.DeleteFunc(previous.tail, func(piece uint32) bool { return !found.has(int(piece)) })
		t.disk.touched.all = len(t.own.sync.unsynced) > 0
		// A new journal is worth its writing when it is much shorter.
		if !lost && !previous.torn && previous.records < max(compactAt, t.table.pieces/8) {
			t.own.previous = previous
		}
	}
	if err := t.nameFinished(); err != nil {
		return err
	}
	if len(doubted) > 0 && !t.NeedsCheck() {
		// Now the result is in the journal and need not be found out again. If that fails, it is only slower next time.
		if err := t.begin(); err != nil {
			t.log.Warn("renewing the journal", slog.Any("error", err))
		}
	}
	return nil
}

// strays returns the pieces that are not among the known ones although a wanted file they are in has its final name and
// length.
func (t *Torrent) strays(sizes []int64, known bitfield) (pieces []int) {
	for file, f := range t.table.files {
		if !t.table.stored(file) || t.skips(file) || t.disk.state[file] != complete || sizes[file] < f.Length {
			continue
		}
		for piece, end := t.table.piecesOf(file, 0); piece < end; piece++ {
			// Files are in the order of the pieces, so a piece already there is the last.
			if n := len(pieces); !known.has(piece) && (n == 0 || pieces[n-1] != piece) {
				pieces = append(pieces, piece)
			}
		}
	}
	return pieces
}

// dropMissing takes out the pieces that lie behind the end of a file as it is, and reports whether there were any.
func (t *Torrent) dropMissing(sizes []int64, found bitfield) (dropped bool) {
	for file, f := range t.table.files {
		if !t.table.stored(file) || sizes[file] >= f.Length {
			continue
		}
		for piece, end := t.table.piecesOf(file, sizes[file]); piece < end; piece++ {
			if found.has(piece) {
				found.clear(piece)
				dropped = true
			}
		}
	}
	if dropped {
		t.log.Warn("files are missing or shorter than they were", slog.String("dir", t.disk.dir))
	}
	return dropped
}

// recheck hashes pieces again and takes out those that are not right.
func (t *Torrent) recheck(pieces []int, sizes []int64, found bitfield) error {
	c := newChecker(t, sizes)
	for _, piece := range pieces {
		if !found.has(piece) {
			continue
		}
		ok, err := c.check(piece)
		if err != nil {
			return err
		}
		if !ok {
			found.clear(piece)
		}
	}
	return nil
}

// count works out from have what is missing of the files.
func (t *Torrent) count() {
	have := t.have.copy()
	t.own.left = make([]int32, len(t.table.files))
	for file := range t.table.files {
		if !t.table.stored(file) {
			continue
		}
		for piece, end := t.table.piecesOf(file, 0); piece < end; piece++ {
			if !have.has(piece) {
				t.own.left[file]++
			}
		}
	}
	t.countUnfinished()
}

// nameFinished gives finished files their final names, if they are wanted. A crash may have prevented that before. A disk that cannot be written to
// is no reason not to read from it.
func (t *Torrent) nameFinished() error {
	for file, left := range t.own.left {
		if left > 0 || !t.table.stored(file) || t.skips(file) {
			continue
		}
		err := t.disk.settle(file, complete)
		if errors.Is(err, fs.ErrExist) {
			return err
		}
		if err != nil {
			t.log.Warn("naming a finished file", slog.Any("error", err))
		}
	}
	return nil
}

// begin must have succeeded before anything is written. It makes the download folder, the journal and the names agree with
// what is known to be there, so that a crash at any later moment leaves no claim that does not hold.
func (t *Torrent) begin() error {
	if t.own.begun {
		return nil
	}
	if err := t.disk.makeRoot(); err != nil {
		return err
	}
	for file := range t.table.files {
		if t.skips(file) {
			continue // until something is written to it
		}
		if err := t.claim(file); err != nil {
			return err
		}
	}
	if err := t.openJournal(); err != nil {
		return err
	}
	t.own.unvouched = false
	if err := t.trim(); err != nil {
		return err
	}
	if err := t.disk.createEmpty(t.own.skip); err != nil {
		return err
	}
	t.own.begun = true
	return nil
}

func (t *Torrent) openJournal() error {
	if t.own.previous == nil {
		return t.rewriteJournal()
	}
	previous := t.own.previous
	t.own.previous = nil
	return t.own.journal.resume(previous)
}

// rewriteJournal writes a journal of the pieces there are.
func (t *Torrent) rewriteJournal() error {
	h := t.own.header
	h.snapshot = t.have.copy()
	for _, piece := range t.own.sync.unsynced {
		h.snapshot.clear(int(piece))
	}
	t.own.previous = nil
	return t.own.journal.rewrite(h, t.own.sync.unsynced)
}

// trim cuts files that are longer than they should be.
func (t *Torrent) trim() error {
	for _, file := range t.own.oversize {
		if t.foreign(file) {
			continue // set aside when it is wanted or written to
		}
		finished := t.disk.is(file, complete) || !t.skips(file)
		if err := t.disk.truncate(file, t.table.files[file].Length); err != nil {
			return err
		}
		if t.own.left[file] > 0 || !finished {
			continue
		}
		if err := t.disk.settle(file, complete); err != nil {
			return err
		}
	}
	t.own.oversize = nil
	return nil
}
