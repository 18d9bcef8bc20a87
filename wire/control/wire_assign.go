package control

import (
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

type assignWire struct {
	Type       uint64          `cbor:"0,keyasint"`
	ID         cbor.ByteString `cbor:"1,keyasint"`
	Generation uint64          `cbor:"2,keyasint,omitempty"`
	Paused     bool            `cbor:"3,keyasint,omitempty"`
	Verify     uint64          `cbor:"4,keyasint,omitempty"`
	Sequential bool            `cbor:"5,keyasint,omitempty"`
	DownLimit  int64           `cbor:"6,keyasint,omitempty"`
	UpLimit    int64           `cbor:"7,keyasint,omitempty"`
	MaxPeers   uint16          `cbor:"8,keyasint,omitempty"`
	SeedRatio  uint32          `cbor:"9,keyasint,omitempty"`
	SeedTime   uint32          `cbor:"10,keyasint,omitempty"`
	Files      []fileRunWire   `cbor:"11,keyasint,omitempty"`
}

type fileRunWire struct {
	Count    uint32       `cbor:"1,keyasint"`
	Priority FilePriority `cbor:"2,keyasint,omitempty"`
}

// MaxFileRuns runs fit in a frame, whatever they are.
func (m Assign) wire() (any, error) {
	w := assignWire{
		typeAssign, wireID(m.ID), m.Generation, m.Paused, m.Verify, m.Sequential, m.DownLimit, m.UpLimit, m.MaxPeers,
		m.SeedRatio, m.SeedTime, make([]fileRunWire, len(m.Files)),
	}
	for i, r := range m.Files {
		w.Files[i] = fileRunWire(r)
	}
	return w, w.check()
}

func (w assignWire) check() error {
	if err := checkCount("down limit", w.DownLimit); err != nil {
		return err
	}
	if err := checkCount("up limit", w.UpLimit); err != nil {
		return err
	}
	if len(w.Files) > MaxFileRuns {
		return fmt.Errorf("%d runs of files in a frame, the limit is %d", len(w.Files), MaxFileRuns)
	}
	left := uint32(MaxFiles)
	for _, r := range w.Files {
		if r.Count == 0 {
			return errors.New("a run of no files")
		}
		if r.Count > left {
			return fmt.Errorf("priorities of more than %d files", MaxFiles)
		}
		left -= r.Count
	}
	return nil
}

func (w assignWire) message() (Message, error) {
	id, err := parseID(w.ID)
	if err != nil {
		return nil, err
	}
	if err := w.check(); err != nil {
		return nil, err
	}
	m := Assign{
		id, w.Generation, w.Paused, w.Verify, w.Sequential, w.DownLimit, w.UpLimit, w.MaxPeers, w.SeedRatio, w.SeedTime, nil,
	}
	if len(w.Files) > 0 {
		m.Files = make([]FileRun, len(w.Files))
	}
	for i, r := range w.Files {
		m.Files[i] = FileRun(r)
	}
	return m, nil
}

type unassignWire struct {
	Type       uint64          `cbor:"0,keyasint"`
	ID         cbor.ByteString `cbor:"1,keyasint"`
	DeleteData bool            `cbor:"2,keyasint,omitempty"`
}

func (m Unassign) wire() (any, error) {
	return unassignWire{typeUnassign, wireID(m.ID), m.DeleteData}, nil
}

func (w unassignWire) message() (Message, error) {
	id, err := parseID(w.ID)
	if err != nil {
		return nil, err
	}
	return Unassign{id, w.DeleteData}, nil
}
