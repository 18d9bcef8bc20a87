package control

import (
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"

	"simplebit/nat"
)

type networkWire struct {
	Type uint64 `cbor:"0,keyasint"`
	behaviourWire

	Candidates []networkCandidateWire `cbor:"11,keyasint,omitempty"`
}

// behaviourWire is part of networkWire, and a map of its own in punchWire.
type behaviourWire struct {
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
}

type networkCandidateWire struct {
	Addr cbor.ByteString   `cbor:"1,keyasint"`
	Kind nat.CandidateKind `cbor:"2,keyasint,omitempty"`
	TCP  bool              `cbor:"3,keyasint,omitempty"`
}

func (m Network) wire() (any, error) {
	behaviour, err := wireBehaviour(m.Behaviour)
	if err != nil {
		return nil, err
	}
	candidates, err := wireNetworkCandidates(m.Candidates)
	return networkWire{typeNetwork, behaviour, candidates}, err
}

func (w networkWire) message() (Message, error) {
	behaviour, err := w.behaviour()
	if err != nil {
		return nil, err
	}
	candidates, err := parseNetworkCandidates(w.Candidates)
	if err != nil {
		return nil, err
	}
	return Network{Behaviour: behaviour, Candidates: candidates}, nil
}

func wireBehaviour(b nat.Behaviour) (behaviourWire, error) {
	if b.Lifetime < 0 {
		return behaviourWire{}, fmt.Errorf("a lifetime of %v", b.Lifetime)
	}
	if err := checkStep(b.Step); err != nil {
		return behaviourWire{}, err
	}
	return behaviourWire{
		b.Blocked, b.Public, b.Mapping, b.Filtering, b.Preserved, int32(b.Step), b.Hairpin, b.Double,
		uint32(min(b.Lifetime, MaxLifetime) / time.Second), b.Reachable,
	}, nil
}

func (w behaviourWire) behaviour() (nat.Behaviour, error) {
	if limit := uint32(MaxLifetime / time.Second); w.Lifetime > limit {
		return nat.Behaviour{}, fmt.Errorf("a lifetime of %d s, the limit is %d", w.Lifetime, limit)
	}
	return nat.Behaviour{
		Blocked: w.Blocked, Public: w.Public, Mapping: w.Mapping, Filtering: w.Filtering, Preserved: w.Preserved,
		Step: int(w.Step), Hairpin: w.Hairpin, Double: w.Double, Lifetime: time.Duration(w.Lifetime) * time.Second,
		Reachable: w.Reachable,
	}, checkStep(int(w.Step))
}

func checkStep(n int) error {
	if n < -MaxStep || n > MaxStep {
		return fmt.Errorf("a step of %d ports", n)
	}
	return nil
}

func wireNetworkCandidates(candidates []nat.Candidate) ([]networkCandidateWire, error) {
	if err := checkNetworkCandidates(len(candidates)); err != nil {
		return nil, err
	}
	w := make([]networkCandidateWire, len(candidates))
	for i, c := range candidates {
		if err := checkUnicast(c.Addr); err != nil {
			return nil, err
		}
		w[i] = networkCandidateWire{wireAddr(c.Addr), c.Kind, c.TCP}
	}
	return w, nil
}

func parseNetworkCandidates(w []networkCandidateWire) ([]nat.Candidate, error) {
	if err := checkNetworkCandidates(len(w)); err != nil {
		return nil, err
	}
	var candidates []nat.Candidate
	for _, c := range w {
		addr, err := parseAddr(c.Addr)
		if err == nil {
			err = checkUnicast(addr)
		}
		if err != nil {
			return nil, err
		}
		candidates = append(candidates, nat.Candidate{Kind: c.Kind, Addr: addr, TCP: c.TCP})
	}
	return candidates, nil
}

func checkNetworkCandidates(n int) error {
	if n > nat.MaxCandidates {
		return fmt.Errorf("%d candidates of a device, the limit is %d", n, nat.MaxCandidates)
	}
	return nil
}
