package storage

import "log/slog"

// flushBlocks is how many blocks are written at once: 256 KiB.
const flushBlocks = 16

// An owner is the state that only the goroutine which has Torrent.turn touches, between Open and the end of Close. What run
// waits for is set by Open and never changed.
type owner struct {
	header    journalHeader // for the next rewrite of the journal, without the snapshot
	previous  *journalState // the journal to go on with; nil when it must be rewritten before anything is written
	unvouched bool          // no journal vouches for the files that Open found
	begun     bool          // the journal is open and agrees with have, the files' names agree with both
	failed    error         // the *DiskError after which nothing is written

	assemblies assemblies
	journal    journalFile
	sync       syncState
	left       []int32  // of each file, the pieces not verified
	skip       bitfield // files that are not wanted; may be too short: those behind it are
	unfinished int      // files that are wanted and have pieces left
	foreign    bitfield // files found under their final names although the journal knew nothing of them; nil: none
	oversize   []int    // files longer than they should be, to be cut before anything is written

	squeeze chan struct{} // signalled by the pool when somebody waits for a block
	batch   []*Block
	scratch []byte
	sum     []byte
	want    [hashSize]byte
}

// run is what the torrent's own goroutine does.
func (t *Torrent) run() {
	defer close(t.stopped)
	for {
		select {
		case <-t.queue.wake:
			t.inTurn(t.takeBlocks)
		case <-t.own.squeeze:
			t.inTurn(t.relieve)
		case <-t.own.sync.timer.C:
			t.inTurn(t.startSync)
		case err := <-t.own.sync.done:
			t.inTurn(func() { t.endSync(err) })
		case f := <-t.calls:
			t.inTurn(f)
		case <-t.closing:
			t.inTurn(t.shut)
			return
		}
	}
}

// inTurn runs f when nobody else is at work.
func (t *Torrent) inTurn(f func()) {
	t.turn.Lock()
	defer t.turn.Unlock()
	f()
}

// takeBlocks works off the queue.
func (t *Torrent) takeBlocks() {
	blocks := t.queue.take(t.own.batch)
	for i, b := range blocks {
		blocks[i] = nil
		if err := t.add(b); err != nil {
			t.fail(err)
		}
	}
	t.own.batch = blocks
	if t.pool.Free() < t.pool.Size()/4 {
		t.relieve()
	}
}

// add takes one block.
func (t *Torrent) add(b *Block) error {
	if t.own.failed != nil || !t.fits(b) || t.have.has(b.piece) {
		b.Release()
		return nil
	}
	a := t.own.assemblies.find(b.piece)
	n := b.N
	if !a.insert(b) {
		b.Release()
		return nil
	}
	t.partial.Add(int64(n))
	if err := a.advance(t.readBack); err != nil {
		return err
	}
	if a.done() {
		return t.finish(a)
	}
	if n := a.hashedHeld(); n >= flushBlocks {
		return t.flush(a, n)
	}
	return nil
}

// fits reports whether the block is one of the torrent.
func (t *Torrent) fits(b *Block) bool {
	if b.piece >= 0 && b.piece < t.table.pieces && b.begin >= 0 && b.begin%BlockSize == 0 && b.N > 0 &&
		b.N == min(BlockSize, t.table.pieceSize(b.piece)-b.begin) {
		return true
	}
	t.log.Warn("block does not fit the layout", slog.Int("piece", b.piece), slog.Int("begin", b.begin), slog.Int("length", b.N))
	return false
}

// readBack reads a part of an unfinished piece, of a block's length at most. It is good until the next call.
func (t *Torrent) readBack(piece, begin, n int) ([]byte, error) {
	if t.own.scratch == nil {
		t.own.scratch = make([]byte, BlockSize)
	}
	b := t.own.scratch[:n]
	return b, t.disk.read(b, t.table.pieceOffset(piece)+int64(begin))
}

// flush writes the first n blocks that the piece has in memory, and releases them.
func (t *Torrent) flush(a *assembly, n int) error {
	if err := t.begin(); err != nil {
		return err
	}
	t.needsCheck.Store(false)
	for n > 0 {
		end := a.run(min(n, flushBlocks))
		off := t.table.pieceOffset(a.piece) + int64(a.held[0].begin)
		if err := t.claimRun(off, end); err != nil {
			return err
		}
		if err := t.disk.writeBlocks(off, a.held[:end]); err != nil {
			return err
		}
		a.written(end)
		n -= end
	}
	return nil
}

