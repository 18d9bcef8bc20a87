package session

import (
	"net/netip"
	"time"

	"simplebit/wire/control"
	"simplebit/wire/link"
)

// maxPunches bounds the attempts that wait for a session's loop. One that finds no place is lost, as on a bad network: an
// attempt that waited would be late.
const maxPunches = 8

// Line is what a device's session shows of the way to it.
type Line struct {
	Observed netip.AddrPort // where it is seen, IPv4 as IPv4
	RTT      time.Duration  // smoothed; 0: not known yet

	Transport link.Transport // of the session
	UDP       bool           // it reaches the surrogate over UDP. If not, the port of Observed is one of TCP
}

// Line returns how the device is connected, if it is.
func (h *Hub) Line(device control.DeviceID) (l Line, online bool) {
	s := h.session(device)
	if s == nil {
		return l, false
	}
	over := s.conn.Transport()
	return Line{s.conn.Remote(), s.conn.RTT(), over, over == link.QUIC}, true
}

// Punch sends the message to the device, if it is connected and takes what it is sent.
func (h *Hub) Punch(device control.DeviceID, m control.Punch) {
	s := h.session(device)
	if s == nil {
		return
	}
	select {
	case s.punches <- m:
	default:
	}
}
