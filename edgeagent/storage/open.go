package storage

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"os"
	"strings"
)

// Open finds out what is on disk and returns the torrent, ready to read and write. It trusts the journal, after a look at
// the sizes of the files, so it takes milliseconds; only after the machine has restarted without a clean Close are the
// pieces of the last 30 seconds before that hashed again. Nothing is created on disk before the first Write,
// but for empty files when nothing else is wanted.
//
// The error wraps ErrLayout, or is a *DiskError, or says that the piece hashes cannot be read.
func Open(c Config) (*Torrent, error) { return open(c, bootID()) }

// bootID identifies this start of the machine's kernel: as long as it is the same, the page cache has not been lost. Where
// it cannot be found out, no two calls return the same.
func bootID() (id [16]byte) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err == nil {
		_, err = hex.Decode(id[:], []byte(strings.ReplaceAll(strings.TrimSpace(string(text)), "-", "")))
	}
	if err != nil {
		rand.Read(id[:])
	}
	return id
}

func open(c Config, boot [16]byte) (*Torrent, error) {
	table, err := newTable(c.Layout)
	if err != nil {
		return nil, err
	}
	fingerprint, err := table.fingerprint(c.Layout.Hashes)
	if err != nil {
		return nil, err
	}
	disk, err := openDisk(c.Dir, table)
	if err != nil {
		return nil, err
	}
	t := &Torrent{
		table:   table,
		hashes:  c.Layout.Hashes,
		pool:    c.Pool,
		disk:    disk,
		log:     c.Log,
		have:    newSharedBitfield(table.pieces),
		events:  make(chan Event, eventBuffer),
		queue:   queue{wake: make(chan struct{}, 1)},
		calls:   make(chan func()),
		closing: make(chan struct{}),
		stopped: make(chan struct{}),
	}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	t.own.header = journalHeader{pieces: table.pieces, layout: fingerprint, boot: boot}
	t.own.journal.path = c.Journal
	t.own.assemblies.table = table
	t.own.sync = newSyncState()
	t.own.skip = bytes.Clone(c.Skip)
	if err := t.resume(); err != nil {
		disk.close()
		return nil, err
	}
	if len(c.Skip) > 0 {
		if err := t.makeEmpty(); err != nil {
			t.log.Warn("making empty files", slog.Any("error", err))
		}
	}
	t.own.sync.arm()
	t.own.squeeze = t.pool.watch()
	go t.run()
	return t, nil
}
