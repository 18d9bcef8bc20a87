package control

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/fxamacker/cbor/v2"

	"simplebit/nat"
)

type punchWire struct {
	Type        uint64                 `cbor:"0,keyasint"`
	Attempt     cbor.ByteString        `cbor:"1,keyasint"`
	Key         cbor.ByteString        `cbor:"2,keyasint"`
	Controlling bool                   `cbor:"3,keyasint,omitempty"`
	In          uint32                 `cbor:"4,keyasint,omitempty"`
	Torrents    []cbor.ByteString      `cbor:"5,keyasint"`
	Peer        string                 `cbor:"6,keyasint,omitempty"`
	Remote      []networkCandidateWire `cbor:"7,keyasint,omitempty"`
	Observed    cbor.ByteString        `cbor:"8,keyasint,omitempty"`
	Self        cbor.ByteString        `cbor:"9,keyasint,omitempty"`
	Local       *behaviourWire         `cbor:"10,keyasint,omitempty"`
	Theirs      *behaviourWire         `cbor:"11,keyasint,omitempty"`
	Try         uint16                 `cbor:"12,keyasint,omitempty"`
	Hold        uint32                 `cbor:"13,keyasint,omitempty"`
	Deadline    uint32                 `cbor:"14,keyasint,omitempty"`
	Sockets     uint16                 `cbor:"15,keyasint,omitempty"`
	Probes      uint16                 `cbor:"16,keyasint,omitempty"`
}

func (m Punch) wire() (any, error) {
	if m.In < 0 || m.Hold < 0 || m.Deadline < 0 {
		return nil, errors.New("a negative duration")
	}
	w := punchWire{
		Type: typePunch, Attempt: cbor.ByteString(m.Attempt[:]), Key: cbor.ByteString(m.Key[:]), Controlling: m.Controlling,
		In: milliseconds(m.In), Peer: clip(m.Peer, MaxName), Self: wireIP(m.Self), Try: m.Try,
		Hold: milliseconds(m.Hold), Deadline: milliseconds(m.Deadline), Sockets: m.Sockets, Probes: m.Probes,
	}
	for _, id := range m.Torrents {
		w.Torrents = append(w.Torrents, wireID(id))
	}
	if m.Observed.IsValid() {
		if err := checkUnicast(m.Observed); err != nil {
			return nil, err
		}
		w.Observed = wireAddr(m.Observed)
	}
	var err error
	if w.Remote, err = wireNetworkCandidates(m.Remote); err != nil {
		return nil, err
	}
	local, err := wireBehaviour(m.Local)
	if err != nil {
		return nil, err
	}
	theirs, err := wireBehaviour(m.Theirs)
	if err != nil {
		return nil, err
	}
	if local != (behaviourWire{}) {
		w.Local = &local
	}
	if theirs != (behaviourWire{}) {
		w.Theirs = &theirs
	}
	return w, w.check()
}

func (w punchWire) check() error {
	switch {
	case len(w.Torrents) < 1 || len(w.Torrents) > MaxPunchTorrents:
		return fmt.Errorf("a path for %d torrents, want 1 to %d", len(w.Torrents), MaxPunchTorrents)
	case w.In > milliseconds(MaxPunchIn):
		return fmt.Errorf("an attempt in %d ms, the limit is %v", w.In, MaxPunchIn)
	case w.Hold > milliseconds(MaxPunchHold):
		return fmt.Errorf("a hold of %d ms, the limit is %v", w.Hold, MaxPunchHold)
	case w.Deadline > milliseconds(MaxPunchDeadline):
		return fmt.Errorf("a deadline of %d ms, the limit is %v", w.Deadline, MaxPunchDeadline)
	case w.Sockets > MaxPunchSockets:
		return fmt.Errorf("%d sockets, the limit is %d", w.Sockets, MaxPunchSockets)
	case w.Probes > MaxPunchProbes:
		return fmt.Errorf("%d probes, the limit is %d", w.Probes, MaxPunchProbes)
	}
	if _, err := parseAttempt(w.Attempt); err != nil {
		return err
	}
	if _, err := parseKey(w.Key); err != nil {
		return err
	}
	return checkText("peer", w.Peer, MaxName)
}

