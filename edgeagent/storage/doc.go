// Package storage keeps torrents on disk within a fixed budget of memory, on devices with little of it and flash that
// wears.
//
// # How a block becomes a file
//
// Blocks of 16 KiB come from a Pool that all torrents share. Torrent.Write hands one to the torrent's own goroutine;
// Torrent.Put and Torrent.Work do without it, so that a block stays in the cache of the processor that read it. A block
// that comes next in its piece is hashed at once; runs of hashed blocks are written 256 KiB at a time and released. Blocks
// that come out of order wait in memory. When the pool runs low, hashed blocks are written earlier, and when it is used up,
// the others too: those are read back when their turn to be hashed comes. So pieces may be far larger than the pool. A
// piece whose hash is right is recorded in the journal and then announced.
//
// A file has the suffix .part until all pieces that touch it are verified and it is wanted. One that is not wanted does not
// exist unless a piece that was written touches it. Files are sparse. Names are resolved by an os.Root, so nothing outside
// the download folder can be reached. What a person has put under the name of a file is renamed before the torrent needs
// the name, and never written to.
//
// # What survives
//
// After a kill at any moment, the pieces announced as verified are still there: records are written straight after the
// data, and both are in the page cache, which outlives the process. Unfinished pieces are lost; Torrent.Partial says how
// much that is. After a loss of power, pieces older than the last sync (30 seconds at most, apart from the time that the disk
// takes) are there, and the later ones are hashed again. What cannot be noticed is a disk that is pulled out within those 30
// seconds and plugged in again while the machine runs on: Torrent.Verify finds the damage.
//
// # The journal
//
// One file per torrent, with numbers in network byte order:
//
//	   0  4  "SBJ1"
//	   4  4  n, the number of pieces
//	   8 32  fingerprint of the layout (SHA-256)
//	  40 16  boot id of the kernel that the records were written under
//	  56  m  snapshot: bitfield of pieces that were durable when the journal was begun, m = (n+7)/8
//	56+m  4  CRC-32C of all this
//
// Records of 8 bytes follow. They are only ever appended:
//
//	0 4  less than n: this piece is verified and its data written
//	     2^31 + k: the pieces of the first k records are durable, that is, they survive a loss of power
//	4 4  CRC-32C of the above, continuing from the header's CRC
//
// The first record that is cut short or has a wrong CRC ends the journal. A new header is written, to a new file that
// replaces the old one, before the first write after an Open that found another boot id, lost pieces, or so many records that
// it pays; and after Verify.
package storage
