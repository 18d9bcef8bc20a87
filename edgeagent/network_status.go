package edgeagent

import (
	"time"

	"simplebit/nat"
)

// NetworkStatus is what the agent found out about the network that it sits in, in the words of the surrogate's API.
type NetworkStatus struct {
	Summary       string    `json:"summary"`          // one sentence, which goes on from "the device is"
	Checked       time.Time `json:"checked,omitzero"` // when it was found out; zero: it was not
	Blocked       bool      `json:"blocked"`
	Public        string    `json:"public"`
	Mapping       string    `json:"mapping"`
	Filtering     string    `json:"filtering"`
	PortPreserved string    `json:"port_preserved"`
	PortStep      int       `json:"port_step"`
	Hairpin       string    `json:"hairpin"`
	Lifetime      int64     `json:"lifetime_seconds"`
	DoubleNAT     string    `json:"double_nat"`
	Reachable     string    `json:"reachable"`
	Candidates    []string  `json:"candidates"`      // "host 192.168.1.10:6882"
	Error         string    `json:"error,omitempty"` // why it was not found out
}

// status is what is known, for people.
func (k known) status() NetworkStatus {
	b := k.Behaviour
	s := NetworkStatus{
		Checked: k.Checked, Blocked: b.Blocked, Public: b.Public.String(), Mapping: b.Mapping.String(),
		Filtering: b.Filtering.String(), PortPreserved: b.Preserved.String(), PortStep: b.Step, Hairpin: b.Hairpin.String(),
		Lifetime: int64(b.Lifetime.Seconds()), DoubleNAT: b.Double.String(), Reachable: b.Reachable.String(),
		Candidates: []string{}, Error: k.Error,
	}
	if b != (nat.Behaviour{}) {
		s.Summary = b.Sentence()
	}
	for _, c := range k.Candidates {
		s.Candidates = append(s.Candidates, c.Kind.String()+" "+c.Addr.String())
	}
	return s
}
