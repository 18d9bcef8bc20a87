//go:build linux

// Package measured is what the programs that integration/bench measures have in common: they write what they receive as a BitTorrent
// client has to, say when all is there, and stay until they are ended, so that somebody can read what they used.
package measured

import (
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// PieceLength is in bytes.
const PieceLength = 1 << 20

// Pieces hashes a file piece by piece as it comes, and writes each piece with one system call.
type Pieces struct {
	file  *os.File
	piece []byte
	used  int
	at    int64
	// Hash is of the last whole piece. There is nothing to compare it with: the content is compared when the program has ended.
	Hash [sha1.Size]byte
}

// Create makes a file of pieces.
func Create(name string) (*Pieces, error) {
	f, err := os.Create(name)
	return &Pieces{file: f, piece: make([]byte, PieceLength)}, err
}

// Free is where the next bytes of the current piece go, never empty; Filled says how many were put there.
func (p *Pieces) Free() []byte { return p.piece[p.used:] }

// Filled takes n bytes that were put into Free.
func (p *Pieces) Filled(n int) error {
	if p.used += n; p.used < len(p.piece) {
		return nil
	}
	return p.flush()
}

// Write takes bytes that are elsewhere.
func (p *Pieces) Write(b []byte) (int, error) {
	for rest := b; len(rest) > 0; {
		n := copy(p.Free(), rest)
		if err := p.Filled(n); err != nil {
			return 0, err
		}
		rest = rest[n:]
	}
	return len(b), nil
}

// Len returns how many bytes came so far.
func (p *Pieces) Len() int64 { return p.at + int64(p.used) }

func (p *Pieces) flush() error {
	p.Hash = sha1.Sum(p.piece[:p.used])
	_, err := p.file.WriteAt(p.piece[:p.used], p.at)
	p.at, p.used = p.at+int64(p.used), 0
	return err
}

// Close writes the last piece, which may be shorter.
func (p *Pieces) Close() error {
	return errors.Join(p.flush(), p.file.Close())
}

// ReadAll reads size bytes into pieces, with as few copies as there can be.
func (p *Pieces) ReadAll(r io.Reader, size int64) error {
	for p.Len() < size {
		free := p.Free()
		n, err := r.Read(free[:min(int64(len(free)), size-p.Len())])
		if n > 0 {
			if err := p.Filled(n); err != nil {
				return err
			}
		}
		if err != nil && p.Len() < size {
			return fmt.Errorf("after %d of %d bytes: %w", p.Len(), size, err)
		}
	}
	return nil
}

// Say adds an event to the file `events` in the working folder, with the time.
func Say(event string) error {
	f, err := os.OpenFile("events", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, event, time.Now().UnixNano())
	return errors.Join(err, f.Close())
}

// Stay returns when the process is asked to end.
func Stay() {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, os.Interrupt)
	<-end
}