func (w punchWire) message() (Message, error) {
	if err := w.check(); err != nil {
		return nil, err
	}
	m := Punch{
		Controlling: w.Controlling, In: time.Duration(w.In) * time.Millisecond, Peer: w.Peer, Try: w.Try,
		Hold: time.Duration(w.Hold) * time.Millisecond, Deadline: time.Duration(w.Deadline) * time.Millisecond,
		Sockets: w.Sockets, Probes: w.Probes,
	}
	m.Attempt, _ = parseAttempt(w.Attempt)
	m.Key, _ = parseKey(w.Key)
	for _, t := range w.Torrents {
		id, err := parseID(t)
		if err != nil {
			return nil, err
		}
		m.Torrents = append(m.Torrents, id)
	}
	var err error
	if m.Remote, err = parseNetworkCandidates(w.Remote); err != nil {
		return nil, err
	}
	if m.Observed, err = parseAddr(w.Observed); err != nil {
		return nil, err
	}
	if m.Observed.IsValid() {
		if err := checkUnicast(m.Observed); err != nil {
			return nil, err
		}
	}
	if m.Self, err = parseIP(w.Self); err != nil {
		return nil, err
	}
	if w.Local != nil {
		if m.Local, err = w.Local.behaviour(); err != nil {
			return nil, err
		}
	}
	if w.Theirs != nil {
		m.Theirs, err = w.Theirs.behaviour()
	}
	return m, err
}

type punchedWire struct {
	Type    uint64          `cbor:"0,keyasint"`
	Attempt cbor.ByteString `cbor:"1,keyasint"`
	Outcome PunchOutcome    `cbor:"2,keyasint,omitempty"`
	Remote  cbor.ByteString `cbor:"3,keyasint,omitempty"`
	LAN     bool            `cbor:"4,keyasint,omitempty"`
	Socket  uint16          `cbor:"5,keyasint,omitempty"`
	RTT     uint32          `cbor:"6,keyasint,omitempty"`
	Took    uint32          `cbor:"7,keyasint,omitempty"`
	Method  string          `cbor:"8,keyasint,omitempty"`
	Why     string          `cbor:"9,keyasint,omitempty"`
	Tries   []punchTryWire  `cbor:"10,keyasint,omitempty"`
	Others  uint16          `cbor:"11,keyasint,omitempty"`
	Kept    uint32          `cbor:"12,keyasint,omitempty"`
	Chosen  string          `cbor:"13,keyasint,omitempty"`
}

type punchTryWire struct {
	Addr      cbor.ByteString   `cbor:"1,keyasint"`
	Kind      nat.CandidateKind `cbor:"2,keyasint,omitempty"`
	Began     int32             `cbor:"3,keyasint,omitempty"`
	Heard     int32             `cbor:"4,keyasint,omitempty"`
	Answered  int32             `cbor:"5,keyasint,omitempty"`
	Datagrams uint16            `cbor:"6,keyasint,omitempty"`
}

func (m Punched) wire() (any, error) {
	if m.RTT < 0 || m.Took < 0 || m.Kept < 0 {
		return nil, errors.New("a negative duration")
	}
	tries := m.Tries[:min(len(m.Tries), MaxTries)]
	w := punchedWire{
		Type: typePunched, Attempt: cbor.ByteString(m.Attempt[:]), Outcome: m.Outcome, LAN: m.LAN, Socket: m.Socket,
		RTT: uint32(min(m.RTT, MaxPunchTime) / time.Microsecond), Took: milliseconds(min(m.Took, MaxPunchTime)),
		Method: clip(m.Method, MaxName), Why: clip(m.Why, MaxWhy), Tries: make([]punchTryWire, len(tries)), Others: m.Others,
		Kept: uint32(min(m.Kept, MaxPunchKept) / time.Second), Chosen: clip(m.Chosen, MaxWhy),
	}
	if m.Remote.IsValid() {
		if err := checkUnicast(m.Remote); err != nil {
			return nil, err
		}
		w.Remote = wireAddr(m.Remote)
	}
	for i, t := range tries {
		if err := checkDialable(t.Addr); err != nil {
			return nil, err
		}
		w.Tries[i] = punchTryWire{wireAddr(t.Addr), t.Kind, wireMoment(t.Began), wireMoment(t.Heard), wireMoment(t.Answered), t.Datagrams}
	}
	return w, w.check()
}

