package storage

import (
	"context"
	"io"
	"log/slog"
)

// A Layout says how a torrent's content is cut into pieces and files. The content is the files' bytes one after the other.
type Layout struct {
	PieceLength int         // bytes, 1 to 64 Mi; every piece but the last has this length
	Length      int64       // bytes of content, the sum of the files' lengths, padding included; at least 1
	Files       []File      // in the order of the content; kept, must not be changed afterwards
	Hashes      io.ReaderAt // the SHA-1 of piece i is at 20*i; read from one goroutine at a time, when a piece is complete
}

// A File is one file of a layout.
type File struct {
	Path   string // slash-separated, relative to the download folder, without "." and ".." (fs.ValidPath)
	Length int64  // bytes, 0 or more
	Pad    bool   // a padding file (BEP 47): zeros that are hashed but never stored
}

// Config is what Open needs. Dir, Journal, Layout and Pool must be given.
type Config struct {
	Dir     string       // the download folder; made with the first write when it is missing and nothing was downloaded yet
	Journal string       // path of the journal file, outside of Dir; its folder is made when needed
	Layout  Layout       // of the torrent; must be the same at every Open with this journal
	Pool    *Pool        // where the blocks given to Write come from
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

// A Torrent is one torrent's content on disk. One goroutine owns the disk; the methods hand it work or read what it has
// published, and may be called from any goroutine.
type Torrent struct {
	events chan Event
}

// Open finds out what is on disk and returns the torrent, ready to read and write. It trusts the journal, after a look at
// the sizes of the files, so it takes milliseconds; only after the machine has restarted without a clean Close are the
// pieces of the last 30 seconds before that hashed again. Nothing is created on disk before the first Write.
func Open(c Config) (*Torrent, error) { return nil, ErrLayout }

// Have returns the verified pieces as a BEP 3 bitfield (the high bit of the first byte is piece 0), a copy.
func (t *Torrent) Have() []byte { return nil }

// NeedsCheck reports whether Open found files of the torrent that no journal vouches for. Have does not contain their
// pieces; Verify finds them. Without Verify they are overwritten piece by piece.
func (t *Torrent) NeedsCheck() bool { return false }

// Verify hashes everything on disk again, replaces Have and the journal by what it finds, and gives files their final name
// or the suffix .part accordingly. It must not be called while blocks are being written. progress, which may be nil, gets
// the number of bytes looked at so far, at least once a piece, on the storage's own goroutine. No events are sent. When
// ctx ends, what was found so far is kept and ctx's error returned.
func (t *Torrent) Verify(ctx context.Context, progress func(bytes int64)) error { return nil }

// Write takes b, which holds b.N bytes that belong at byte begin of the piece. The caller must not use b afterwards. begin
// must be a multiple of BlockSize, and b.N is BlockSize or what is left of the piece. Write never blocks; what comes of
// it is told by Events, once the piece is complete. A block that the storage holds already, or of a verified piece, is
// dropped without a word, and so are all after DiskFailed and Close.
func (t *Torrent) Write(piece, begin int, b *Block) { b.Release() }

// ReadBlock fills dst from byte begin of a verified piece; begin+len(dst) must not pass the end of the piece. It waits for
// the disk. The error is ErrNotVerified, ErrClosed or a *DiskError.
func (t *Torrent) ReadBlock(piece, begin int, dst []byte) error { return ErrNotVerified }

// Events returns the channel of results. It must be drained, or the storage stops working when the channel's small buffer
// is full. It is closed by Close and Delete.
func (t *Torrent) Events() <-chan Event { return t.events }

// Partial returns how many bytes of unfinished pieces the storage has received, in memory and on disk. This is what has to
// be fetched again when the process is killed now, or the torrent closed.
func (t *Torrent) Partial() int64 { return 0 }

// Close drops unfinished pieces, brings everything else to the disk and frees all resources. Closing twice is harmless.
func (t *Torrent) Close() error { return nil }

// Delete closes the torrent and removes its files, also unfinished ones, the folders that are empty then, and the journal.
// Folders that hold anything else stay, and so does the download folder. It may be called after Close.
func (t *Torrent) Delete() error { return nil }
