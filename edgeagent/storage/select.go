package storage

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
)

// Select changes which files are wanted: skip is a bitfield like Config.Skip. A file that is wanted now and whole gets its
// final name, and one that no longer is keeps what it has, under the name that it has. What is not the torrent's and in
// the way of a file that is wanted now is renamed. The errors are ctx's, ErrClosed and *DiskError.
func (t *Torrent) Select(ctx context.Context, skip []byte) error {
	var err error
	if stopped := t.do(ctx, func() { err = t.choose(skip) }); stopped != nil {
		return stopped
	}
	return err
}

func (t *Torrent) choose(skip bitfield) error {
	if t.own.failed != nil {
		return t.own.failed
	}
	before := t.own.skip
	t.own.skip = bytes.Clone(skip)
	t.countUnfinished()
	for file := range t.table.files {
		// Before a check nobody knows whose the files are; begin looks at them after it.
		if t.needsCheck.Load() || !before.includes(file) || t.skips(file) {
			continue
		}
		if err := t.claim(file); err != nil {
			return err
		}
	}
	if err := t.nameFinished(); err != nil {
		return err
	}
	return t.makeEmpty()
}

// skips reports whether the file is not wanted.
func (t *Torrent) skips(file int) bool { return t.own.skip.includes(file) }

// countUnfinished works out from left which wanted files are not whole.
func (t *Torrent) countUnfinished() {
	t.own.unfinished = 0
	for file, left := range t.own.left {
		if left > 0 && !t.skips(file) {
			t.own.unfinished++
		}
	}
}

// claim makes the name of a file that is not whole the torrent's: what a person put there is set aside.
func (t *Torrent) claim(file int) error {
	if t.foreign(file) {
		return t.setAside(file)
	}
	if t.own.left[file] == 0 {
		return nil
	}
	return t.disk.settle(file, partial)
}

// makeEmpty makes the wanted files that have no bytes once there is nothing else to be written: until then begin does.
func (t *Torrent) makeEmpty() error {
	if t.needsCheck.Load() || !t.own.begun && t.own.unfinished > 0 {
		return nil
	}
	for file := range t.table.files {
		if t.table.files[file].Pad || t.table.stored(file) || t.skips(file) || !t.disk.is(file, absent) {
			continue
		}
		if err := t.begin(); err != nil {
			return err
		}
		return t.disk.createEmpty(t.own.skip)
	}
	return nil
}

// claimRun claims the foreign files that blocks are about to be written to. Those that are wanted begin has claimed.
func (t *Torrent) claimRun(off int64, blocks int) error {
	if t.own.foreign == nil {
		return nil
	}
	n := int(min(int64(blocks)*BlockSize, t.table.length()-off))
	for s := range t.table.segments(off, n) {
		if !t.foreign(s.file) {
			continue
		}
		if err := t.setAside(s.file); err != nil {
			return err
		}
	}
	return nil
}

// noteForeign notes the files that have their final names although the journal knows of none of their pieces.
func (t *Torrent) noteForeign(sizes []int64, known bitfield) {
	t.own.foreign = nil
	for file := range t.table.files {
		if t.table.files[file].Pad || t.disk.state[file] != complete || sizes[file] == 0 || t.table.touched(file, known.has) {
			continue
		}
		if t.own.foreign == nil {
			t.own.foreign = newBitfield(len(t.table.files))
		}
		t.own.foreign.set(file)
	}
}

// foreign reports whether a file was there under its final name before the torrent was, and has nothing of it: a person's
// own, which is not to be written over.
func (t *Torrent) foreign(file int) bool {
	if !t.own.foreign.includes(file) || !t.disk.is(file, complete) {
		return false
	}
	if !t.table.stored(file) {
		return true
	}
	first, end := t.table.piecesOf(file, 0)
	return int(t.own.left[file]) == end-first
}

// keep reports whether Delete must leave the file that has the final name: one that was skipped all the time may be a
// person's.
func (t *Torrent) keep(file int) bool {
	return t.own.foreign.includes(file) && !t.table.touched(file, t.have.has)
}

// setAside gives a foreign file another name.
func (t *Torrent) setAside(file int) error {
	to, err := t.disk.setAside(file)
	if err != nil {
		return err
	}
	t.own.foreign.clear(file)
	t.own.oversize = slices.DeleteFunc(t.own.oversize, func(f int) bool { return f == file })
	t.log.Warn("a file that is not the torrent's was in the way and was renamed",
		slog.String("file", t.table.files[file].Path), slog.String("to", to))
	return nil
}
