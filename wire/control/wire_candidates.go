package control

import (
	"fmt"
	"net/netip"

	"github.com/fxamacker/cbor/v2"
)

// Candidates and Unusable have the same shape: an info-hash, and addresses with a byte each that says more.

type candidatesWire struct {
	Type  uint64          `cbor:"0,keyasint"`
	ID    cbor.ByteString `cbor:"1,keyasint"`
	Peers []candidateWire `cbor:"2,keyasint,omitempty"`
}

type candidateWire struct {
	Addr cbor.ByteString `cbor:"1,keyasint"`
	Kind CandidateKind   `cbor:"2,keyasint,omitempty"`

	Transport Transport `cbor:"3,keyasint,omitempty"`
	Encrypted bool      `cbor:"4,keyasint,omitempty"`
}

func (m Candidates) wire() (any, error) {
	if err := checkAddresses(len(m.Peers)); err != nil {
		return nil, err
	}
	w := candidatesWire{typeCandidates, wireID(m.ID), make([]candidateWire, len(m.Peers))}
	for i, p := range m.Peers {
		if err := checkDialable(p.Addr); err != nil {
			return nil, err
		}
		w.Peers[i] = candidateWire{wireAddr(p.Addr), p.Kind, p.Transport, p.Encrypted}
	}
	return w, nil
}

func (w candidatesWire) message() (Message, error) {
	id, err := parseID(w.ID)
	if err != nil {
		return nil, err
	}
	if err := checkAddresses(len(w.Peers)); err != nil {
		return nil, err
	}
	m := Candidates{ID: id}
	if len(w.Peers) > 0 {
		m.Peers = make([]Candidate, len(w.Peers))
	}
	for i, p := range w.Peers {
		addr, err := parseDialable(p.Addr)
		if err != nil {
			return nil, err
		}
		m.Peers[i] = Candidate{addr, p.Kind, p.Transport, p.Encrypted}
	}
	return m, nil
}

type unusableWire struct {
	Type  uint64             `cbor:"0,keyasint"`
	ID    cbor.ByteString    `cbor:"1,keyasint"`
	Peers []unusablePeerWire `cbor:"2,keyasint,omitempty"`
}

type unusablePeerWire struct {
	Addr   cbor.ByteString `cbor:"1,keyasint"`
	Reason UnusableReason  `cbor:"2,keyasint,omitempty"`
}

func (m Unusable) wire() (any, error) {
	if err := checkAddresses(len(m.Peers)); err != nil {
		return nil, err
	}
	w := unusableWire{typeUnusable, wireID(m.ID), make([]unusablePeerWire, len(m.Peers))}
	for i, p := range m.Peers {
		if err := checkDialable(p.Addr); err != nil {
			return nil, err
		}
		w.Peers[i] = unusablePeerWire{wireAddr(p.Addr), p.Reason}
	}
	return w, nil
}

func (w unusableWire) message() (Message, error) {
	id, err := parseID(w.ID)
	if err != nil {
		return nil, err
	}
	if err := checkAddresses(len(w.Peers)); err != nil {
		return nil, err
	}
	m := Unusable{ID: id}
	if len(w.Peers) > 0 {
		m.Peers = make([]UnusablePeer, len(w.Peers))
	}
	for i, p := range w.Peers {
		addr, err := parseDialable(p.Addr)
		if err != nil {
			return nil, err
		}
		m.Peers[i] = UnusablePeer{addr, p.Reason}
	}
	return m, nil
}

func checkAddresses(n int) error {
	if n > MaxCandidates {
		return fmt.Errorf("%d addresses in a frame, the limit is %d", n, MaxCandidates)
	}
	return nil
}

// checkServer refuses what no server answers at. Unspecified addresses are allowed: see Welcome.STUN.
func checkServer(a netip.AddrPort) error {
	if !a.Addr().Unmap().IsUnspecified() {
		return checkUnicast(a)
	}
	return checkDialable(a)
}

// checkUnicast is checkDialable for addresses that somebody will send datagrams to: not to many hosts at once.
func checkUnicast(a netip.AddrPort) error {
	ip := a.Addr().Unmap()
	if ip.IsUnspecified() || ip.IsMulticast() || ip == limitedBroadcast {
		return fmt.Errorf("%v is no address of one host", a)
	}
	return checkDialable(a)
}

// limitedBroadcast is everybody on the link (RFC 919 section 7).
var limitedBroadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

func checkDialable(a netip.AddrPort) error {
	if !a.IsValid() || a.Port() == 0 {
		return fmt.Errorf("%v is no address to dial", a)
	}
	return nil
}

func parseDialable(s cbor.ByteString) (netip.AddrPort, error) {
	addr, err := parseAddr(s)
	if err != nil {
		return addr, err
	}
	return addr, checkDialable(addr)
}
