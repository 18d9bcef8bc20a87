package storage

import (
	"bufio"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
)

const (
	journalMagic  = "SBJ1"
	journalFixed  = 56 // bytes of the header before the snapshot
	recordSize    = 8
	markBit       = 1 << 31
	journalSumLen = 4
)

var (
	errJournalDamaged = errors.New("storage: the journal's header is damaged")
	errJournalForeign = errors.New("storage: the journal belongs to another layout")
)

// castagnoli is computed by an instruction of most processors.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A journalHeader is the fixed part of a journal. The snapshot names pieces that were on disk for good when it was written.
type journalHeader struct {
	pieces   int
	layout   [32]byte
	boot     [16]byte
	snapshot bitfield
}

// appendMarshal appends the header to b and returns the checksum that seeds those of the records.
func (h *journalHeader) appendMarshal(b []byte) (_ []byte, seed uint32) {
	start := len(b)
	b = append(b, journalMagic...)
	b = binary.BigEndian.AppendUint32(b, uint32(h.pieces))
	b = append(b, h.layout[:]...)
	b = append(b, h.boot[:]...)
	b = append(b, h.snapshot...)
	seed = crc32.Checksum(b[start:], castagnoli)
	return binary.BigEndian.AppendUint32(b, seed), seed
}

// appendRecord appends a record: a piece's index, or a mark. The seed keeps records of an older journal, which a crash may
// leave in the same blocks of the disk, from being taken for this one's.
func appendRecord(b []byte, seed, word uint32) []byte {
	b = binary.BigEndian.AppendUint32(b, word)
	return binary.BigEndian.AppendUint32(b, crc32.Update(seed, castagnoli, b[len(b)-4:]))
}

// A journalState is what a journal says.
type journalState struct {
	boot    [16]byte
	seed    uint32
	durable bitfield // pieces that survive a loss of power
	tail    []uint32 // pieces recorded since, in the page cache of that boot
	records int      // whole records, marks included
	size    int64    // bytes up to the end of the last whole record
	torn    bool     // there was something behind it
}

// parseJournal reads a journal of a layout with that many pieces and that fingerprint. A torn or damaged record ends it
// without an error. Of the reader's errors only those within the header are returned.
func parseJournal(r io.Reader, pieces int, layout [32]byte) (*journalState, error) {
	br := bufio.NewReader(r)
	b := make([]byte, journalFixed)
	if _, err := io.ReadFull(br, b); err != nil {
		return nil, headerError(err)
	}
	if string(b[:4]) != journalMagic {
		return nil, errJournalDamaged
	}
	// The length of the rest depends on the number of pieces, so that is looked at before the checksum.
	if binary.BigEndian.Uint32(b[4:]) != uint32(pieces) || [32]byte(b[8:40]) != layout {
		return nil, errJournalForeign
	}
	snapshot := newBitfield(pieces)
	var sum [journalSumLen]byte
	if _, err := io.ReadFull(br, snapshot); err != nil {
		return nil, headerError(err)
	}
	if _, err := io.ReadFull(br, sum[:]); err != nil {
		return nil, headerError(err)
	}
	seed := crc32.Update(crc32.Checksum(b, castagnoli), castagnoli, snapshot)
	if binary.BigEndian.Uint32(sum[:]) != seed || spareBits(snapshot, pieces) {
		return nil, errJournalDamaged
	}
	s := &journalState{boot: [16]byte(b[40:56]), seed: seed, durable: snapshot}
	s.size = int64(journalFixed + len(snapshot) + journalSumLen)
	s.readRecords(br, pieces)
	return s, nil
}

// headerError tells a journal that is too short from one that cannot be read.
func headerError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errJournalDamaged
	}
	return err
}

func spareBits(b bitfield, n int) bool {
	return n%8 != 0 && b[len(b)-1]<<(n%8) != 0
}

func (s *journalState) readRecords(r io.Reader, pieces int) {
	var open []uint32 // the records that no mark covers yet
	covered := 0      // how many a mark covers
	var b [recordSize]byte
	for {
		n, err := io.ReadFull(r, b[:])
		if err != nil {
			s.torn = n > 0
			break
		}
		word := binary.BigEndian.Uint32(b[:])
		upTo := int(word &^ markBit)
		valid := binary.BigEndian.Uint32(b[4:]) == crc32.Update(s.seed, castagnoli, b[:4])
		switch {
		case valid && word&markBit == 0 && upTo < pieces:
			open = append(open, word)
		case valid && word&markBit != 0 && upTo >= covered && upTo <= s.records:
			for _, w := range open[:upTo-covered] {
				s.settle(w)
			}
			open = append(open[:0], open[upTo-covered:]...)
			open = append(open, word)
			covered = upTo
		default:
			s.torn = true
		}
		if s.torn {
			break
		}
		s.records++
		s.size += recordSize
	}
	for _, w := range open {
		if w&markBit == 0 && !s.durable.has(int(w)) {
			s.tail = append(s.tail, w)
		}
	}
}

func (s *journalState) settle(word uint32) {
	if word&markBit == 0 {
		s.durable.set(int(word))
	}
}
