package control

import (
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

type progressWire struct {
	Type       uint64          `cbor:"0,keyasint"`
	ID         cbor.ByteString `cbor:"1,keyasint"`
	Generation uint64          `cbor:"2,keyasint,omitempty"`
	State      State           `cbor:"3,keyasint,omitempty"`
	Size       int64           `cbor:"4,keyasint,omitempty"`
	Have       int64           `cbor:"5,keyasint,omitempty"`
	Downloaded int64           `cbor:"6,keyasint,omitempty"`
	Uploaded   int64           `cbor:"7,keyasint,omitempty"`
	DownRate   int64           `cbor:"8,keyasint,omitempty"`
	UpRate     int64           `cbor:"9,keyasint,omitempty"`
	Error      string          `cbor:"10,keyasint,omitempty"`
	Peers      []peerWire      `cbor:"11,keyasint,omitempty"`
	Checked    int64           `cbor:"12,keyasint,omitempty"`
	Partial    int64           `cbor:"13,keyasint,omitempty"`

	Selected     int64 `cbor:"14,keyasint,omitempty"`
	SelectedHave int64 `cbor:"15,keyasint,omitempty"`
}

type peerWire struct {
	Addr      cbor.ByteString `cbor:"1,keyasint,omitempty"`
	Client    string          `cbor:"2,keyasint,omitempty"`
	Transport string          `cbor:"3,keyasint,omitempty"`
	Path      string          `cbor:"4,keyasint,omitempty"`
	Down      int64           `cbor:"5,keyasint,omitempty"`
	Up        int64           `cbor:"6,keyasint,omitempty"`
}

// MaxPeers peers at their largest, with every other field at its largest, fit in a frame; so the count alone decides.
func (m Progress) wire() (any, error) {
	peers := m.Peers[:min(len(m.Peers), MaxPeers)]
	w := progressWire{
		typeProgress, wireID(m.ID), m.Generation, m.State, m.Size, m.Have, m.Downloaded, m.Uploaded, m.DownRate, m.UpRate,
		clip(m.Error, MaxText), make([]peerWire, len(peers)), m.Checked, m.Partial, m.Selected, m.SelectedHave,
	}
	for i, p := range peers {
		w.Peers[i] = peerWire{
			wireAddr(p.Addr), clip(p.Client, MaxName), clip(p.Transport, MaxWord), clip(p.Path, MaxWord), p.Down, p.Up,
		}
	}
	return w, w.check()
}

func (w progressWire) check() error {
	for _, f := range []struct {
		name string
		n    int64
	}{
		{"size", w.Size}, {"have", w.Have}, {"downloaded", w.Downloaded}, {"uploaded", w.Uploaded},
		{"down rate", w.DownRate}, {"up rate", w.UpRate}, {"checked", w.Checked}, {"partial", w.Partial},
		{"selected", w.Selected}, {"selected have", w.SelectedHave},
	} {
		if err := checkCount(f.name, f.n); err != nil {
			return err
		}
	}
	if len(w.Peers) > MaxPeers {
		return fmt.Errorf("%d peers in a frame, the limit is %d", len(w.Peers), MaxPeers)
	}
	if err := checkText("error", w.Error, MaxText); err != nil {
		return err
	}
	for _, p := range w.Peers {
		if err := p.check(); err != nil {
			return err
		}
	}
	return nil
}

func (w peerWire) check() error {
	if err := checkText("client", w.Client, MaxName); err != nil {
		return err
	}
	if err := checkText("transport", w.Transport, MaxWord); err != nil {
		return err
	}
	if err := checkText("path", w.Path, MaxWord); err != nil {
		return err
	}
	if err := checkCount("down", w.Down); err != nil {
		return err
	}
	return checkCount("up", w.Up)
}

func (w progressWire) message() (Message, error) {
	if err := w.check(); err != nil {
		return nil, err
	}
	id, err := parseID(w.ID)
	if err != nil {
		return nil, err
	}
	m := Progress{
		id, w.Generation, w.State, w.Size, w.Have, w.Downloaded, w.Uploaded, w.DownRate, w.UpRate, w.Error, nil, w.Checked,
		w.Partial, w.Selected, w.SelectedHave,
	}
	if len(w.Peers) > 0 {
		m.Peers = make([]Peer, len(w.Peers))
	}
	for i, p := range w.Peers {
		addr, err := parseAddr(p.Addr)
		if err != nil {
			return nil, err
		}
		m.Peers[i] = Peer{addr, p.Client, p.Transport, p.Path, p.Down, p.Up}
	}
	return m, nil
}
