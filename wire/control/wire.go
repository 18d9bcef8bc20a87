package control

import (
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// Each message has a twin with the types of the wire. wire and message say in a few words which field breaks which rule;
// whether that is our mistake or the other side's is added by AppendMessage and ParseMessage.

type helloWire struct {
	Type     uint64 `cbor:"0,keyasint"`
	Version  uint64 `cbor:"1,keyasint,omitempty"`
	Software string `cbor:"2,keyasint,omitempty"`
	Name     string `cbor:"3,keyasint,omitempty"`
	Token    string `cbor:"4,keyasint,omitempty"`
	Port     uint16 `cbor:"5,keyasint,omitempty"`
}

func (m Hello) wire() (any, error) {
	if clip(m.Token, MaxToken) != m.Token {
		return nil, errors.New("the token is not one that a surrogate gives out: ask for a new invite")
	}
	return helloWire{typeHello, m.Version, clip(m.Software, MaxName), clip(m.Name, MaxName), m.Token, m.Port}, nil
}

func (w helloWire) message() (Message, error) {
	if err := checkText("software", w.Software, MaxName); err != nil {
		return nil, err
	}
	if err := checkText("name", w.Name, MaxName); err != nil {
		return nil, err
	}
	if err := checkText("token", w.Token, MaxToken); err != nil {
		return nil, err
	}
	return Hello{w.Version, w.Software, w.Name, w.Token, w.Port}, nil
}

type welcomeWire struct {
	Type     uint64          `cbor:"0,keyasint"`
	Version  uint64          `cbor:"1,keyasint,omitempty"`
	Software string          `cbor:"2,keyasint,omitempty"`
	Name     string          `cbor:"3,keyasint,omitempty"`
	Observed cbor.ByteString `cbor:"4,keyasint,omitempty"`

	STUN []cbor.ByteString `cbor:"5,keyasint,omitempty"`
	TCP  uint16            `cbor:"6,keyasint,omitempty"`
}

func (m Welcome) wire() (any, error) {
	servers := m.STUN[:min(len(m.STUN), MaxSTUN)]
	w := welcomeWire{
		typeWelcome, m.Version, clip(m.Software, MaxName), clip(m.Name, MaxName), wireAddr(m.Observed),
		make([]cbor.ByteString, len(servers)), m.TCP,
	}
	for i, a := range servers {
		if err := checkServer(a); err != nil {
			return nil, err
		}
		w.STUN[i] = wireAddr(a)
	}
	return w, nil
}

func (w welcomeWire) message() (Message, error) {
	if err := checkText("software", w.Software, MaxName); err != nil {
		return nil, err
	}
	if err := checkText("name", w.Name, MaxName); err != nil {
		return nil, err
	}
	observed, err := parseAddr(w.Observed)
	if err != nil {
		return nil, err
	}
	if len(w.STUN) > MaxSTUN {
		return nil, fmt.Errorf("%d STUN servers, the limit is %d", len(w.STUN), MaxSTUN)
	}
	m := Welcome{w.Version, w.Software, w.Name, observed, nil, w.TCP}
	for _, s := range w.STUN {
		a, err := parseAddr(s)
		if err == nil {
			err = checkServer(a)
		}
		if err != nil {
			return nil, err
		}
		m.STUN = append(m.STUN, a)
	}
	return m, nil
}

type observedWire struct {
	Type uint64          `cbor:"0,keyasint"`
	Addr cbor.ByteString `cbor:"1,keyasint"`
}

func (m Observed) wire() (any, error) {
	return observedWire{typeObserved, wireAddr(m.Addr)}, checkUnicast(m.Addr)
}

func (w observedWire) message() (Message, error) {
	a, err := parseAddr(w.Addr)
	if err == nil {
		err = checkUnicast(a)
	}
	if err != nil {
		return nil, err
	}
	return Observed{a}, nil
}

type refusedWire struct {
	Type   uint64      `cbor:"0,keyasint"`
	Code   RefusedCode `cbor:"1,keyasint,omitempty"`
	Reason string      `cbor:"2,keyasint,omitempty"`
}

func (m Refused) wire() (any, error) {
	return refusedWire{typeRefused, m.Code, clip(m.Reason, MaxText)}, nil
}

func (w refusedWire) message() (Message, error) {
	if err := checkText("reason", w.Reason, MaxText); err != nil {
		return nil, err
	}
	return Refused{w.Code, w.Reason}, nil
}

type syncedWire struct {
	Type uint64 `cbor:"0,keyasint"`
}

func (Synced) wire() (any, error) { return syncedWire{typeSynced}, nil }

func (syncedWire) message() (Message, error) { return Synced{}, nil }

type goneWire struct {
	Type uint64          `cbor:"0,keyasint"`
	ID   cbor.ByteString `cbor:"1,keyasint"`
}

func (m Gone) wire() (any, error) { return goneWire{typeGone, wireID(m.ID)}, nil }

func (w goneWire) message() (Message, error) {
	id, err := parseID(w.ID)
	if err != nil {
		return nil, err
	}
	return Gone{id}, nil
}
