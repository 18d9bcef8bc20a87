package control

import (
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

type layoutHeaderWire struct {
	Type        uint64          `cbor:"0,keyasint"`
	ID          cbor.ByteString `cbor:"1,keyasint"`
	Name        string          `cbor:"2,keyasint,omitempty"`
	PieceLength uint32          `cbor:"3,keyasint,omitempty"`
	Length      int64           `cbor:"4,keyasint,omitempty"`
	Files       uint32          `cbor:"5,keyasint,omitempty"`
	Pieces      uint32          `cbor:"6,keyasint,omitempty"`
}

func (m LayoutHeader) wire() (any, error) {
	name := clip(m.Name, MaxTorrentName)
	return layoutHeaderWire{typeLayoutHeader, wireID(m.ID), name, m.PieceLength, m.Length, m.Files, m.Pieces}, m.check()
}

func (w layoutHeaderWire) message() (Message, error) {
	id, err := parseID(w.ID)
	if err != nil {
		return nil, err
	}
	if err := checkText("name", w.Name, MaxTorrentName); err != nil {
		return nil, err
	}
	m := LayoutHeader{id, w.Name, w.PieceLength, w.Length, w.Files, w.Pieces}
	return m, m.check()
}

// check says whether the numbers fit together.
func (m LayoutHeader) check() error {
	switch {
	case m.PieceLength == 0 || m.PieceLength > MaxPieceLength:
		return fmt.Errorf("a piece length of %d bytes, the limit is %d", m.PieceLength, MaxPieceLength)
	case m.Length <= 0:
		return fmt.Errorf("a length of %d bytes", m.Length)
	case m.Files == 0 || m.Files > MaxFiles:
		return fmt.Errorf("%d files, the limit is %d", m.Files, MaxFiles)
	case m.Pieces > MaxPieces:
		return fmt.Errorf("%d pieces, the limit is %d", m.Pieces, MaxPieces)
	case int64(m.Pieces) != (m.Length-1)/int64(m.PieceLength)+1:
		return fmt.Errorf("%d pieces of %d bytes do not make %d bytes", m.Pieces, m.PieceLength, m.Length)
	}
	return nil
}

type layoutFilesWire struct {
	Type  uint64           `cbor:"0,keyasint"`
	Files []layoutFileWire `cbor:"1,keyasint"`
}

type layoutFileWire struct {
	Path   string `cbor:"1,keyasint,omitempty"`
	Length int64  `cbor:"2,keyasint,omitempty"`
	Pad    bool   `cbor:"3,keyasint,omitempty"`
}

func (m LayoutFiles) wire() (any, error) {
	if len(m.Files) == 0 || len(m.Files) > MaxFrameFiles {
		return nil, fmt.Errorf("%d files in a frame, the limit is %d", len(m.Files), MaxFrameFiles)
	}
	w := layoutFilesWire{typeLayoutFiles, make([]layoutFileWire, len(m.Files))}
	for i, f := range m.Files {
		if err := f.check(); err != nil {
			return nil, err
		}
		w.Files[i] = layoutFileWire(f)
	}
	return w, nil
}

func (w layoutFilesWire) message() (Message, error) {
	if len(w.Files) == 0 || len(w.Files) > MaxFrameFiles {
		return nil, fmt.Errorf("%d files in a frame, the limit is %d", len(w.Files), MaxFrameFiles)
	}
	m := LayoutFiles{make([]LayoutFile, len(w.Files))}
	for i, f := range w.Files {
		m.Files[i] = LayoutFile(f)
		if err := m.Files[i].check(); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (f LayoutFile) check() error {
	if f.Length < 0 {
		return fmt.Errorf("file %q has a negative length", f.Path)
	}
	if f.Pad && f.Path == "" {
		return nil
	}
	if err := checkPath(f.Path); err != nil {
		return fmt.Errorf("file %.80q: %w", f.Path, err)
	}
	return nil
}
