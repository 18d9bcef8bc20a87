package storage

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
)

// Config is what Open needs. Dir, Journal, Layout and Pool must be given.
type Config struct {
	Dir     string       // the download folder; made with the first write when it is missing and nothing was downloaded yet
	Journal string       // path of the journal file, outside of Dir; its folder is made when needed
	Layout  Layout       // of the torrent; must be the same at every Open with this journal
	Pool    *Pool        // where the blocks given to Write come from
	Skip    []byte       // files that are not wanted, a bitfield over Layout.Files (the high bit of the first byte is the first); default: none
	Log     *slog.Logger // default: none
}

// An EventKind says what an Event reports.
type EventKind uint8

// The kinds of events.
const (
	// PieceVerified: the piece has the right hash, is on disk and in the journal, and can be read.
	PieceVerified EventKind = iota + 1
	// PieceFailed: the piece was complete but has the wrong hash. Nothing of it is kept, it can be written again.
	PieceFailed
	// DiskFailed: Err is a *DiskError. Blocks written from now on are thrown away until the torrent is opened again;
	// verified pieces can still be read as far as the disk allows.
	DiskFailed
)

// An Event is the result of one or more calls of Write.
type Event struct {
	Kind  EventKind
	Piece int   // the piece; 0 for DiskFailed
	Err   error // for DiskFailed
}

// eventBuffer is how many events may wait before the storage does.
const eventBuffer = 64

// A Torrent is one torrent's content on disk. One goroutine at a time works on the disk: the torrent's own, or one that has
// called Work. The methods hand it work or read what it has published, and may be called from any goroutine.
type Torrent struct {
	table  *table
	hashes io.ReaderAt
	pool   *Pool
	disk   *disk
	log    *slog.Logger

	have       *sharedBitfield
	partial    atomic.Int64
	needsCheck atomic.Bool
	events     chan Event
	queue      queue
	calls      chan func()   // run by the torrent's own goroutine
	closing    chan struct{} // closed when the owner is to stop
	stopped    chan struct{} // closed when it has, after closeErr was set
	closeOnce  sync.Once
	deleting   bool // the files are going to be removed; set before closing is closed
	closeErr   error

	turn sync.Mutex // held by the goroutine that is at work
	own  owner
}

// Have returns the verified pieces as a BEP 3 bitfield (the high bit of the first byte is piece 0), a copy.
func (t *Torrent) Have() []byte { return t.have.copy() }

// NeedsCheck reports whether Open found files of the torrent that no journal vouches for. Have does not contain their
// pieces; Verify finds them. Without Verify they are overwritten piece by piece.
func (t *Torrent) NeedsCheck() bool { return t.needsCheck.Load() }

// Write takes b, which holds b.N bytes that belong at byte begin of the piece. The caller must not use b afterwards. begin
// must be a multiple of BlockSize, and b.N is BlockSize or what is left of the piece. Write never blocks; what comes of
// it is told by Events, once the piece is complete. A block that the storage holds already, or of a verified piece, is
// dropped without a word, and so are all after DiskFailed and Close.
func (t *Torrent) Write(piece, begin int, b *Block) {
	t.Put(piece, begin, b)
	t.queue.signal()
}

// Put is Write for a goroutine that calls Work afterwards. Nothing is done with the block before that.
func (t *Torrent) Put(piece, begin int, b *Block) {
	b.piece, b.begin = piece, begin
	if !t.queue.put(b) {
		b.Release()
	}
}

// Work does what Put has left to be done, waiting for the disk and for room in Events, so the caller must not be who drains
// them. It is for the goroutine that has just read the blocks: there they are still in the processor's cache, where the
// torrent's own goroutine, on another processor, would have to get them from. When somebody else is at work already, it
// leaves it to the torrent's own goroutine and returns.
func (t *Torrent) Work() {
	if !t.turn.TryLock() {
		t.queue.signal()
		return
	}
	defer t.turn.Unlock()
	t.takeBlocks()
}

// ReadBlock fills dst from byte begin of a verified piece; begin+len(dst) must not pass the end of the piece. It waits for
// the disk. The error is ErrNotVerified, ErrClosed or a *DiskError.
func (t *Torrent) ReadBlock(piece, begin int, dst []byte) error {
	if piece < 0 || piece >= t.table.pieces || !t.have.has(piece) ||
		begin < 0 || begin > t.table.pieceSize(piece)-len(dst) {
		return ErrNotVerified
	}
	return t.disk.read(dst, t.table.pieceOffset(piece)+int64(begin))
}

// Events returns the channel of results. It must be drained, or the storage stops working when the channel's small buffer
// is full. It is closed by Close and Delete.
func (t *Torrent) Events() <-chan Event { return t.events }

// Partial returns how many bytes of unfinished pieces the storage has received, in memory and on disk. This is what has to
// be fetched again when the process is killed now, or the torrent closed.
func (t *Torrent) Partial() int64 { return t.partial.Load() }

// Close drops unfinished pieces, brings everything else to the disk and frees all resources. It returns a *DiskError when
// the disk would not take it. Closing twice is harmless.
func (t *Torrent) Close() error {
	t.closeOnce.Do(func() {
		t.queue.close()
		close(t.closing)
	})
	<-t.stopped
	return t.closeErr
}

// Delete closes the torrent and removes its files, also unfinished ones, the folders that are empty then, and the journal.
// Files that were there before the torrent, and were neither verified nor written since, stay.
// Folders that hold anything else stay, and so does the download folder. It may be called after Close.
func (t *Torrent) Delete() error {
	t.closeOnce.Do(func() {
		t.deleting = true
		t.queue.close()
		close(t.closing)
	})
	<-t.stopped
	if t.own.unvouched {
		return t.own.journal.remove() // what is there was there before
	}
	if err := t.disk.remove(t.keep); err != nil {
		return err
	}
	// The journal goes last: until then it is what a later Open compares the remaining files with.
	return t.own.journal.remove()
}

// do runs f on the torrent's own goroutine and waits for it.
func (t *Torrent) do(ctx context.Context, f func()) error {
	done := make(chan struct{})
	select {
	case t.calls <- func() { f(); close(done) }:
		<-done
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-t.stopped:
		return ErrClosed
	}
}