// finish compares the hash of a piece that is complete.
func (t *Torrent) finish(a *assembly) error {
	piece := a.piece
	t.own.sum = a.hash.Sum(t.own.sum[:0])
	ok, err := t.hashIs(piece, t.own.sum)
	if err != nil {
		return err
	}
	if !ok {
		t.end(a)
		t.emit(Event{Kind: PieceFailed, Piece: piece})
		return nil
	}
	if err := t.flush(a, len(a.held)); err != nil {
		return err
	}
	t.end(a)
	// In this order: a kill after the record costs at most the new name of a file, which Open makes up for.
	if err := t.own.journal.append(uint32(piece)); err != nil {
		return err
	}
	t.own.sync.recorded(piece)
	if err := t.publish(piece); err != nil {
		return err
	}
	t.emit(Event{Kind: PieceVerified, Piece: piece})
	if t.own.unfinished == 0 {
		t.startSync()
	}
	return nil
}

// hashIs compares a hash with that of the layout.
func (t *Torrent) hashIs(piece int, sum []byte) (bool, error) {
	if n, err := t.hashes.ReadAt(t.own.want[:], int64(piece)*hashSize); n < hashSize {
		return false, newDiskError("reading", "the piece hashes", t.disk.dir, err)
	}
	return [hashSize]byte(sum) == t.own.want, nil
}

// publish makes a verified piece readable and gives the files that it completes their names.
func (t *Torrent) publish(piece int) error {
	t.have.set(piece)
	for s := range t.table.segments(t.table.pieceOffset(piece), t.table.pieceSize(piece)) {
		if t.table.files[s.file].Pad {
			continue
		}
		t.own.left[s.file]--
		if t.own.left[s.file] == 0 && !t.skips(s.file) {
			t.own.unfinished--
			if err := t.disk.settle(s.file, complete); err != nil {
				return err
			}
		}
	}
	return nil
}

// unpublish takes a piece back. Names are put right as far as the disk allows: the next begin does the rest.
func (t *Torrent) unpublish(piece int) {
	t.have.clear(piece)
	for s := range t.table.segments(t.table.pieceOffset(piece), t.table.pieceSize(piece)) {
		if t.table.files[s.file].Pad {
			continue
		}
		t.own.left[s.file]++
		if t.own.left[s.file] == 1 && !t.skips(s.file) {
			t.own.unfinished++
		}
		if err := t.disk.settle(s.file, partial); err != nil {
			t.log.Warn("naming an unfinished file", slog.Any("error", err))
		}
	}
}

// end drops what there is of an unfinished piece.
func (t *Torrent) end(a *assembly) {
	t.partial.Add(-int64(a.received))
	t.own.assemblies.end(a)
}

// relieve gives memory back to the pool, first the blocks that are hashed. The others go only when nobody can have a block
// any more, since they must be read again.
func (t *Torrent) relieve() {
	for t.pool.Free() < t.pool.Size()/2 {
		a := t.own.assemblies.most((*assembly).hashedHeld)
		if a == nil {
			break
		}
		if err := t.flush(a, a.hashedHeld()); err != nil {
			t.fail(err)
			return
		}
	}
	if t.pool.Free() > 0 {
		return
	}
	if a := t.own.assemblies.most(func(a *assembly) int { return len(a.held) }); a != nil {
		if err := t.flush(a, len(a.held)); err != nil {
			t.fail(err)
		}
	}
}

// fail drops all unfinished pieces and reports the error, once.
func (t *Torrent) fail(err error) {
	if t.own.failed != nil {
		return
	}
	t.own.failed = err
	t.dropUnfinished()
	t.log.Error("storage stopped", slog.Any("error", err))
	t.emit(Event{Kind: DiskFailed, Err: err})
}

func (t *Torrent) dropUnfinished() {
	for len(t.own.assemblies.active) > 0 {
		t.end(t.own.assemblies.active[0])
	}
}

// emit waits for room for the event, unless the torrent is being closed.
func (t *Torrent) emit(e Event) {
	select {
	case t.events <- e:
		return
	default:
	}
	select {
	case t.events <- e:
	case <-t.closing:
	}
}

// shut ends the owner's work.
func (t *Torrent) shut() {
	t.takeBlocks()
	t.dropUnfinished()
	t.pool.unwatch(t.own.squeeze)
	if t.own.sync.running {
		t.endSync(<-t.own.sync.done)
	}
	if !t.deleting {
		t.closeErr = t.syncNow()
	}
	t.own.journal.close()
	t.disk.close()
	close(t.events)
}
