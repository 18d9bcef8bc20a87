package edgeagent

import (
	"simplebit/edgeagent/picker"
	"simplebit/wire/control"
	"simplebit/wire/peer"
)

// selection is what the priorities of files mean for a layout. Once made it is
// not changed.
type selection struct {
	skip   []byte            // files that are not wanted, as for storage; nil: none
	pieces []picker.Priority // nil: all normal
	wanted []span            // the wanted files' bytes; nil without skip: all
	size   int64             // of them, or of the torrent without padding
}

// The ranks of pieces while their priorities are worked out: of the files that a
// piece touches, the highest counts.
const (
	rankNone picker.Priority = iota // touches padding only
	rankSkip
	rankLow
	rankNormal
	rankHigh
)

var (
	rankOf     = [...]picker.Priority{control.FileNormal: rankNormal, control.FileSkip: rankSkip, control.FileLow: rankLow, control.FileHigh: rankHigh}
	priorityOf = [...]picker.Priority{rankSkip: picker.Skip, rankLow: picker.Low, rankNormal: picker.Normal, rankHigh: picker.High}
)

// selects works out what the runs of priorities mean. Files behind them are
// normal, and runs behind the last file mean nothing.
func (l *layoutFile) selects(runs []control.FileRun) *selection {
	s := &selection{size: l.size()}
	plain := true
	for _, r := range runs {
		plain = plain && rank(r.Priority) == rankNormal
	}
	if plain {
		return s
	}
	ranks := make([]picker.Priority, l.Pieces)
	skip := peer.NewBitfield(len(l.files))
	skips := false
	run, left := -1, uint32(0) // left: files of the run from here on
	var at int64
	for i, f := range l.files {
		for left == 0 && run < len(runs) {
			if run++; run < len(runs) {
				left = runs[run].Count
			}
		}
		of := rankNormal
		if run < len(runs) {
			of = rank(runs[run].Priority)
			left--
		}
		start, end := at, at+f.Length
		at = end
		if f.Pad {
			continue
		}
		if of == rankSkip {
			skip.Set(i)
			skips = true
		} else if n := len(s.wanted); n > 0 && s.wanted[n-1].end == start {
			s.wanted[n-1].end = end
		} else if end > start {
			s.wanted = append(s.wanted, span{start, end})
		}
		if start == end {
			continue
		}
		for p := start / int64(l.PieceLength); p*int64(l.PieceLength) < end; p++ {
			ranks[p] = max(ranks[p], of)
		}
	}
	unknown := picker.Normal // what has no file is not worth fetching by a choice of files
	if skips {
		s.skip = skip
		s.size = 0
		for _, w := range s.wanted {
			s.size += w.end - w.start
		}
		unknown = picker.Skip
	} else {
		s.wanted = nil
	}
	for p, r := range ranks {
		if ranks[p] = unknown; r != rankNone {
			ranks[p] = priorityOf[r]
		}
	}
	s.pieces = ranks
	return s
}

// rank is that of a file. Priorities of later versions are normal.
func rank(p control.FilePriority) picker.Priority {
	if int(p) >= len(rankOf) {
		return rankNormal
	}
	return rankOf[p]
}

// figures are what is there of a torrent, in bytes without padding.
type figures struct {
	size, have         int64
	wanted, wantedHave int64
	choice             bool // some files are skipped
}

// whole reports whether nothing that is wanted is missing.
func (f figures) whole() bool { return f.wantedHave == f.wanted }

// figures counts what is in the pieces of a BEP 3 bitfield.
func (l *layoutFile) figures(pieces []byte, s *selection) figures {
	f := figures{size: l.size(), have: l.have(pieces), choice: s.skip != nil}
	f.wanted, f.wantedHave = f.size, f.have
	if f.choice {
		f.wanted, f.wantedHave = s.size, l.verified(s.wanted, pieces)
	}
	return f
}
