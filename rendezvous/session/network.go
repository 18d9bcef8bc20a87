package session

import (
	"time"

	"simplebit/nat"
	"simplebit/wire/control"
)

// Network is what a device last told of the network that it sits in. Only the limits of control.Network hold: a device
// may say anything within them.
type Network struct {
	nat.Network
	Told time.Time // when the surrogate heard it
}

// Network returns what the device last told of its network since the hub was made, also of an earlier session. It is
// zero, with no time, when it has told nothing or was revoked. The candidates are not to be changed.
func (h *Hub) Network(device control.DeviceID) Network {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.networks[device]
}

// tellSeen tells a device where it is seen, once that is elsewhere: QUIC survives another address of a router (RFC 9000
// section 9), of which a device behind it cannot know.
func (s *session) tellSeen() error {
	at := s.conn.Remote()
	if at == s.seen {
		return nil
	}
	s.cfg.Log.Debug("device seen elsewhere", "device", s.name, "was", s.seen, "is", at)
	s.seen = at
	s.cfg.Jobs.Moved(s.device)
	return s.send(control.Observed{Addr: at})
}

// heard keeps what the device of a session has told: one Network for each device, whatever it sends. A session that was
// replaced or revoked meanwhile has nothing more to say.
func (h *Hub) heard(s *session, now time.Time, m control.Network) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sessions[s.device] != s || s.barred {
		return false
	}
	h.networks[s.device] = Network{nat.Network(m), now}
	return true
}
