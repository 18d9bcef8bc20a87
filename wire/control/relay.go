package control

import (
	"errors"
	"net/netip"

	"github.com/fxamacker/cbor/v2"
)

// Relay begins a stream that the surrogate opens to each of two devices, and joins, because they have no path to each other.
// What follows is the BitTorrent peer protocol between the two, for that torrent. A device that does not need it ends the
// stream.
type Relay struct {
	Torrent [20]byte       // info-hash
	Device  DeviceID       // the other device
	Peer    string         // its name, for people; at most MaxName bytes
	Addr    netip.AddrPort // where the surrogate sees it, for people; zero: nothing to show
	Dials   bool           // this device sends its handshake first; the other one does not
}

type relayWire struct {
	Type    uint64          `cbor:"0,keyasint"`
	Torrent cbor.ByteString `cbor:"1,keyasint"`
	Device  string          `cbor:"2,keyasint"`
	Peer    string          `cbor:"3,keyasint,omitempty"`
	Addr    cbor.ByteString `cbor:"4,keyasint,omitempty"`
	Dials   bool            `cbor:"5,keyasint,omitempty"`
}

func (m Relay) wire() (any, error) {
	if m.Device == "" || clip(string(m.Device), MaxName) != string(m.Device) {
		return nil, errors.New("no device")
	}
	return relayWire{typeRelay, wireID(m.Torrent), string(m.Device), clip(m.Peer, MaxName), wireAddr(m.Addr), m.Dials}, nil
}

func (w relayWire) message() (Message, error) {
	id, err := parseID(w.Torrent)
	if err != nil {
		return nil, err
	}
	if w.Device == "" {
		return nil, errors.New("no device")
	}
	if err := checkText("device", w.Device, MaxName); err != nil {
		return nil, err
	}
	if err := checkText("peer", w.Peer, MaxName); err != nil {
		return nil, err
	}
	addr, err := parseAddr(w.Addr)
	if err != nil {
		return nil, err
	}
	return Relay{id, DeviceID(w.Device), w.Peer, addr, w.Dials}, nil
}