func (w punchedWire) check() error {
	if len(w.Tries) > MaxTries {
		return fmt.Errorf("%d tries, the limit is %d", len(w.Tries), MaxTries)
	}
	if w.Socket >= MaxPunchSockets {
		return fmt.Errorf("socket %d, they are below %d", w.Socket, MaxPunchSockets)
	}
	if w.RTT > uint32(MaxPunchTime/time.Microsecond) || w.Took > milliseconds(MaxPunchTime) {
		return fmt.Errorf("a round trip of %d µs and %d ms in all, the limit is %v", w.RTT, w.Took, MaxPunchTime)
	}
	if w.Kept > uint32(MaxPunchKept/time.Second) {
		return fmt.Errorf("a path that was kept for %d s, the limit is %v", w.Kept, MaxPunchKept)
	}
	for _, t := range w.Tries {
		for _, at := range []int32{t.Began, t.Heard, t.Answered} {
			if at < int32(PunchNever) || at > int32(MaxPunchTime/time.Millisecond) {
				return fmt.Errorf("a try after %d ms, the limit is %v", at, MaxPunchTime)
			}
		}
	}
	if _, err := parseAttempt(w.Attempt); err != nil {
		return err
	}
	if err := checkText("method", w.Method, MaxName); err != nil {
		return err
	}
	if err := checkText("chosen", w.Chosen, MaxWhy); err != nil {
		return err
	}
	return checkText("why", w.Why, MaxWhy)
}

func (w punchedWire) message() (Message, error) {
	if err := w.check(); err != nil {
		return nil, err
	}
	m := Punched{
		Outcome: w.Outcome, LAN: w.LAN, Socket: w.Socket, RTT: time.Duration(w.RTT) * time.Microsecond,
		Took: time.Duration(w.Took) * time.Millisecond, Method: w.Method, Why: w.Why, Others: w.Others,
		Kept: time.Duration(w.Kept) * time.Second, Chosen: w.Chosen,
	}
	m.Attempt, _ = parseAttempt(w.Attempt)
	var err error
	if m.Remote, err = parseAddr(w.Remote); err != nil {
		return nil, err
	}
	if m.Remote.IsValid() {
		if err := checkUnicast(m.Remote); err != nil {
			return nil, err
		}
	}
	for _, t := range w.Tries {
		addr, err := parseDialable(t.Addr)
		if err != nil {
			return nil, err
		}
		m.Tries = append(m.Tries, PunchTry{addr, t.Kind, parseMoment(t.Began), parseMoment(t.Heard), parseMoment(t.Answered), t.Datagrams})
	}
	return m, nil
}

// milliseconds keeps what is too long too long.
func milliseconds(d time.Duration) uint32 {
	return uint32(min(d/time.Millisecond, 1<<32-1))
}

// wireMoment cuts a moment of a PunchTry to the limits. On the wire -1 stands for PunchNever.
func wireMoment(d time.Duration) int32 {
	if d < 0 {
		return int32(PunchNever)
	}
	return int32(min(d, MaxPunchTime) / time.Millisecond)
}

func parseMoment(ms int32) time.Duration {
	if ms < 0 {
		return PunchNever
	}
	return time.Duration(ms) * time.Millisecond
}

func parseAttempt(s cbor.ByteString) (a [8]byte, err error) {
	copy(a[:], s)
	if len(s) != len(a) || a == [8]byte{} {
		return a, fmt.Errorf("an attempt's name of %d bytes, or zero", len(s))
	}
	return a, nil
}

func parseKey(s cbor.ByteString) (k [16]byte, err error) {
	copy(k[:], s)
	if len(s) != len(k) || k == [16]byte{} {
		return k, fmt.Errorf("an attempt's key of %d bytes, or zero", len(s))
	}
	return k, nil
}

func wireIP(a netip.Addr) cbor.ByteString {
	return cbor.ByteString(a.Unmap().AsSlice())
}

// parseIP returns the zero Addr for the empty string.
func parseIP(s cbor.ByteString) (netip.Addr, error) {
	a, ok := netip.AddrFromSlice(s.Bytes())
	if !ok && s != "" {
		return a, fmt.Errorf("an IP address of %d bytes", len(s))
	}
	return a.Unmap(), nil
}
