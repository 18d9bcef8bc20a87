package control

import (
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"

	"simplebit/nat"
)

type networkWire struct {
	Type      uint64         `cbor:"0,keyasint"`
	Blocked   bool           `cbor:"1,keyasint,omitempty"`
	Public    nat.Answer     `cbor:"2,keyasint,omitempty"`
	Mapping   nat.Dependence `cbor:"3,keyasint,omitempty"`
	Filtering nat.Dependence `cbor:"4,keyasint,omitempty"`
	Preserved nat.Answer     `cbor:"5,keyasint,omitempty"`
	Step      int32          `cbor:"6,keyasint,omitempty"`
	Hairpin   nat.Answer     `cbor:"7,keyasint,omitempty"`
	Double    nat.Answer     `cbor:"8,keyasint,omitempty"`
	Lifetime  uint32         `cbor:"9,keyasint,omitempty"`
	Reachable nat.Answer     `cbor:"10,keyasint,omitempty"`

	Candidates []networkCandidateWire `cbor:"11,keyasint,omitempty"`
}

type networkCandidateWire struct {
	Addr cbor.ByteString   `cbor:"1,keyasint"`
	Kind nat.CandidateKind `cbor:"2,keyasint,omitempty"`
	TCP  bool              `cbor:"3,keyasint,omitempty"`
}

func (m Network) wire() (any, error) {
	b := m.Behaviour
	if b.Lifetime < 0 {
		return nil, fmt.Errorf("a lifetime of %v", b.Lifetime)
	}
	if b.Step < -MaxStep || b.Step > MaxStep {
		return nil, fmt.Errorf("a step of %d ports", b.Step)
	}
	w := networkWire{
		typeNetwork, b.Blocked, b.Public, b.Mapping, b.Filtering, b.Preserved, int32(b.Step), b.Hairpin, b.Double,
		uint32(min(b.Lifetime, MaxLifetime) / time.Second), b.Reachable, make([]networkCandidateWire, len(m.Candidates)),
	}
	for i, c := range m.Candidates {
		if err := checkUnicast(c.Addr); err != nil {
			return nil, err
		}
		w.Candidates[i] = networkCandidateWire{wireAddr(c.Addr), c.Kind, c.TCP}
	}
	return w, w.check()
}

func (w networkWire) check() error {
	if w.Step < -MaxStep || w.Step > MaxStep {
		return fmt.Errorf("a step of %d ports", w.Step)
	}
	if limit := uint32(MaxLifetime / time.Second); w.Lifetime > limit {
		return fmt.Errorf("a lifetime of %d s, the limit is %d", w.Lifetime, limit)
	}
	if len(w.Candidates) > nat.MaxCandidates {
		return fmt.Errorf("%d candidates of a device, the limit is %d", len(w.Candidates), nat.MaxCandidates)
	}
	return nil
}

func (w networkWire) message() (Message, error) {
	if err := w.check(); err != nil {
		return nil, err
	}
	m := Network{Behaviour: nat.Behaviour{
		Blocked: w.Blocked, Public: w.Public, Mapping: w.Mapping, Filtering: w.Filtering, Preserved: w.Preserved,
		Step: int(w.Step), Hairpin: w.Hairpin, Double: w.Double, Lifetime: time.Duration(w.Lifetime) * time.Second,
		Reachable: w.Reachable,
	}}
	for _, c := range w.Candidates {
		addr, err := parseAddr(c.Addr)
		if err == nil {
			err = checkUnicast(addr)
		}
		if err != nil {
			return nil, err
		}
		m.Candidates = append(m.Candidates, nat.Candidate{Kind: c.Kind, Addr: addr, TCP: c.TCP})
	}
	return m, nil
}
